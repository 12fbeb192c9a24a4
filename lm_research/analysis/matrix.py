"""The training source x evaluation source matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lm_research.analysis.blocks import Cells, complete_block, seed_means
from lm_research.analysis.metric import Metric
from lm_research.analysis.questions import evaluation_sources, on_source
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import Estimate, t_interval


@dataclass(frozen=True)
class Matrix:
    """Training source (rows) by evaluation source (columns).

    ``cells`` holds the mean over the other axes with its interval over seeds. ``own`` says that
    the diagonal was not recorded and is filled with the training source's own validation split.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Estimate]
    blocks: Mapping[str, int]  # by column: settings averaged in each cell
    possible: int
    own: bool = False


def source_matrix(settings: Sequence[Setting], metric: Metric) -> Matrix | None:
    """The training source x evaluation source matrix, averaged over the other axes.

    A column compares its rows, so each column averages the blocks and seeds that all of its rows
    have. ``None`` if no run was scored on another source.
    """
    columns = evaluation_sources(settings, metric)
    rows = tuple(dict.fromkeys(setting.source for setting in settings))
    if not columns:
        return None
    cells: dict[tuple[str, str], Estimate] = {}
    used: dict[str, int] = {}
    for column in columns:
        values: dict[str, Cells] = {}
        for setting in settings:
            for seed, value in on_source(setting, column, metric).items():
                values.setdefault(setting.source, {})[setting.others("data"), seed] = value
        if not values:
            continue
        blocks, seeds = complete_block(set.intersection(*map(set, values.values())))
        used[column] = len(blocks)
        for row in values if blocks and seeds else ():
            cells[row, column] = t_interval(list(seed_means(values[row], blocks, seeds).values()))
    possible = len({setting.others("data") for setting in settings})
    own = any(
        name in s.source_names and all(metric.on(name) not in run.summary for run in s.runs)
        for s in settings
        for name in columns
    )
    return Matrix(rows, columns, cells, used, possible, own)
