"""Scaling laws."""

from lm_research.analysis.scaling import Scaling
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table


def scaling_table(study: Study) -> Table:
    """A row for each law: E, A and alpha with their intervals."""
    columns = (
        Column("axis", numeric=False),
        Column("at", numeric=False),
        Column("E"),
        Column("A"),
        Column("α"),
        Column("sizes", rank=1),
        Column("runs", rank=2),
    )
    notes = (
        f"{study.metric.label.capitalize()} = E + A x^−α, x in {_quantities(study)}; Huber loss "
        "(δ 0.001) of its logarithm over runs. In brackets: 95 % bootstrap intervals over runs. "
        "Beyond the sizes tried the law is a guess.",
    )
    rows = tuple(_row(law) for law in study.scaling)
    return Table("Scaling laws", columns, rows, notes)


def _quantities(study: Study) -> str:
    return " or ".join(dict.fromkeys(law.quantity for law in study.scaling))


def _row(law: Scaling) -> tuple[Cell, ...]:
    fit = law.fit
    estimates = (fit.irreducible, fit.coefficient, fit.exponent)
    return (
        Cell(law.axis),
        Cell(" · ".join(law.fixed)),
        *(Cell(_bracketed(estimate)) for estimate in estimates),
        Cell(str(fit.sizes)),
        Cell(str(fit.runs)),
    )


def _bracketed(estimate: Estimate) -> str:
    """ "1.71 (1.65 to 1.75)"."""
    assert estimate.low is not None
    assert estimate.high is not None
    return f"{estimate.mean:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"
