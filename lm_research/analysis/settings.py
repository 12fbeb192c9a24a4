"""Runs grouped into settings: what is equal but for the seed may be averaged, nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, cast

from lm_research.analysis.metric import MISSING
from lm_research.analysis.runs import Run
from lm_research.analysis.statistics import Estimate, mean, t_interval
from lm_research.config.choices import PRETRAINING, mapping, value_on
from lm_research.config.places import PLACES

FREE_FIELDS = frozenset(
    {"seed", "output", "cache", "resume", "choices", "hydra", "tracking", "local", "sweep",
     "evaluate_on", "init_from"}
)  # fmt: skip
"""Parts of a configuration that cannot move a number: where files lie, who listens, what is scored
in addition. Everything else must be equal within a setting."""
FREE_CHOICES = frozenset({"tracking", "local", "sweep", "experiment"})
DEFAULT_AXES = ("data", "vectorizer", "model")
USUAL_ORDER = ("data", "text", "vectorizer", "model")
FINGERPRINT = "data.json: fingerprint"
SCRATCH = "scratch"
OF_ONE_CHECKPOINT = frozenset({"transfer.source.sha256", "transfer.source.step"})
"""Differ between replicates whose language models differ in nothing but the seed."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs that differ in nothing but the seed.

    Args:
        axes: names of the axes.
        values: one value per axis.
        runs: one run per seed, by rising seed.
    """

    axes: tuple[str, ...]
    values: tuple[str, ...]
    runs: tuple[Run, ...]

    def __getitem__(self, axis: str) -> str:
        return self.values[self.axes.index(axis)]

    @cached_property
    def source(self) -> str:
        """The training source."""
        return self.runs[0].source

    @property
    def source_names(self) -> tuple[str, str]:
        """The names under which the training source may appear as an evaluation source."""
        return self.source, self.runs[0].source_name

    @property
    def label(self) -> str:
        """The values of every axis but the source: "embedding · lstm"."""
        shown = [v for axis, v in zip(self.axes, self.values, strict=True) if axis != "data"]
        return " · ".join(shown) or self.source

    @property
    def phrase(self) -> str:
        """The label as a sentence has it: "lstm · hidden_size 64"."""
        pairs = zip(self.axes, self.values, strict=True)
        shown = [_named(axis, value) for axis, value in pairs if axis != "data"]
        return " · ".join(shown) or self.source

    def others(self, *axes: str) -> tuple[str, ...]:
        """The values of all axes but ``axes``: what a comparison along them holds fixed."""
        if axes not in self._others:
            pairs = zip(self.axes, self.values, strict=True)
            self._others[axes] = tuple(v for a, v in pairs if a not in axes)
        return self._others[axes]

    def values_by_seed(self, key: str) -> dict[int, float]:
        """Seed -> final value; empty if any seed leaves it undefined or unrecorded."""
        if key not in self._by_seed:
            found = {run.seed: run.summary.get(key) for run in self.runs}
            self._by_seed[key] = {} if None in found.values() else found  # type: ignore[assignment]
        return dict(self._by_seed[key])

    def undefined(self, key: str) -> bool:
        """Whether a run recorded ``key`` as null."""
        return any(key in run.summary and run.summary[key] is None for run in self.runs)

    def estimate(self, key: str) -> Estimate | None:
        """Mean and t interval over the seeds; ``None`` if undefined or unrecorded."""
        if key not in self._estimates:
            values = self.values_by_seed(key)
            self._estimates[key] = t_interval(list(values.values())) if values else None
        return self._estimates[key]

    def average(self, key: str) -> float | None:
        """Mean over the seeds that recorded ``key`` (throughput, parameters)."""
        values = [v for run in self.runs if (v := run.summary.get(key)) is not None]
        return mean(values) if values else None

    # A report asks a setting the same a hundred times: what was answered is remembered.

    @cached_property
    def _others(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        return {}

    @cached_property
    def _by_seed(self) -> dict[str, dict[int, float]]:
        return {}

    @cached_property
    def _estimates(self) -> dict[str, Estimate | None]:
        return {}


def _named(axis: str, value: str) -> str:
    """An option speaks for itself, a number needs the name of its field."""
    try:
        float(value)
    except ValueError:
        return value
    return f"{axis.rpartition('.')[2]} {value}"


class ReplicateError(ValueError):
    """Runs that must not be averaged: they differ in more than the seed, or repeat one."""


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted names; lists and scalars are leaves. Places are left out."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key in PLACES:
            continue
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def differing_fields(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Field -> its different values, over runs that are meant to differ in the seed alone.

    Every dotted field counts that a run's numbers may depend on, but the seed; and its data, unless
    they are drawn by the seed (``data.fold_seed``).
    """
    parts = _differing_parts(runs)
    flats = [flatten({key: run.config[key] for key in parts if key in run.config}) for run in runs]
    for run, flat in zip(runs, flats, strict=True):
        if "fingerprint" in run.data:
            flat[FINGERPRINT] = run.data["fingerprint"]
    found = {}
    for name in dict.fromkeys(name for flat in flats for name in flat):
        if name in OF_ONE_CHECKPOINT or _follows_seed(name, runs, flats):
            continue
        if name == FINGERPRINT and _drawn_by_seed(runs, flats):
            continue
        values = [flat.get(name) for flat in flats]
        different = [v for i, v in enumerate(values) if v not in values[:i]]
        if len(different) > 1:
            found[name] = different
    return found


