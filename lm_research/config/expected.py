"""The typed shape of experiments/NAME/expected.yaml: a paper's numbers, and what agrees."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

import yaml

from lm_research.config.checks import hints
from lm_research.config.problems import ConfigError, Problem
from lm_research.config.schema import Node
from lm_research.config.types import Interval, NonNegativeFloat, NonNegativeInt, PositiveInt
from lm_research.config.untrusted import UntrustedError, load_yaml
from lm_research.config.validation import validate_as

FILE = "expected.yaml"
DURATION = re.compile(r"~?[1-9]\d* (s|min|h|d)")
Mark = Literal["V", "R", "M"]
"""V: read in a source; R: obtained by running the authors' recipe; M: recalled, to be confirmed."""
Made = TypeVar("Made")
Rules = Callable[[Mapping[str, Any], str], Iterable[Problem]]
PositiveShare = Annotated[float, Interval(low=0, high=1, open_low=True, open_high=True)]


@dataclass
class Row:
    """One published number."""

    name: str
    published: float
    metric: str
    """``val/...`` or ``test/...`` of a run's scores; what a method calls its result"""
    mark: Mark
    tolerance: NonNegativeFloat
    """in the metric's unit"""
    why: str
    """the tolerance is as wide as it is"""
    spread: NonNegativeFloat | None = None
    """of the published number, if the paper gives one, in the metric's unit"""
    unit: str = ""
    at: Literal["last", "best"] = "last"
    """whose scores: of the last evaluation and weights; or the best of all evaluations for
    ``val/...``, the weights that ``callbacks.checkpoint.monitor`` chose for ``test/...``"""
    setting: dict[str, Any] = field(default_factory=dict)
    """of this row alone: overrides of the run, or fields of the method"""
    mean_over: dict[str, list[Any]] = field(default_factory=dict)
    """overrides, each with its values: the number is the mean over runs with every combination of
    them (``data.fold: [0, 1, 2]``)"""
    protocol: Node | None = None
    """how the runs read the split (conf/protocol): a node; None: by their weights as they are"""
    needs: str | None = None
    """a package without which ours is not the same thing"""
    incomparable: str | None = None
    """why ours is not the same thing, if it is not; there is no verdict then"""

    def settings(self) -> list[dict[str, Any]]:
        """The overrides of each run, of one seed, whose mean the number is."""
        combinations = itertools.product(*self.mean_over.values())
        return [{**self.setting, **dict(zip(self.mean_over, c, strict=True))} for c in combinations]


@dataclass
class Point:
    """A score on the way."""

    tokens: PositiveInt
    value: float


@dataclass
class Course:
    """Scores on the way, for budgets too small for a verdict."""

    metric: str
    source: str
    tolerance: PositiveShare
    """relative"""
    why: str
    points: list[Point]


@dataclass
class StandIn:
    """Another data option, to see the method work where the published data cannot be had."""

    option: str
    files: dict[str, str]
    why: str
    """a number by it is not comparable"""


@dataclass
class Corpus:
    """The data: an option of conf/data or none, and the SHA-256 of every file."""

    files: dict[str, str]
    option: str | None = None
    stand_in: StandIn | None = None
    """what `data=OPTION` may name in its place; there is no verdict then"""


@dataclass
class Cost:
    """What one seed of all rows takes: ``35 min``, or ``~3 h`` if it is an estimate."""

    cpu: str
    """on two cores, two runs at a time"""
    gpu: str
    """on one of a data centre; ``none`` where it has nothing to do, or ``unknown``"""
    note: str = ""


@dataclass
class Expected:
    """The root."""

    paper: str
    table: str
    direction: Literal["minimize", "maximize"]
    deterministic: bool
    """no seed moves the number, so there is no interval"""
    seeds: list[NonNegativeInt]
    """that the command runs unless told otherwise"""
    data: Corpus
    cost: Cost
    sources: dict[str, str]
    """where each hyper-parameter is from"""
    rows: list[Row]
    course: Course | None = None
    differs: list[str] = field(default_factory=list)
    """what is not as in the paper, and known to matter little"""

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)


def read_expected(file: Path) -> Expected:
    """The file, checked as a whole.

    Raises:
        ConfigError: it cannot be read, or does not say what it must; all problems at once.
    """
    return read_as(Expected, file, _rules)


