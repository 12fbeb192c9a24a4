"""What mixtures were asked to be, and what was read."""

from collections.abc import Iterable, Iterator

from lm_research.analysis.metric import MISSING, fixed
from lm_research.analysis.runs import Run, number
from lm_research.analysis.statistics import mean
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table
from lm_research.config.choices import mapping

READ = "Shares of bytes; how often the source's training text was read. Means over the seeds."
PREPARED = (
    "Without a number of epochs: shares of the prepared training text. A plain mixture leaves its "
    "weights when a source ends; data.schedule={} holds them (docs/mixtures.md)."
)


def mixtures_table(study: Study) -> Table | None:
    """Each mixture's members, with asked and achieved shares; None without a mixture."""
    rows: list[tuple[Cell, ...]] = []
    breaks = set()
    plain = False
    for source in study.sources:
        runs = [run for s in study.settings if s.source == source for run in s.runs]
        found = list(_members(source, runs))
        if found:
            breaks.add(len(rows))
            plain |= not any(mapping(run.data.get("mixture")) for run in runs)
        rows.extend(found)
    if not rows:
        return None
    columns = (
        Column("trained on", numeric=False), Column("source", numeric=False), Column("asked"),
        Column("achieved"), Column("epochs"),
    )  # fmt: skip
    notes = (READ, *([PREPARED] if plain else []))
    title = "Shares of the mixtures, asked and achieved"
    return Table(title, columns, tuple(rows), notes, frozenset(breaks - {0}))


def _members(mixture: str, runs: list[Run]) -> Iterator[tuple[Cell, ...]]:
    """A row for each member, of what was read where that is recorded, else of what was prepared."""
    names = dict.fromkeys(name for run in runs for name in mapping(run.data.get("asked")))
    for place, name in enumerate(names):
        read = [mapping(mapping(run.data.get("mixture")).get(name)) for run in runs]
        prepared = [
            {"asked": _of(run, "asked", name), "share": _of(run, "achieved", name)} for run in runs
        ]
        both = [{**late, **early} for late, early in zip(prepared, read, strict=True)]
        values = [[card.get(key) for card in both] for key in ("asked", "share", "epochs")]
        head = (Cell(mixture if place == 0 else ""), Cell(name))
        yield (*head, *(Cell(_mean(of_runs)) for of_runs in values))


def _of(run: Run, what: str, name: str) -> object:
    return mapping(run.data.get(what)).get(name)


def _mean(values: Iterable[object]) -> str:
    known = [value for each in values if (value := number(each)) is not None]
    return fixed(mean(known), 3) if known else MISSING
