"""The settings that a study compares: from grid, zip, exclude and cases to a list.

    settings = (product of the grid's lists and the zip blocks' rows) - excluded ones + cases

A value is kept as the text of a Hydra override, so that a file and a command line mean the same.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from lm_research.config.problems import ConfigError, Problem, listing
from lm_research.studies.mixtures import mixture_cases

Setting = dict[str, str]
"""What one setting fixes: override key -> value, as the command line has it."""
SEED = "seed"
MOST = 100_000
"""Settings, and seeds, of a study: more is a slip of the pen, or somebody's idea of a joke."""
_PLAIN_WORD = re.compile(r"(?!(?i:true|false|null|nan|inf)$)[A-Za-z_][A-Za-z0-9_.]*")
"""Text that a command line takes for itself, without quotes."""


@dataclass(frozen=True)
class Plan:
    """What a study varies.

    Args:
        grid: key -> values; every combination.
        zips: blocks of rows; the keys of a block advance together.
        cases: settings of their own, beside the product.
        exclude: a setting that agrees with all of a rule's keys is left out of the product.
        seeds: each setting runs under each of them.
    """

    grid: dict[str, list[str]]
    zips: tuple[list[Setting], ...]
    cases: tuple[Setting, ...]
    exclude: tuple[Setting, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, study: Mapping[str, Any]) -> "Plan":
        """The plan of a ``sweep:`` node.

        Raises:
            ConfigError: lists that do not fit together; all problems at once.
        """
        if problems := list(_problems(study)):
            raise ConfigError(problems)
        seeds = study.get("seeds") or [1]
        return cls(
            grid={key: _texts(values) for key, values in (study.get("grid") or {}).items()},
            zips=tuple(_rows(block) for block in study.get("zip") or []),
            cases=tuple(
                _setting(case)
                for case in [*(study.get("cases") or []), *mixture_cases(study.get("mixtures"))]
            ),
            exclude=tuple(_setting(rule) for rule in study.get("exclude") or []),
            seeds=tuple(range(1, seeds + 1)) if isinstance(seeds, int) else tuple(seeds),
        )

    @property
    def axes(self) -> list[str]:
        """What varies, in the file's order; of keys that advance together, the first."""
        firsts = [next(iter(block[0])) for block in self.zips]
        return list(dict.fromkeys([*self.grid, *firsts, *(k for c in self.cases for k in c)]))

    def settings(self) -> list[Setting]:
        """Every setting once, in the file's order."""
        columns = [[{key: v} for v in values] for key, values in self.grid.items()]
        columns += self.zips
        made = [_merged(row) for row in product(*columns)] if columns or not self.cases else []
        kept = [setting for setting in made if not any(_agrees(setting, r) for r in self.exclude)]
        found = {tuple(sorted(s.items())): s for s in [*kept, *self.cases]}
        return list(found.values())

    def narrowed(self, fixed: Iterable[str], axes: Mapping[str, Sequence[str]]) -> "Plan":
        """The plan with what the command line says.

        Args:
            fixed: overrides ``key=value``: a value given is the only one.
            axes: key -> values: these, in place of the file's.

        Raises:
            ConfigError: a value that the file's rows do not have.
        """
        pairs = (text.partition("=")[::2] for text in fixed)
        plan = self
        for key, values in [*((key, [value]) for key, value in pairs), *axes.items()]:
            plan = plan._with(key, list(values))
        if not plan.settings():
            problem = Problem("sweep", "nothing is left to run", None, "fewer exclusions")
            raise ConfigError([problem])
        return plan

    def _with(self, key: str, values: list[str]) -> "Plan":
        if key == SEED:
            return replace(self, seeds=tuple(_seed(value) for value in values))
        if self._in_rows(key):
            zips = tuple(_only(block, key, values) for block in self.zips)
            cases = tuple(_only(self.cases, key, values))
            if not all(zips) or not (self.grid or zips or cases):
                raise ConfigError([self._unknown(key, values)])
            return replace(self, zips=zips, cases=cases)
        grid = {k: v for k, v in self.grid.items() if k != key}
        if len(values) > 1:
            grid = {k: values if k == key else v for k, v in {**self.grid, key: values}.items()}
        return replace(self, grid=grid)

    def _in_rows(self, key: str) -> bool:
        return any(key in row for row in [*(r for block in self.zips for r in block), *self.cases])

    def _unknown(self, key: str, values: list[str]) -> Problem:
        rows = [*(r for block in self.zips for r in block), *self.cases]
        known = {row[key] for row in rows if key in row}
        message = "the study has no row of its zip or cases with this value"
        return Problem(key, message, ",".join(values), listing(known))


