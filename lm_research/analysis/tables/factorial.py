"""Main effects and interactions: the analysis of variance, and its contrasts."""

from lm_research.analysis.factorial import Contrast, Factorial, Term
from lm_research.analysis.metric import MISSING, Metric
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table, interval, p_text


def factorial_table(study: Study, found: Factorial) -> Table:
    """A row for each term: F, p, partial eta squared, and its largest contrast."""
    metric = study.metric
    columns = (
        Column("term", numeric=False),
        Column("df"),
        Column("F"),
        Column("p (Holm)"),
        Column("partial η²", rank=2),
        Column("largest contrast", numeric=False, rank=1),
        Column("effect"),
        Column("95 % interval", rank=3),
    )
    rows = tuple(_term_row(metric, term) for term in found.terms)
    return Table(
        "Main effects and interactions", columns, rows, tuple(_notes(found)),
        frozenset({sum(len(term.axes) == 1 for term in found.terms)} - {0, len(rows)}),
    )  # fmt: skip


def _term_row(metric: Metric, term: Term) -> tuple[Cell, ...]:
    largest = _largest(term)
    freedom, noise = term.freedom
    return (
        Cell(" × ".join(term.axes)),
        Cell(f"{freedom}, {noise}"),
        Cell(MISSING if term.f is None else f"{term.f:,.1f}"),
        Cell(p_text(term.adjusted)),
        Cell(MISSING if term.partial_eta is None else f"{term.partial_eta:.2f}"),
        Cell(" · ".join(largest.levels)),
        Cell(metric.signed(largest.effect.mean)),
        Cell(interval(metric, largest.effect)),
    )


def _largest(term: Term) -> Contrast:
    """The first of the largest: two levels' contrasts differ in their rounding alone."""
    most = max(abs(contrast.effect.mean) for contrast in term.contrasts)
    return next(c for c in term.contrasts if abs(c.effect.mean) >= most * (1 - 1e-9))


def _notes(found: Factorial) -> list[str]:
    block = (
        "seeds are blocks"
        if found.seeds_are_blocks
        else "seeds are replicates, as the settings do not all have the same ones"
    )
    notes = [
        "Sum-to-zero contrasts of setting means against one noise, pooled over all settings "
        f"({block}); p is Holm-adjusted over the terms. An interaction is what the main effects "
        "leave: 0 if the one choice does the same whatever the other is."
    ]
    if any("data" in term.axes and len(term.axes) == 2 for term in found.terms):
        notes.append(
            "Interactions with the data compare differences within each source; how far the "
            "sources lie apart there is a matter of their own texts."
        )
    holes = [term for term in found.terms if term.blocks < term.possible]
    if holes:
        listed = ", ".join(f"{' × '.join(t.axes)} {t.blocks} of {t.possible}" for t in holes)
        notes.append(
            f"Where settings are missing, only complete combinations of other choices: {listed}."
        )
    if found.left_out:
        listed = ", ".join(" × ".join(axes) for axes in found.left_out)
        notes.append(f"Left out, as no other choices have all of its combinations: {listed}.")
    return notes


def contrasts_table(metric: Metric, term: Term) -> Table:
    """Every contrast of a term."""
    columns = (
        *(Column(axis, numeric=False) for axis in term.axes),
        Column("effect"),
        Column("95 % interval"),
        Column("mean"),
    )
    rows = tuple(
        (
            *(Cell(name) for name in contrast.levels),
            Cell(metric.signed(contrast.effect.mean)),
            Cell(interval(metric, contrast.effect)),
            Cell(metric.text(contrast.mean.mean)),
        )
        for contrast in term.contrasts
    )
    return Table(" × ".join(term.axes), columns, rows)
