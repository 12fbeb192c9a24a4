"""What the data of pretraining does to the score of a task: source of the weights by task."""

from collections.abc import Iterator, Sequence

from lm_research.analysis.metric import MISSING, Metric
from lm_research.analysis.settings import SCRATCH, Setting, pretrained_on, value_of
from lm_research.analysis.statistics import PairedDifference, paired_difference
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import (
    INTERVAL,
    Cell,
    Column,
    Table,
    interval,
    plus_minus,
)
from lm_research.config.choices import PRETRAINING

NOTES = (
    INTERVAL,
    "Over scratch: the gain over the run of the same source, task and seed whose weights began at "
    "random, with its 95 % interval over seeds; above 0 is better.",
)


def transfer_table(study: Study) -> Table | None:
    """Pretraining source by training source; None where no run started from another's weights."""
    if not any(pretrained_on(setting.runs[0]) for setting in study.settings):
        return None
    rows: list[tuple[Cell, ...]] = []
    breaks = []
    for source in study.sources:
        breaks.append(len(rows))
        rows.extend(_rows(study, source))
    columns = (
        Column("task data", numeric=False),
        Column("pretrained on", numeric=False),
        Column("how", numeric=False, wide=True),
        Column("bits per byte of it"),
        Column(study.metric.label),
        Column("over scratch"),
    )
    title = "Pretraining source by task score"
    return Table(title, columns, tuple(rows), NOTES, frozenset(breaks[1:]))


def _rows(study: Study, source: str) -> Iterator[tuple[Cell, ...]]:
    metric, settings = study.metric, study.of_source(source)
    scratch = [s for s in settings if value_of(s.runs[0], PRETRAINING) == SCRATCH]
    for place, setting in enumerate(settings):
        run = setting.runs[0]
        loss = setting.average("init_from/bits_per_byte")
        base = _baseline(setting, scratch)
        gained = None if base is None else _gain(metric, setting, base)
        yield (
            Cell(source),
            Cell(value_of(run, PRETRAINING)),
            Cell(_how(setting)),
            Cell(MISSING if loss is None else f"{loss:.3f}"),
            Cell(
                plus_minus(metric, setting.estimate(metric.key), setting.undefined(metric.key)),
                best=place == 0,
            ),
            Cell(MISSING if gained is None else _signed(metric, gained)),
        )


def _how(setting: Setting) -> str:
    """The values of the other axes, which say what became of the weights."""
    pairs = zip(setting.axes, setting.values, strict=True)
    shown = [
        f"{axis.rpartition('.')[2]} {value}" if "." in axis else value
        for axis, value in pairs
        if axis not in ("data", PRETRAINING) and value != MISSING
    ]
    return " · ".join(shown) or MISSING


def _baseline(setting: Setting, scratch: Sequence[Setting]) -> Setting | None:
    """The setting from scratch to compare with: the only one, or the one with equal choices."""
    if setting in scratch:
        return None
    if len(scratch) == 1:
        return scratch[0]
    own = [axis for axis in setting.axes if not axis.startswith(("transfer.", PRETRAINING))]
    same = [s for s in scratch if all(s[axis] == setting[axis] for axis in own)]
    return same[0] if len(same) == 1 else None


def _gain(metric: Metric, setting: Setting, base: Setting) -> PairedDifference | None:
    first, second = (s.values_by_seed(metric.key) for s in (setting, base))
    if not first.keys() & second.keys():
        return None
    if metric.lower_is_better:
        first, second = second, first
    return paired_difference(first, second)


def _signed(metric: Metric, difference: PairedDifference) -> str:
    return f"{metric.signed(difference.estimate.mean)} ({interval(metric, difference.estimate)})"
