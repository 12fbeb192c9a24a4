"""Baselines that a run computes beside its own scores, next to the best setting of the source."""

from functools import cache
from statistics import mean

from lm_research.analysis.metric import MISSING, Metric
from lm_research.analysis.study import Study, once
from lm_research.analysis.tables.table import Cell, Column, Table, plus_minus

PREFIX, SPLITS = "baseline/", {"val": "validation", "test": "test"}
NOTE = "Baselines are computed by each run on its own text; the mean of the runs is shown."


@once
def baseline_tables(study: Study) -> list[Table]:
    """One for each source whose runs have baselines: they and the best setting, by metric."""
    found = (_table(study, source) for source in study.sources)
    return [table for table in found if table is not None]


@cache
def _of_baseline(key: str) -> tuple[str, str] | None:
    """ "baseline/tfidf_svm/test_accuracy" -> ("tfidf_svm", "test/accuracy"), if it is one."""
    name, _, score = key.removeprefix(PREFIX).rpartition("/")
    split, _, plain = score.partition("_")
    known = key.startswith(PREFIX) and split in SPLITS and Metric.has_direction(plain)
    return (name, f"{split}/{plain}") if known else None


def _table(study: Study, source: str) -> Table | None:
    settings = study.of_source(source)
    scores: dict[str, dict[str, list[float]]] = {}
    for run in (run for setting in settings for run in setting.runs):
        for key, value in run.summary.items():
            if value is not None and (found := _of_baseline(key)):
                name, metric = found
                scores.setdefault(name, {}).setdefault(metric, []).append(value)
    keys = list(dict.fromkeys(key for row in scores.values() for key in row))
    if not keys:
        return None
    metrics = [Metric.named(key) for key in keys]
    heads = [f"{m.label}, {SPLITS[m.key.partition('/')[0]]}" for m in metrics]
    columns = (Column("", numeric=False), *map(Column, heads))
    first = [Cell(plus_minus(m, settings[0].estimate(m.key))) for m in metrics]
    rows = [(Cell(f"best setting: {settings[0].label}"), *first)]
    for name, row in scores.items():
        cells = (m.text(mean(row[m.key])) if m.key in row else MISSING for m in metrics)
        rows.append((Cell(name.replace("_", " ")), *map(Cell, cells)))
    return Table(f"{source}: beside its baselines", columns, tuple(rows), (NOTE,))