def _follows_seed(name: str, runs: Sequence[Run], flats: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a part's own seed (``vectorizer.seed``) is the run's in every run that has it."""
    pairs = zip(runs, flats, strict=True)
    return name.endswith((".seed", "_seed")) and all(
        flat[name] == run.seed for run, flat in pairs if name in flat
    )


def _drawn_by_seed(runs: Sequence[Run], flats: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a seed of the data's own is the run's in every run, as of folds."""
    names = {name for name in flats[0] if name.startswith("data.")}
    return any(_follows_seed(name, runs, flats) for name in names)


def _differing_parts(runs: Sequence[Run]) -> list[str]:
    """The top-level keys under which not all configurations are equal: most runs share most."""
    keys: dict[str, None] = {}
    for run in runs:
        keys |= dict.fromkeys(run.config)
    names = [key for key in keys if key not in FREE_FIELDS]
    return [name for name in names if _several([run.config.get(name, MISSING) for run in runs])]


def _several(values: Sequence[Any]) -> bool:
    """Whether not all are equal; runs of a ledger share what is, which is told at a glance."""
    return values.count(values[0]) < len(values)


def value_of(run: Run, axis: str) -> str:
    """A run's value on an axis: the option chosen for a group, or a dotted field's value."""
    if axis == PRETRAINING:
        return pretrained_on(run) or SCRATCH
    found = value_on(run.config, run.choices, axis)
    return MISSING if found is None else found


def values_on(runs: Sequence[Run], axis: str) -> list[str]:
    """:func:`value_of` of each run; thousands of runs that all chose an option are told at once."""
    if axis != PRETRAINING:
        chosen = [run.choices.get(axis) for run in runs]
        if None not in chosen:
            return cast(list[str], chosen)
    return [value_of(run, axis) for run in runs]


def pretrained_on(run: Run) -> str | None:
    """Name of the data of the language model that the run started from; None from scratch."""
    found = mapping(mapping(run.config.get("transfer")).get("source")).get("data")
    return None if found is None else str(found)


def partition(runs: Sequence[Run], axes: Sequence[str]) -> dict[tuple[str, ...], list[Run]]:
    """Runs by their values on ``axes``, in the order in which they first appear."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    columns = [values_on(runs, axis) for axis in axes]
    keys = zip(*columns, strict=True) if columns else repeat((), len(runs))
    for run, values in zip(runs, keys, strict=True):
        groups.setdefault(values, []).append(run)
    return groups


def find_axes(runs: Sequence[Run], listed: Sequence[str] = ()) -> tuple[str, ...]:
    """The axes along which ``runs`` vary: those listed, then whatever else tells runs apart.

    Without a list: the choices that take more than one value. Runs that still agree on every axis
    and differ in a field besides the seed add that field ("model.hidden_size") as an axis.
    """
    if listed:
        axes = list(listed)
    else:
        groups = dict.fromkeys(g for run in runs for g in run.choices if g not in FREE_CHOICES)
        groups |= dict.fromkeys([PRETRAINING] if any(map(pretrained_on, runs)) else [])
        axes = [g for g in groups if len(set(values_on(runs, g))) > 1]
        axes = _without_followers(runs, axes) or [g for g in DEFAULT_AXES if g in groups]
        axes.sort(key=lambda g: USUAL_ORDER.index(g) if g in USUAL_ORDER else len(USUAL_ORDER))
    while extra := _telling_field(runs, axes):
        axes.append(extra)
    return tuple(axes)


def _without_followers(runs: Sequence[Run], axes: list[str]) -> list[str]:
    """Drop an axis that an earlier one decides (text=chinese wherever data=people_daily)."""
    kept: list[str] = []
    for axis in sorted(axes, key=lambda name: name not in DEFAULT_AXES):  # stable: the usual first
        groups = partition(runs, kept)
        if any(len(set(values_on(group, axis))) > 1 for group in groups.values()):
            kept.append(axis)
    return [axis for axis in axes if axis in kept]


def _telling_field(runs: Sequence[Run], axes: Sequence[str]) -> str | None:
    """The first field in which runs that agree on ``axes`` differ; its choice if it has one."""
    for group in partition(runs, axes).values():
        for name in differing_fields(group):
            head = name.split(".")[0]
            if len({run.choices.get(head) for run in group}) > 1 and head not in axes:
                return head
            if name != FINGERPRINT and len(set(values_on(group, name))) > 1:
                return name
    return None


def group_settings(runs: Sequence[Run], axes: Sequence[str]) -> list[Setting]:
    """Group finished runs into settings by ``axes``.

    Raises:
        ReplicateError: if runs of one setting differ in more than the seed (the fields are named),
            if a seed is repeated within a setting (the folders are named), or has no seed.
    """
    settings = []
    for values, group in partition(runs, axes).items():
        where = ", ".join(f"{axis}={value}" for axis, value in zip(axes, values, strict=True))
        check_replicates(group, where or "the only setting")
        ordered = tuple(sorted(group, key=lambda run: run.seed or 0))
        settings.append(Setting(tuple(axes), values, ordered))
    return settings


def check_replicates(runs: Sequence[Run], where: str) -> None:
    """Refuse runs that must not be averaged. Raises ReplicateError (see :func:`group_settings`)."""
    for run in runs:
        if run.seed is None:
            raise ReplicateError(
                f"{run.folder}: no whole-number seed in config.yaml; cannot be averaged"
            )
    different = differing_fields(runs)
    if different:
        named = "; ".join(
            f"{name} ({', '.join(map(repr, values[:4]))})" for name, values in different.items()
        )
        raise ReplicateError(
            f"{where}: {len(runs)} runs differ in more than the seed: {named}. "
            "Averaging them would mix settings: add the field to the axes, or report them apart"
        )
    first: dict[int | None, Run] = {}
    for run in runs:
        if run.seed in first:
            folders = f"{first[run.seed].folder} and {run.folder}"
            raise ReplicateError(
                f"{where}: seed {run.seed} is repeated ({folders}). "
                "Counting a seed twice feigns precision: keep one of the two"
            )
        first[run.seed] = run
