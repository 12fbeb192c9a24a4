"""A paper's numbers beside those of these runs."""

from collections.abc import Mapping
from typing import Any

from lm_research.analysis.metric import MISSING
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table

NOTE = (
    "Ours: mean over seeds and half of the 95 % t-interval. A row is reproduced where that "
    "interval meets the published number ± the tolerance; * marks what was recalled, not read."
)


def published_table(study: Study) -> Table | None:
    """Each judged row with its verdict; None where these runs were judged by nothing."""
    if not study.sweep.published:
        return None
    columns = (
        Column("row", numeric=False), Column("metric", numeric=False, rank=2),
        Column("published"), Column("ours"), Column("n", rank=1), Column("tolerance"),
        Column("verdict", numeric=False), Column("why", numeric=False, wide=True),
    )  # fmt: skip
    rows = tuple(_row(row) for row in study.sweep.published)
    return Table("Published and ours", columns, rows, (NOTE,))


def _row(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    ours = row["ours"]
    half = "" if ours["low"] is None else f" ±{(ours['high'] - ours['low']) / 2:.2g}"
    state = str(row["state"])
    published = f"{row['published']:g}{' *' if row.get('mark') == 'M' else ''}"
    tolerance = MISSING if row.get("tolerance") is None else f"{row['tolerance']:g}"
    texts = (row["name"], row["metric"], published, f"{ours['mean']:.5g}{half}")
    counted = (len(row.get("values") or ()), tolerance)
    good = state in ("reproduced", "better")
    return (
        *(Cell(str(text)) for text in (*texts, *counted)), Cell(state, best=good), Cell(row["why"])
    )  # fmt: skip