def read_as(schema: type[Made], file: Path, rules: Rules) -> Made:
    """A file of an experiment as the dataclass that it stands for, checked as a whole.

    Args:
        rules: what no annotation says: (the file's mapping, its name) -> problems.

    Raises:
        ConfigError: it cannot be read, or does not say what it must; all problems at once.
    """
    try:
        node = load_yaml(file.read_bytes())
    except (OSError, UntrustedError, ValueError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise ConfigError([Problem(file.name, f"cannot be read: {why}", file=str(file))]) from None
    if not isinstance(node, dict):
        raise ConfigError([Problem(file.name, "does not hold a mapping", file=str(file))])
    shape = list(_shape(node, schema, "", str(file)))
    problems = shape or [*validate_as(schema, node, str(file)), *rules(node, str(file))]
    if problems:
        raise ConfigError(problems)
    return cast(Made, made(schema, node))


def _shape(node: Mapping[str, Any], schema: type, path: str, file: str) -> Iterator[Problem]:
    """Lists that are none: a mapping in place of a list of mappings would pass for one of them."""
    for name, annotation in hints(schema).items():
        if get_origin(annotation) is list and name in node and not isinstance(node[name], list):
            yield Problem(f"{path}{name}", "must be a list", str(node[name])[:60], file=file)
        for inner in (annotation, *get_args(annotation)):
            nested = node.get(name)
            if _is_schema(inner) and isinstance(nested, Mapping):
                yield from _shape(nested, inner, f"{path}{name}.", file)


def _rules(node: Mapping[str, Any], file: str) -> Iterator[Problem]:
    """What no annotation says; of fields that may themselves be wrong."""
    rows = [row for row in node.get("rows") or [] if isinstance(row, Mapping)]
    names = [row.get("name") for row in rows]
    if not rows:
        yield Problem("rows", "has no published number", "[]", "at least one", file=file)
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        yield Problem("rows", "two rows have this name", name, "names of their own", file=file)
    for number, row in enumerate(rows):
        yield from _of_mean(f"rows.{number}", row, file)
    seeds = node.get("seeds")
    if isinstance(seeds, list) and (not seeds or len(set(map(str, seeds))) < len(seeds)):
        yield Problem("seeds", "each once, at least one", str(seeds), "[1, 2, 3]", file=file)
    if node.get("deterministic") is True and isinstance(seeds, list) and len(seeds) > 1:
        yield Problem("seeds", "a deterministic method has one", str(seeds), "[1]", file=file)
    yield from _of_cost(node.get("cost"), file)


def _of_cost(cost: Any, file: str) -> Iterator[Problem]:
    words = {"cpu": (), "gpu": ("none", "unknown")}
    for name, others in words.items() if isinstance(cost, Mapping) else ():
        told = str(cost.get(name))
        if told not in others and not DURATION.fullmatch(told):
            allowed = ", ".join(("35 min", "~3 h (s, min, h, d; ~ for an estimate)", *others))
            yield Problem(f"cost.{name}", "is no duration", told, allowed, file=file)


def _of_mean(path: str, row: Mapping[str, Any], file: str) -> Iterator[Problem]:
    means, setting = row.get("mean_over"), row.get("setting")
    for key, values in means.items() if isinstance(means, Mapping) else ():
        where, told = f"{path}.mean_over.{key}", str(values)[:60]
        if not isinstance(values, list) or len(set(map(str, values))) < max(len(values), 2):
            yield Problem(where, "is no list of values", told, "two or more, each once", file=file)
        if isinstance(setting, Mapping) and key in setting:
            yield Problem(where, "is in setting, too", told, "one of the two", file=file)


def made(schema: Any, value: Any) -> Any:
    """Plain containers, found sound, as the dataclasses that they stand for."""
    inner = next((a for a in (schema, *get_args(schema)) if _is_schema(a)), None)
    if inner is None or value is None:
        return value
    if isinstance(value, list):
        return [made(inner, item) for item in value]
    known = hints(inner)
    return inner(**{name: made(known[name], item) for name, item in value.items()})


def _is_schema(annotation: Any) -> bool:
    return isinstance(annotation, type) and dataclasses.is_dataclass(annotation)
