"""What each choice does."""

from lm_research.analysis.comparisons import Effect
from lm_research.analysis.metric import Metric
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import (
    DOCUMENTS,
    HOLM,
    SIZES,
    Cell,
    Column,
    Table,
    effect_size,
    interval,
    over_documents,
    p_text,
    plus_minus,
    verdict_of,
)


def effects_table(study: Study) -> Table:
    """Every axis's levels, the best first, and how far each other level is behind."""
    metric = study.metric
    compared = [level for effect in study.effects for level in effect.levels if level.behind]
    flips = any(level.behind and level.behind.p_permutation for level in compared)
    documents = any(level.documents for level in compared)
    sizes = any(level.behind and level.behind.hedges_g is not None for level in compared)
    several = any(level.blocks > 1 for level in compared)
    columns = (
        Column("axis", numeric=False),
        Column("option", numeric=False),
        Column("mean"),
        Column("behind by"),
        Column("95 % interval", rank=1),
        *([Column("over documents", rank=4)] if documents else []),
        *([Column("g", rank=5)] if sizes else []),
        Column("p (Holm)"),
        *([Column("p (flips)", rank=3)] if flips else []),
        *([Column("worse in", rank=2)] if several else []),
        Column("verdict", numeric=False),
    )
    rows: list[tuple[Cell, ...]] = []
    breaks = set()
    for effect in study.effects:
        breaks.add(len(rows))
        rows.extend(
            _effect_row(metric, effect, place, (documents, sizes, flips, several))
            for place in range(len(effect.levels))
        )
    notes = [
        f"{metric.label.capitalize()}, averaged over the other axes; differences are paired: equal "
        "seed, equal choices on all other axes.",
        HOLM,
    ]
    if several:
        notes.append(
            "“worse in” counts the combinations of the other choices in which the option is behind."
        )
    if documents:
        notes.append(DOCUMENTS)
    if sizes:
        notes.append(SIZES)
    if flips:
        notes.append("p (flips): exact or sampled sign-flip test over seeds, not adjusted.")
    common = next((e.evaluations for e in study.effects if e.evaluations), ())
    if common:
        notes.append(
            f"data: the mean over the evaluation sources {', '.join(common)}, not over the "
            "training source's own validation documents."
        )
    return Table(
        "What each choice does, averaged over the others",
        columns, tuple(rows), tuple(notes), frozenset(breaks - {0}),
    )  # fmt: skip


def _effect_row(
    metric: Metric, effect: Effect, place: int, shown: tuple[bool, bool, bool, bool]
) -> tuple[Cell, ...]:
    documents, sizes, flips, several = shown
    level = effect.levels[place]
    name = (Cell(effect.axis if place == 0 else ""), Cell(level.value, place == 0))
    average = Cell(plus_minus(metric, level.estimate), place == 0)
    if level.behind is None:
        verdict = "best" if place == 0 else "nothing shared"
        blank = [Cell("") for _ in range(3 + sum(shown))]
        return (*name, average, *blank, Cell(verdict, place == 0))
    behind = level.behind.estimate
    return (
        *name,
        average,
        Cell(metric.text(behind.mean)),
        Cell(interval(metric, behind)),
        *([Cell(over_documents(metric, level.documents))] if documents else []),
        *([Cell(effect_size(level.behind))] if sizes else []),
        Cell(p_text(level.adjusted)),
        *([Cell(p_text(level.behind.p_permutation))] if flips else []),
        *([Cell(f"{level.ahead} of {level.blocks}")] if several else []),
        Cell(verdict_of(level.behind, level.adjusted)),
    )
