"""Of classifiers: the held-out documents about which a model is most sure, and wrong."""

from collections.abc import Mapping
from typing import Any

from lm_research.analysis.runs import Run, load_rows
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table

SHOWN = 20
SPLIT = "validation"
NOTES = (
    "Of the validation documents that the source's best setting gets wrong (its first seed) those "
    "of which it is most sure. certainty: of the wrong class, or, of a class that is missing, that "
    "it is not there. predictions.jsonl in the run's folder has every document.",
)
Mistake = tuple[float, str, str, str]
"""Certainty, the true labels, what was predicted, how the text begins."""


def mistake_tables(study: Study) -> list[Table]:
    """One table for each source whose runs classify documents; none where no run does."""
    return [table for source in study.sources if (table := _table(study, source))]


def _table(study: Study, source: str) -> Table | None:
    for setting in study.of_source(source):
        if found := _mistakes(setting.runs[0]):
            found.sort(key=lambda one: -one[0])
            heads = (("text", True), ("true", False), ("predicted", False))
            columns = (*(Column(h, numeric=False, wide=w) for h, w in heads), Column("certainty"))
            rows = [
                tuple(map(Cell, (text, true or "none", predicted or "none", f"{certainty:.3f}")))
                for certainty, true, predicted, text in found[:SHOWN]
            ]
            title = f"{source}: mistakes of {setting.label}, the most certain first"
            return Table(title, columns, tuple(rows), NOTES)
    return None


def _mistakes(run: Run) -> list[Mistake]:
    """Those of one run; none where it classifies no documents, or has recorded none."""
    if "val/f1_macro" not in run.summary:
        return []
    rows = [row for row in load_rows(run.folder / "predictions.jsonl") if row.get("split") == SPLIT]
    return [found for row in rows if (found := _mistake(row)) is not None]


def _mistake(row: Mapping[str, Any]) -> Mistake | None:
    """None if the document is right, or its row is damaged or of another task."""
    try:
        text = " ".join(str(row["text"]).split())
        if "labels" in row:
            return _of_several(row, text)
        label, predicted = str(row["label"]), str(row["predicted"])
        return (float(row["probability"]), label, predicted, text) if label != predicted else None
    except (KeyError, TypeError, ValueError):
        return None


def _of_several(row: Mapping[str, Any], text: str) -> Mistake | None:
    labels, predicted = ([str(name) for name in row[key]] for key in ("labels", "predicted"))
    p = {str(name): float(value) for name, value in row["probabilities"].items()}
    wrong = [p[name] for name in predicted if name not in labels]
    wrong += [1 - p[name] for name in labels if name not in predicted]
    return (max(wrong), ", ".join(labels), ", ".join(predicted), text) if wrong else None
