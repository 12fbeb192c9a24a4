"""What was expected, and what came."""

from lm_research.analysis.hypotheses import Verdict
from lm_research.analysis.metric import MISSING, Metric
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import (
    Cell,
    Column,
    Table,
    effect_size,
    interval,
    over_documents,
    p_text,
)


def hypotheses_table(study: Study) -> Table:
    """Each hypothesis with its difference, intervals, adjusted p and verdict."""
    metric = study.metric
    columns = (
        Column("expected", numeric=False, wide=True),
        Column("difference"),
        Column("95 % interval", rank=1),
        Column("over documents", rank=2),
        Column("g", rank=4),
        Column("p (Holm)"),
        Column("holds in", rank=3),
        Column("verdict", numeric=False),
    )
    notes = [
        f"Difference: {metric.label} of the side expected to be higher, minus that of the other; "
        "above 0 is as expected. Paired: equal seed, equal choices on all other axes.",
        "p: two-sided paired t-test over seeds, Holm-adjusted over the hypotheses; a verdict needs "
        "p < 0.05. Over documents: 95 % paired bootstrap over the evaluation documents.",
    ]
    notes += [
        f"Not tested: {verdict.hypothesis.text}: {verdict.missing}."
        for verdict in study.hypotheses
        if verdict.missing
    ]
    rows = tuple(_row(metric, verdict) for verdict in study.hypotheses)
    return Table("What was expected", columns, rows, tuple(notes))


def _row(metric: Metric, verdict: Verdict) -> tuple[Cell, ...]:
    text, outcome = Cell(verdict.hypothesis.text), Cell(verdict.outcome)
    if verdict.difference is None:
        return (text, *(Cell(MISSING) for _ in range(6)), outcome)
    return (
        text,
        Cell(metric.text(verdict.difference.estimate.mean)),
        Cell(interval(metric, verdict.difference.estimate)),
        Cell(over_documents(metric, verdict.documents)),
        Cell(effect_size(verdict.difference)),
        Cell(p_text(verdict.adjusted)),
        Cell(f"{verdict.agreeing} of {verdict.blocks}"),
        outcome,
    )