def _only(rows: Iterable[Setting], key: str, values: Sequence[str]) -> list[Setting]:
    wanted = {_bare(value) for value in values}
    return [row for row in rows if key not in row or _bare(row[key]) in wanted]


def _bare(text: str) -> str:
    """Without the quotes that one may or may not put around it."""
    return text[1:-1] if text[:1] in ("'", '"') and text[-1:] == text[:1] else text


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError([Problem(SEED, "is no seed", text, "an integer at least 0")]) from None


def _merged(parts: Iterable[Setting]) -> Setting:
    return {key: value for part in parts for key, value in part.items()}


def _agrees(setting: Setting, rule: Setting) -> bool:
    return all(setting.get(key) == value for key, value in rule.items())


def _rows(block: Mapping[str, Sequence[Any]]) -> list[Setting]:
    columns = [_texts(values) for values in block.values()]
    return [dict(zip(block, row, strict=True)) for row in zip(*columns, strict=True)]


def _setting(row: Mapping[str, Any]) -> Setting:
    return {key: override_text(value) for key, value in row.items()}


def _texts(values: Sequence[Any]) -> list[str]:
    return [override_text(value) for value in values]


def override_text(value: Any) -> str:
    """A value of a YAML file as the command line would have it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{override_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(override_text, value)) + "]"
    if isinstance(value, str) and not _PLAIN_WORD.fullmatch(value):
        return str(QuotedString(value, Quote.single).with_quotes())
    return str(value)


def _problems(study: Mapping[str, Any]) -> Iterator[Problem]:
    grid, zips = study.get("grid") or {}, study.get("zip") or []
    count = prod(map(len, [*grid.values(), *(next(iter(b.values()), []) for b in zips)]))
    if count > MOST:
        yield Problem("sweep.grid", f"makes {count:,} settings", None, f"at most {MOST:,}")
    for key, values in grid.items():
        if not values:
            yield Problem(f"sweep.grid.{key}", "has no values", "[]", "a list of values")
    for number, block in enumerate(zips):
        if len({len(values) for values in block.values()}) != 1 or not all(block.values()):
            lengths = ", ".join(f"{key} {len(values)}" for key, values in block.items())
            allowed = "lists of one length, which advance together"
            yield Problem(f"sweep.zip[{number}]", "lists of different lengths", lengths, allowed)
    mixed = (study.get("mixtures") or {}).get("sources")
    if mixed is not None and len(set(mixed)) < max(len(mixed), 2):
        allowed = "two or more data options, each once"
        yield Problem("sweep.mixtures.sources", "is no mixture", ",".join(mixed) or None, allowed)
    yield from _clashes([*grid], zips, study.get("exclude") or [])
    yield from _bad_seeds(study.get("seeds"))


def _clashes(
    grid: list[str], zips: Sequence[Mapping[str, Any]], exclude: Sequence[Mapping[str, Any]]
) -> Iterator[Problem]:
    keys = [*grid, *(key for block in zips for key in block)]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield Problem(f"sweep.*.{key}", "is varied in two places", None, "grid or one block of zip")
    if SEED in keys:
        yield Problem(f"sweep.grid.{SEED}", "has a place of its own", None, "sweep.seeds")
    for number, rule in enumerate(exclude):
        for key in [key for key in rule if key not in keys]:
            message = "excludes by what grid and zip do not vary"
            yield Problem(f"sweep.exclude[{number}].{key}", message, None, listing(keys))


def _bad_seeds(seeds: Any) -> Iterator[Problem]:
    listed = seeds if isinstance(seeds, list) else []
    if repeated := sorted({seed for seed in listed if listed.count(seed) > 1}):
        shown = ", ".join(map(str, repeated))
        yield Problem("sweep.seeds", "a seed twice is one run, not two", shown, "each seed once")
    if isinstance(seeds, int) and seeds > MOST:
        yield Problem("sweep.seeds", "are too many", str(seeds), f"at most {MOST:,}")
    if seeds == []:
        yield Problem("sweep.seeds", "has no seeds", "[]", "a list of seeds, or how many")
