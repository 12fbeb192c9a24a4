"""What a study's dashboards show, said once, in plain Python, for whatever draws it.

A panel names recorded quantities, as rows and summaries have them, and how they are laid out.
``tracking/wandb_dashboard.py`` draws it in W&B. Nothing here knows how a panel is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["curve", "bars", "scatter", "table", "parallel"]
"""Rows over an axis; final values by group; final values against one another; a recorded table;
configuration and final value as lines."""


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: its heading.
        kind: how it is drawn.
        y: the quantity, or the name of a recorded table.
        x: for curves an axis of the rows (tokens, seconds, step), for scatters a summary's name.
        group: configuration field whose values are averaged over the other runs; None: each run.
        log_x: whether x is on a logarithmic scale.
        axes: of a parallel plot: configuration fields, from left to right, before ``y``.
    """

    title: str
    kind: Kind
    y: str
    x: str | None = None
    group: str | None = None
    log_x: bool = False
    axes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def study_sections(
    metric: str, axes: Sequence[str], evaluated: Sequence[str] = ()
) -> tuple[Section, ...]:
    """The dashboard of a study.

    Args:
        metric: the deciding metric, ``val/bits_per_byte``.
        axes: what was varied: configuration groups (``model``) or dotted fields (``optimizer.lr``).
        evaluated: sources that every run was scored on.
    """
    fields = [field(axis) for axis in axes]
    return tuple(
        section
        for section in (
            Section("Answer", (*_bars(metric, axes), *_sources(metric, evaluated))),
            Section("Learning", _curves(metric, fields)),
            Section("Interactions", _interactions(metric, fields)),
            Section("Cost", _costs(metric, fields)),
            Section("Samples", (Panel("Samples", "table", "samples"),)),
        )
        if section.panels
    )


def field(axis: str) -> str:
    """Where a run's configuration has an axis: the option of a group, or the field itself."""
    return axis if "." in axis or axis == "seed" else f"choices.{axis}"


def _bars(metric: str, axes: Sequence[str]) -> tuple[Panel, ...]:
    return tuple(Panel(f"{metric} by {axis}", "bars", metric, group=field(axis)) for axis in axes)


def _sources(metric: str, evaluated: Sequence[str]) -> tuple[Panel, ...]:
    """The matrix of training and evaluation sources, as bars and as the table of all runs."""
    score = metric.rsplit("/", 1)[-1]
    bars = tuple(
        Panel(f"{score} on {source}", "bars", f"eval/{source}/{score}", group="choices.data")
        for source in evaluated
    )
    return (*bars, Panel("Sources by evaluations", "table", "evaluations")) if bars else ()


def _curves(metric: str, fields: Sequence[str]) -> tuple[Panel, ...]:
    over = [("tokens", metric), ("seconds", metric), ("tokens", "train/loss_nats")]
    by = fields[0] if fields else None
    return tuple(Panel(f"{y} over {x}", "curve", y, x, by) for x, y in over)


def _interactions(metric: str, fields: Sequence[str]) -> tuple[Panel, ...]:
    if len(fields) < 2:
        return ()
    return (Panel("Everything that was varied", "parallel", metric, axes=tuple(fields)),)


def _costs(metric: str, fields: Sequence[str]) -> tuple[Panel, ...]:
    by = fields[0] if fields else None
    return (
        Panel("Quality against speed", "scatter", metric, "perf/tokens_per_s", log_x=True),
        Panel("Quality against size", "scatter", metric, "model/parameters", log_x=True),
        Panel("Speed over time", "curve", "perf/tokens_per_s", "seconds", by),
    )
