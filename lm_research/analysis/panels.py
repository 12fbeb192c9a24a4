"""What a study's dashboards show, said once, in plain Python, for whatever draws it.

A panel names recorded quantities, as rows and summaries have them, and how they are laid out.
``tracking/wandb_dashboard.py`` draws it in W&B. Nothing here knows how a panel is drawn.

Which panels a study gets follows from what it varies, not from its name: a study of sources has
the matrix of training and evaluation, one of sizes its losses on logarithmic axes, one that varies
both has both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["curve", "bars", "scatter", "table", "parallel", "importance"]
"""Rows over an axis; final values by group; final values against one another; a recorded table;
configuration and final value as lines; how much each field of the configuration tells."""

StudyKind = Literal["sources", "vectorization", "architectures", "scaling", "search"]
"""What a study asks about: texts, ways from text to vectors, models, sizes; or a search's space."""

SIZES = frozenset(
    {"train_tokens", "train_bytes", "hidden_size", "num_layers", "num_heads", "dim", "projection"}
)
"""Names of fields that make a model larger or its training longer."""
COSTS = {
    "model/parameters": "parameters",
    "train/flops": "training FLOPs",
    "perf/train_s": "seconds of training",
}
"""What quality is paid with: name in a summary -> in words."""


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: its heading.
        kind: how it is drawn.
        y: the quantity, or the name of a recorded table.
        x: for curves an axis of the rows (tokens, seconds, step), for scatters a summary's name.
        group: configuration field whose values are averaged over the other runs; None: each
            setting, its seeds averaged where the study has several.
        log_x, log_y: whether the axis is logarithmic.
        axes: of a parallel plot: configuration fields, from left to right, before ``y``.
    """

    title: str
    kind: Kind
    y: str
    x: str | None = None
    group: str | None = None
    log_x: bool = False
    log_y: bool = False
    axes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def study_kinds(axes: Sequence[str], searched: bool = False) -> tuple[StudyKind, ...]:
    """What a study is about, in the order of its axes.

    Args:
        axes: what was varied: configuration groups (``model``) or dotted fields (``optimizer.lr``).
        searched: whether the axes are the space of a search, whose one seed and scattered values
            make no means to compare.
    """
    if searched:
        return ("search",)
    found = (_kind(axis) for axis in axes)
    return tuple(dict.fromkeys(kind for kind in found if kind))


def _kind(axis: str) -> StudyKind | None:
    head, _, rest = axis.partition(".")
    if rest.rpartition(".")[2] in SIZES:
        return "scaling"
    if head == "data":
        return "sources"
    if head in ("vectorizer", "text"):
        return "vectorization"
    return "architectures" if axis == "model" else None


def study_sections(
    metric: str, axes: Sequence[str], evaluated: Sequence[str] = (), searched: bool = False
) -> tuple[Section, ...]:
    """The dashboard of a study.

    Args:
        metric: the deciding metric, ``val/bits_per_byte``.
        axes: as in :func:`study_kinds`.
        evaluated: sources that every run was scored on.
        searched: as in :func:`study_kinds`.
    """
    fields = [field(axis) for axis in axes]
    own = [_section(kind, metric, axes, evaluated) for kind in study_kinds(axes, searched)]
    answer = () if searched else tuple(_bars(metric, axes))
    several = len(fields) > 1 and not searched
    whole = [Panel("Everything that was varied", "parallel", metric, axes=tuple(fields))]
    sections = (
        Section("Answer", answer),
        *own,
        Section("Learning", tuple(_curves(metric, None if searched else fields))),
        Section("Interactions", tuple(whole if several else ())),
        Section("Cost", tuple(_costs(metric, fields))),
        Section("Samples", (Panel("Samples", "table", "samples"),)),
    )
    return tuple(_each_once(sections))


def field(axis: str) -> str:
    """Where a run's configuration has an axis: the option of a group, or the field itself.

    Of data, the source's name: all mixtures are one option.
    """
    if axis == "data":
        return "data.name"
    return axis if "." in axis or axis == "seed" else f"choices.{axis}"


def _each_once(sections: Sequence[Section]) -> Iterator[Section]:
    """A picture stands where it comes first; a section without any is left out."""
    seen: set[Panel] = set()
    for section in sections:
        bare = {_bare(panel): panel for panel in section.panels}
        panels = tuple(panel for key, panel in bare.items() if key not in seen)
        seen |= set(bare)
        if panels:
            yield Section(section.title, panels)


def _bare(panel: Panel) -> Panel:
    """What it shows, however it is called and scaled."""
    return replace(panel, title="", log_x=False, log_y=False)


def _section(
    kind: StudyKind, metric: str, axes: Sequence[str], evaluated: Sequence[str]
) -> Section:
    if kind == "sources":
        return Section("Sources", tuple(_sources(metric, axes, evaluated)))
    if kind == "vectorization":
        return Section("Vectorization", tuple(_vectorization(metric, axes)))
    if kind == "architectures":
        return Section("Architectures", tuple(_against_costs(metric)))
    if kind == "scaling":
        return Section("Scaling", tuple(_scaling(metric)))
    return Section("Search", tuple(_search(metric, axes)))


def _bars(metric: str, axes: Sequence[str]) -> Iterator[Panel]:
    for axis in axes:
        yield Panel(f"{metric} by {axis}", "bars", metric, group=field(axis))


def _sources(metric: str, axes: Sequence[str], evaluated: Sequence[str]) -> Iterator[Panel]:
    """The matrix of training and evaluation sources: the table of all runs, and its columns."""
    score = metric.rsplit("/", 1)[-1]
    by = field("data" if "data" in axes else next(a for a in axes if a.startswith("data")))
    if evaluated:
        yield Panel("Training sources by evaluation sources", "table", "evaluations")
    for source in evaluated:
        name = f"eval/{source}/{score}"
        yield Panel(f"{score} on {source}, by training source", "bars", name, group=by)
    yield Panel(f"{metric} over tokens, by training source", "curve", metric, "tokens", by)


def _vectorization(metric: str, axes: Sequence[str]) -> Iterator[Panel]:
    by = [axis for axis in axes if _kind(axis) == "vectorization"]
    if len(axes) > 1:
        yield Panel(f"{metric} by {' x '.join(axes)}", "bars", metric)
    for axis in by:
        for x in ("tokens", "seconds"):
            yield Panel(f"{metric} over {x}, by {axis}", "curve", metric, x, field(axis))


def _against_costs(metric: str) -> Iterator[Panel]:
    for cost, words in COSTS.items():
        yield Panel(f"{metric} against {words}", "scatter", metric, cost, log_x=True)


def _scaling(metric: str) -> Iterator[Panel]:
    sizes = {"tokens": "training tokens", **COSTS}
    for size, words in sizes.items():
        title = f"{metric} against {words}"
        yield Panel(title, "scatter", metric, size, log_x=True, log_y=True)


def _search(metric: str, axes: Sequence[str]) -> Iterator[Panel]:
    fields = tuple(field(axis) for axis in axes)
    yield Panel("Every trial", "parallel", metric, axes=fields)
    yield Panel("What mattered", "importance", metric)


def _curves(metric: str, fields: Sequence[str] | None) -> Iterator[Panel]:
    by = fields[0] if fields else None
    for x, y in [("tokens", metric), ("seconds", metric), ("tokens", "train/loss_nats")]:
        yield Panel(f"{y} over {x}", "curve", y, x, by)


def _costs(metric: str, fields: Sequence[str]) -> Iterator[Panel]:
    by = fields[0] if fields else None
    yield Panel("Quality against speed", "scatter", metric, "perf/tokens_per_s", log_x=True)
    yield Panel("Quality against size", "scatter", metric, "model/parameters", log_x=True)
    yield Panel("Speed over time", "curve", "perf/tokens_per_s", "seconds", by)
