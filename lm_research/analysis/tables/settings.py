"""Every setting, and the best of each source."""

from collections.abc import Sequence

from lm_research.analysis.metric import MISSING, UNDEFINED, Metric, compact
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import Estimate, bootstrap_intervals
from lm_research.analysis.study import Study, once
from lm_research.analysis.tables.table import (
    DOCUMENTS,
    HOLM,
    INTERVAL,
    Cell,
    Column,
    Table,
    interval,
    over_documents,
    p_text,
    plus_minus,
    verdict_of,
)

BOOTSTRAP = (
    "Bootstrap: 95 % BCa interval over seeds, which holds the mean less often than it says: in "
    "71 % of samples of 3 seeds, 84 % of 5, 90 % of 10 (normal values). Go by ±."
)
# (key's last part, head, rank)
_SECONDARY = (
    ("val/accuracy", "accuracy", 1),
    ("val/subset_accuracy", "subset accuracy", 1),
    ("val/perplexity_token", "ppl/token", 2),
    ("perf/tokens_per_s", "tokens/s", 3),
    ("model/parameters", "params", 4),
)


@once
def ablation_table(study: Study) -> Table:
    """Every setting, grouped by training source, the best of each source first and marked."""
    metric = study.metric
    several = any(len(setting.runs) > 1 for setting in study.settings)
    resampled = _bootstraps(study) if several else {}
    shown = [c for c in _SECONDARY if c[0] != metric.key and _recorded(study.settings, c[0])]
    columns = [
        *(Column(axis, numeric=False) for axis in study.axes),
        Column(metric.short),
        *([Column("sd", rank=5), Column("bootstrap", rank=6)] if several else []),
        Column("n"),
        *(Column(head, rank=rank) for _, head, rank in shown),
    ]
    rows: list[tuple[Cell, ...]] = []
    breaks = set()
    for source in study.sources:
        breaks.add(len(rows))
        for place, setting in enumerate(study.of_source(source)):
            keys = [key for key, _, _ in shown]
            spread = _spread(metric, setting, resampled) if several else ()
            rows.append(_ablation_row(study, setting, place == 0, keys, spread))
    notes = [
        INTERVAL,
        *([BOOTSTRAP] if several else []),
        "★ marks the best setting of each training source.",
    ]
    if any(s.undefined(metric.key) for s in study.settings):
        notes.append(f"{UNDEFINED}: the vocabulary gives no probability to the original text.")
    return Table(
        f"Every setting: {metric.label} on the source's own validation documents",
        tuple(columns), tuple(rows), tuple(notes), frozenset(breaks - {0}),
    )  # fmt: skip


def _recorded(settings: Sequence[Setting], key: str) -> bool:
    return any(key in run.summary for setting in settings for run in setting.runs)


def _bootstraps(study: Study) -> dict[Setting, Estimate]:
    """All at once: one call each would take longer than the runs' reading."""
    values = {s: list(s.values_by_seed(study.metric.key).values()) for s in study.settings}
    known = {setting: found for setting, found in values.items() if found}
    return dict(zip(known, bootstrap_intervals(list(known.values())), strict=True))


def _spread(
    metric: Metric, setting: Setting, resampled: dict[Setting, Estimate]
) -> tuple[Cell, ...]:
    found = resampled.get(setting)
    if found is None or found.sd is None:
        return Cell(MISSING, faint=True), Cell(MISSING, faint=True)
    return Cell(metric.spread(found.sd), faint=True), Cell(interval(metric, found), faint=True)


def _ablation_row(
    study: Study, setting: Setting, first: bool, keys: list[str], spread: tuple[Cell, ...]
) -> tuple[Cell, ...]:
    metric, estimate = study.metric, setting.estimate(study.metric.key)
    best = first and estimate is not None
    return (
        *(Cell(value, best) for value in setting.values),
        Cell(plus_minus(metric, estimate, setting.undefined(metric.key)), best),
        *spread,
        Cell(str(len(setting.runs)), faint=True),
        *(_secondary(setting, key) for key in keys),
    )


def _secondary(setting: Setting, key: str) -> Cell:
    value = setting.average(key)
    if value is None:
        return Cell(UNDEFINED if setting.undefined(key) else MISSING, faint=True)
    counted = key.startswith(("perf/", "model/"))
    return Cell(compact(value) if counted else Metric.named(key).text(value))


def winners_table(study: Study) -> Table:
    """The best setting of each source, the next, and whether the lead is real."""
    metric = study.metric
    documents = any(winner.documents for winner in study.winners)
    columns = (
        Column("source", numeric=False),
        Column("best", numeric=False),
        Column(metric.short),
        Column("runner-up", numeric=False),
        Column("lead"),
        Column("95 % interval", rank=1),
        *([Column("over documents", rank=2)] if documents else []),
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
            rows.append(
                (*head, Cell(name), *(Cell(MISSING) for _ in range(3 + documents)), Cell(verdict))
            )
            continue
        rows.append(
            (
                *head,
                Cell(winner.runner_up.label),
                Cell(metric.text(winner.lead.estimate.mean)),
                Cell(interval(metric, winner.lead.estimate)),
                *([Cell(over_documents(metric, winner.documents))] if documents else []),
                Cell(p_text(winner.adjusted)),
                Cell(verdict_of(winner.lead, winner.adjusted)),
            )
        )
    notes = (
        INTERVAL,
        HOLM,
        *([DOCUMENTS] if documents else []),
        "The best was picked by these same numbers, which flatters its mean a little.",
    )
    return Table("The best setting per source, and its lead", columns, tuple(rows), notes)
