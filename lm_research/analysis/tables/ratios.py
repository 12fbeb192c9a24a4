"""How many times as much: the metric of an axis's options over that of one of them."""

import math
from collections.abc import Iterator

from lm_research.analysis.metric import MISSING, fixed
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import Estimate, t_interval
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table

NOTE = (
    "Times: exp of the mean over seeds of log(metric / metric of the other), runs paired by seed "
    "and all other choices; the interval is exp of the 95 % t-interval of that mean, not corrected."
)


def ratios_table(study: Study, axis: str, base: str) -> Table:
    """Each setting over the one that differs from it in ``axis`` alone, where that is ``base``."""
    others = [name for name in study.axes if name != axis]
    columns = (
        *(Column(name, numeric=False) for name in others),
        Column(axis, numeric=False), Column(f"times {base}"), Column("95 % interval"), Column("n"),
    )  # fmt: skip
    bases = {s.others(axis): s for s in study.settings if s[axis] == base}
    pairs = [(s, bases.get(s.others(axis))) for s in study.settings if s[axis] != base]
    rows = tuple(
        (
            *map(Cell, setting.others(axis)),
            Cell(setting[axis]),
            *_cells(ratio(setting, other, study)),
        )
        for setting, other in pairs
        if other is not None
    )
    return Table(f"{study.metric.label.capitalize()} over {axis}={base}", columns, rows, (NOTE,))


def ratio_sentences(study: Study, axis: str, base: str) -> Iterator[str]:
    """One for each option of ``axis``: how many times ``base`` it is, at each other choice."""
    bases = {s.others(axis): s for s in study.settings if s[axis] == base}
    options = dict.fromkeys(s[axis] for s in study.settings if s[axis] != base)
    for option in options:
        mine = [s for s in study.settings if s[axis] == option and s.others(axis) in bases]
        found = [(s, ratio(s, bases[s.others(axis)], study)) for s in mine]
        times = [
            f"{fixed(times.mean, 2)} times{_within(times)} with {' · '.join(s.others(axis))}"
            for s, times in found
            if times is not None
        ]
        if times:
            yield f"`{option}` reaches `{base}`'s {study.metric.label} {', '.join(times)}."


def _within(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" ({fixed(found.low, 2)} to {fixed(found.high, 2)})"


def ratio(setting: Setting, base: Setting, study: Study) -> Estimate | None:
    """exp of the mean of log ratios over shared seeds, with its interval; None without any."""
    ours, theirs = (s.values_by_seed(study.metric.key) for s in (setting, base))
    logs = [math.log(ours[seed] / theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    if not logs:
        return None
    found = t_interval(logs)
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return Estimate(math.exp(found.mean), found.n, None, low, high)


def _cells(found: Estimate | None) -> tuple[Cell, Cell, Cell]:
    if found is None:
        return Cell(MISSING), Cell(MISSING), Cell("0", faint=True)
    ends = "one seed" if found.low is None or found.high is None else (
        f"{fixed(found.low, 2)} to {fixed(found.high, 2)}"
    )  # fmt: skip
    return Cell(fixed(found.mean, 2)), Cell(ends), Cell(str(found.n), faint=True)
