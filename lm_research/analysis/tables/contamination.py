"""Scores on all evaluation documents beside those on the clean ones, where the two differ."""

from collections.abc import Iterable, Iterator

from lm_research.analysis.metric import MISSING, Metric
from lm_research.analysis.runs import Run, number, summary_keys
from lm_research.analysis.statistics import mean
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table

SCORE, CLEAN, COUNT = "bits_per_byte", "bits_per_byte_clean", "contaminated_documents"
NOTES = (
    "Contaminated: the document shares 13 words in a row (characters in Chinese and its like) with "
    "the run's training split, or is equal to a shorter training document. Clean: bits per byte of "
    "the others, read in the same stream. Means over all runs that were trained and scored there.",
)


def contamination_table(study: Study) -> Table | None:
    """Training source by evaluation source; None where no clean score differs from the whole's."""
    metric = Metric.named(f"val/{SCORE}")
    runs = [run for setting in study.settings for run in setting.runs]
    rows = [
        row
        for source in dict.fromkeys(run.source for run in runs)
        for row in _rows([run for run in runs if run.source == source], source, metric)
    ]
    if not rows:
        return None
    columns = (
        Column("trained on", numeric=False),
        Column("evaluated on", numeric=False),
        Column("contaminated documents"),
        Column(f"{metric.short}, all"),
        Column("clean"),
    )
    return Table("Without what is also in the training text", columns, tuple(rows), NOTES)


def _rows(runs: list[Run], source: str, metric: Metric) -> Iterator[tuple[Cell, ...]]:
    for group in (
        name.removesuffix(f"/{CLEAN}") for name in summary_keys(runs) if name.endswith(f"/{CLEAN}")
    ):
        counts = _values(runs, f"{group}/{COUNT}")
        if not any(counts):
            continue
        whole, clean = (_mean(runs, f"{group}/{name}") for name in (SCORE, CLEAN))
        where = f"{source}, validation" if group == "val" else group.removeprefix("eval/")
        low, high = min(counts), max(counts)
        count = f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
        yield (Cell(source), Cell(where), Cell(count), _score(metric, whole), _score(metric, clean))


def _values(runs: Iterable[Run], key: str) -> list[float]:
    return [value for run in runs if (value := number(run.summary.get(key))) is not None]


def _mean(runs: list[Run], key: str) -> float | None:
    found = _values(runs, key)
    return mean(found) if found else None


def _score(metric: Metric, value: float | None) -> Cell:
    return Cell(MISSING if value is None else metric.text(value))
