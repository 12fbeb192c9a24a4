"""The tables of a study, free of any output format (``render`` draws them)."""

from collections.abc import Sequence
from dataclasses import dataclass

from lm_research.analysis.comparisons import ALPHA, Effect
from lm_research.analysis.facts import data_facts
from lm_research.analysis.matrix import Matrix
from lm_research.analysis.metric import MISSING, UNDEFINED, Metric, compact
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import Estimate, PairedDifference
from lm_research.analysis.study import Study

HOLM = (
    "p: two-sided paired t-test over seeds, Holm-adjusted for the number of comparisons (all pairs "
    "of an axis's options; all sources); “real” is p < 0.05, “unsure” an interval without 0 that "
    "the correction does not uphold."
)
INTERVAL = "± is half of the 95 % t-interval over seeds."


@dataclass(frozen=True)
class Column:
    """A column. Those of a higher ``rank`` go first when space is short, those of rank 0 never;
    ``wide`` ones hold sentences and wrap."""

    head: str
    numeric: bool = True
    rank: int = 0
    wide: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell's text; ``best`` marks the winner, ``faint`` what is secondary."""

    text: str
    best: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Table:
    """A titled table; ``breaks`` are rows before which a rule is drawn."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    breaks: frozenset[int] = frozenset()


def plus_minus(metric: Metric, estimate: Estimate | None, undefined: bool = False) -> str:
    """ "2.314 ±0.012"; "2.314 (one seed)"; "undefined"; "–" where nothing was recorded."""
    if estimate is None:
        return UNDEFINED if undefined else MISSING
    if estimate.n == 1:
        return f"{metric.text(estimate.mean)} (one seed)"
    return f"{metric.text(estimate.mean)} {metric.plus_minus(estimate.half_width)}"


def interval(metric: Metric, estimate: Estimate) -> str:
    """ "0.080 to 0.160", or "one seed"."""
    if estimate.low is None or estimate.high is None:
        return "one seed"
    return f"{metric.text(estimate.low)} to {metric.text(estimate.high)}"


def p_text(p: float | None) -> str:
    """ "0.012", "<0.001", or "–" where there is no test."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


# (key's last part, head, rank)
_SECONDARY = (
    ("val/accuracy", "accuracy", 1),
    ("val/perplexity_token", "ppl/token", 2),
    ("perf/tokens_per_s", "tokens/s", 3),
    ("model/parameters", "params", 4),
)


def ablation_table(study: Study) -> Table:
    """Every setting, grouped by training source, the best of each source first and marked."""
    metric = study.metric
    shown = [c for c in _SECONDARY if c[0] != metric.key and _recorded(study.settings, c[0])]
    columns = [
        *(Column(axis, numeric=False) for axis in study.axes),
        Column(metric.short),
        Column("n"),
        *(Column(head, rank=rank) for _, head, rank in shown),
    ]
    rows: list[tuple[Cell, ...]] = []
    breaks = set()
    for source in study.sources:
        breaks.add(len(rows))
        for place, setting in enumerate(study.of_source(source)):
            rows.append(_ablation_row(study, setting, place == 0, [key for key, _, _ in shown]))
    notes = [INTERVAL, "★ marks the best setting of each training source."]
    if any(s.undefined(metric.key) for s in study.settings):
        notes.append(f"{UNDEFINED}: the vocabulary gives no probability to the original text.")
    return Table(
        f"Every setting: {metric.label} on the source's own validation documents",
        tuple(columns), tuple(rows), tuple(notes), frozenset(breaks - {0}),
    )  # fmt: skip


def _recorded(settings: Sequence[Setting], key: str) -> bool:
    return any(key in run.summary for setting in settings for run in setting.runs)


def _ablation_row(study: Study, setting: Setting, first: bool, keys: list[str]) -> tuple[Cell, ...]:
    metric, estimate = study.metric, setting.estimate(study.metric.key)
    best = first and estimate is not None
    return (
        *(Cell(value, best) for value in setting.values),
        Cell(plus_minus(metric, estimate, setting.undefined(metric.key)), best),
        Cell(str(len(setting.runs)), faint=True),
        *(_secondary(setting, key) for key in keys),
    )


def _secondary(setting: Setting, key: str) -> Cell:
    value = setting.average(key)
    if value is None:
        return Cell(UNDEFINED if setting.undefined(key) else MISSING, faint=True)
    counted = key.startswith(("perf/", "model/"))
    return Cell(compact(value) if counted else Metric.named(key).text(value))


def effects_table(study: Study) -> Table:
    """Every axis's levels, the best first, and how far each other level is behind."""
    metric = study.metric
    flips = any(x.behind and x.behind.p_permutation for e in study.effects for x in e.levels)
    columns = (
        Column("axis", numeric=False),
        Column("option", numeric=False),
        Column("mean"),
        Column("behind by"),
        Column("95 % interval", rank=1),
        Column("p (Holm)"),
        *([Column("p (flips)", rank=3)] if flips else []),
        Column("worse in", rank=2),
        Column("verdict", numeric=False),
    )
    rows: list[tuple[Cell, ...]] = []
    breaks = set()
    for effect in study.effects:
        breaks.add(len(rows))
        rows.extend(
            _effect_row(metric, effect, place, flips) for place in range(len(effect.levels))
        )
    notes = [
        f"{metric.label.capitalize()}, averaged over the other axes; differences are paired: equal "
        "seed, equal choices on all other axes.",
        HOLM,
        "“worse in” counts the combinations of the other choices in which the option is behind.",
    ]
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


