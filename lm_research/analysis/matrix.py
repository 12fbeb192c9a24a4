"""The training source x evaluation source matrix."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lm_research.analysis.blocks import Block, Cells, complete_block, seed_means
from lm_research.analysis.documents import document_interval
from lm_research.analysis.metric import Metric
from lm_research.analysis.questions import evaluation_sources, key_on, on_source
from lm_research.analysis.runs import Run
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import Estimate, t_interval


@dataclass(frozen=True)
class Matrix:
    """Training source (rows) by evaluation source (columns).

    ``cells`` holds the mean over the other axes with its interval over seeds, ``documents`` the
    same mean with its interval over documents, where the runs kept them. ``own`` says that the
    diagonal was not recorded and is filled with the training source's own validation split.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Estimate]
    blocks: Mapping[str, int]  # by column: settings averaged in each cell
    possible: int
    own: bool = False
    documents: Mapping[tuple[str, str], Estimate] = field(default_factory=dict)


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
    documents: dict[tuple[str, str], Estimate] = {}
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
            scored = _scored(settings, row, column, metric, set(blocks), set(seeds))
            if (over := document_interval(scored)) is not None:
                documents[row, column] = over
    possible = len({setting.others("data") for setting in settings})
    own = any(
        name in s.source_names and all(metric.on(name) not in run.summary for run in s.runs)
        for s in settings
        for name in columns
    )
    return Matrix(rows, columns, cells, used, possible, own, documents)


def _scored(
    settings: Sequence[Setting],
    row: str,
    column: str,
    metric: Metric,
    blocks: set[Block],
    seeds: set[int],
) -> Iterator[tuple[Run, str]]:
    """The runs that a cell averages, each with its evaluation; none for other quantities."""
    if not metric.key.endswith("/bits_per_byte"):
        return
    for setting in settings:
        if setting.source == row and setting.others("data") in blocks:
            group = key_on(setting, column, metric).rpartition("/")[0]
            yield from ((run, group) for run in setting.runs if run.seed in seeds)
