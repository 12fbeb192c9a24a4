"""Runs that enter no number, and the data."""

from lm_research.analysis.facts import data_facts
from lm_research.analysis.metric import MISSING
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table


def failures_table(study: Study) -> Table:
    """Runs that enter no number, with their errors."""
    columns = (
        Column("run", numeric=False),
        Column("state", numeric=False),
        Column("choices", numeric=False),
        Column("seed"),
        Column("step"),
        Column("error", numeric=False, wide=True),
    )
    rows = []
    for run in study.unfinished:
        chosen = [run.choices[axis] for axis in study.axes if axis in run.choices]
        steps = run.status.get("steps")
        step = f"{run.status.get('step', MISSING)}" + (f" / {steps}" if steps else "")
        error = str(run.status.get("error") or "; ".join(run.notes) or MISSING)
        rows.append(
            (
                Cell(run.id),
                Cell(run.state),
                Cell(" · ".join(chosen) or MISSING),
                Cell(MISSING if run.seed is None else str(run.seed)),
                Cell(step),
                Cell(error),
            )
        )
    return Table("Runs that enter no number", columns, tuple(rows))


def data_table(study: Study) -> Table:
    """Each training source: what it is, how large, what was left out."""
    facts = [data_facts(study, source) for source in study.sources]
    heads = list(dict.fromkeys(name for source in facts for name in source))
    rows = tuple(tuple(Cell(source.get(head, MISSING)) for head in heads) for source in facts)
    return Table("The data", tuple(Column(head, numeric=False) for head in heads), rows)