def _effect_row(metric: Metric, effect: Effect, place: int, flips: bool) -> tuple[Cell, ...]:
    level = effect.levels[place]
    name = (Cell(effect.axis if place == 0 else ""), Cell(level.value, place == 0))
    average = Cell(plus_minus(metric, level.estimate), place == 0)
    if level.behind is None:
        verdict = "best" if place == 0 else "nothing shared"
        blank = [Cell("") for _ in range(5 if flips else 4)]
        return (*name, average, *blank, Cell(verdict, place == 0))
    behind = level.behind.estimate
    return (
        *name,
        average,
        Cell(metric.text(behind.mean)),
        Cell(interval(metric, behind)),
        Cell(p_text(level.adjusted)),
        *([Cell(p_text(level.behind.p_permutation))] if flips else []),
        Cell(f"{level.ahead} of {level.blocks}"),
        Cell(verdict_of(level.behind, level.adjusted)),
    )


def verdict_of(difference: PairedDifference, adjusted: float | None) -> str:
    """In a word: "real", "seed noise", "unsure" (real but for the correction), "one seed"."""
    if adjusted is None:
        return "one seed"
    if adjusted < ALPHA:
        return "real"
    return "unsure" if difference.estimate.excludes_zero() else "seed noise"


def winners_table(study: Study) -> Table:
    """The best setting of each source, the next, and whether the lead is real."""
    metric = study.metric
    columns = (
        Column("source", numeric=False),
        Column("best", numeric=False),
        Column(metric.short),
        Column("runner-up", numeric=False),
        Column("lead"),
        Column("95 % interval", rank=1),
        Column("p (Holm)"),
        Column("verdict", numeric=False),
    )
    rows = []
    for winner in study.winners:
        head = (
            Cell(winner.source),
            Cell(winner.best.label, best=True),
            Cell(plus_minus(metric, winner.estimate)),
        )
        if winner.lead is None or winner.runner_up is None:
            name = winner.runner_up.label if winner.runner_up else MISSING
            verdict = "no shared seed" if winner.runner_up else "nothing to compare with"
            rows.append((*head, Cell(name), *(Cell(MISSING) for _ in range(3)), Cell(verdict)))
            continue
        rows.append(
            (
                *head,
                Cell(winner.runner_up.label),
                Cell(metric.text(winner.lead.estimate.mean)),
                Cell(interval(metric, winner.lead.estimate)),
                Cell(p_text(winner.adjusted)),
                Cell(verdict_of(winner.lead, winner.adjusted)),
            )
        )
    notes = (
        INTERVAL,
        HOLM,
        "The best was picked by these same numbers, which flatters its mean a little.",
    )
    return Table("The best setting per source, and its lead", columns, tuple(rows), notes)


def matrix_table(study: Study, matrix: Matrix) -> Table:
    """Training source by evaluation source; the best of each column is marked."""
    metric = study.metric
    columns = (Column("trained on", numeric=False), *(Column(name) for name in matrix.columns))
    best = best_rows(matrix, metric)
    rows = tuple(
        (
            Cell(row),
            *(
                Cell(plus_minus(metric, matrix.cells.get((row, column))), best.get(column) == row)
                for column in matrix.columns
            ),
        )
        for row in matrix.rows
    )
    return Table(
        f"Trained on (row), evaluated on (column): {metric.label}",
        columns, rows, tuple(matrix_notes(study, matrix)),
    )  # fmt: skip


def best_rows(matrix: Matrix, metric: Metric) -> dict[str, str]:
    """Column -> the row that does best there; only where rows can be compared."""
    found = {}
    for column in matrix.columns:
        rows = [row for row in matrix.rows if (row, column) in matrix.cells]
        if len(rows) > 1:
            found[column] = min(
                rows, key=lambda row: metric.gain(0.0, matrix.cells[row, column].mean)
            )
    return found


def matrix_notes(study: Study, matrix: Matrix) -> list[str]:
    """What the cells average over, and how they were filled."""
    notes = [INTERVAL]
    if matrix.possible > 1:
        counts = set(matrix.blocks.values())
        used = " or ".join(str(count) for count in sorted(counts))
        others = ", ".join(axis for axis in study.axes if axis != "data")
        notes.append(
            f"Each cell averages the same {used} of {matrix.possible} combinations of {others} in "
            "all rows of its column."
        )
    if matrix.own:
        notes.append("On its own source a model is scored on that source's validation documents.")
    if any((row, column) not in matrix.cells for row in matrix.rows for column in matrix.columns):
        notes.append(f"{MISSING}: not evaluated, or undefined.")
    return notes


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
