"""What a classifier leaves of its held-out documents: predictions, and tables of the classes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lm_research.cli.class_curves import class_curves
from lm_research.data.document_module import DocumentDataModule
from lm_research.metrics.classification import confusion, per_class
from lm_research.metrics.multilabel import multilabel_per_class
from lm_research.tasks.classifying import ClassifierEvaluation, MultilabelEvaluation
from lm_research.tasks.evaluation import Evaluation
from lm_research.tracking.json_files import write_json, write_text

SHOWN = 160
"""Characters of a document beside its prediction."""
Found = ClassifierEvaluation | MultilabelEvaluation


def keep_predictions(
    folder: Path, results: dict[str, Evaluation], data: DocumentDataModule
) -> None:
    """predictions.jsonl, a row a held-out document; classes.json: what becomes of a class; and
    curves.json, to be drawn."""
    lines: list[dict[str, Any]] = []
    tables: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for group, name in (("val", "validation"), ("test", "test")):
        result = results.get(group)
        if isinstance(result, Found):
            lines += _rows(result, data, name)
            tables[name] = class_table(result, data.classes)
            curves[name] = class_curves(result, data.classes)
    rows = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(folder / "predictions.jsonl", rows)
    write_json(folder / "classes.json", {"classes": data.classes, **tables})
    write_text(folder / "curves.json", json.dumps(curves) + "\n")


def _rows(result: Found, data: DocumentDataModule, name: Any) -> Iterator[dict[str, Any]]:
    split, tokenizer = data.labelled(name), data.prepared.tokenizer
    row = _of_several if isinstance(result, MultilabelEvaluation) else _of_one
    for index, document_id in enumerate(split.ids()):
        text = tokenizer.decode(split.document(index)[:SHOWN].tolist())[:SHOWN]
        said = row(result, index, data.classes)  # type: ignore[arg-type]
        yield {"split": name, "id": document_id, **said, "text": text}


def _of_one(result: ClassifierEvaluation, index: int, classes: list[str]) -> dict[str, Any]:
    predicted = int(result.predicted_D[index])
    return {
        "label": classes[int(result.labels_D[index])],
        "predicted": classes[predicted],
        "probability": float(np.exp(result.log_p_DC[index, predicted])),
    }


def _of_several(result: MultilabelEvaluation, index: int, classes: list[str]) -> dict[str, Any]:
    """Probabilities are those of the classes that are predicted, or should be."""
    from scipy.special import expit

    label_C, logit_C = result.labels_DC[index], result.logits_DC[index]
    named = {name: float(p) for name, p in zip(classes, expit(logit_C), strict=True)}
    labels = [name for name, label in zip(classes, label_C, strict=True) if label]
    predicted = [name for name, logit in zip(classes, logit_C, strict=True) if logit > 0]
    kept = dict.fromkeys([*labels, *predicted])
    return {
        "labels": labels,
        "predicted": predicted,
        "probabilities": {name: named[name] for name in kept},
    }


def class_table(result: Found, classes: list[str]) -> dict[str, Any]:
    """Precision, recall, F1 and counts by class, as JSON values.

    With one label a document, the confusion matrix; with several there is none, but ``hits``.
    """
    if isinstance(result, MultilabelEvaluation):
        found = multilabel_per_class(result.predicted_DC, result.labels_DC)
        shown = {"documents": len(result.labels_DC)}
    else:
        cells = confusion(result.labels_D, result.predicted_D, len(classes))
        found, shown = per_class(cells), {"confusion": cells.tolist()}
    return {**shown, **{name: values_C.tolist() for name, values_C in found.items()}}
