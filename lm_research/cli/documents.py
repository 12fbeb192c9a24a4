"""What a run about labelled documents (task=classification) has beside any other run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm_research.cli.pairs import pairs_of_task
from lm_research.cli.tagging import is_tagged
from lm_research.config.build import locate
from lm_research.data.document import DataError
from lm_research.data.document_batches import batches_in
from lm_research.data.document_module import DocumentDataModule
from lm_research.data.labels import LabelledSplit, classes_of
from lm_research.data.preparation import PreparedText
from lm_research.metrics.baselines import baseline_scores
from lm_research.metrics.classification import confusion, per_class
from lm_research.models.document_models import DocumentModel, VectorModel
from lm_research.models.sequence_model import CountModel
from lm_research.tasks.classification import Classification
from lm_research.tasks.classifying import ClassifierEvaluation, evaluate_classifier
from lm_research.tasks.evaluation import Evaluation, evaluating
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.json_files import write_json, write_text

Config = dict[str, Any]
SHOWN = 160
"""Characters of a document beside its prediction."""


def is_labelled(config: Config) -> bool:
    """Whether the run's task is about labels of documents."""
    return bool(getattr(locate(config["task"]["_target_"]), "labelled", False))


def require_fitting_model(config: Config) -> None:
    """Before any work: refuse a model that does not go with the task.

    Raises:
        DataError: with the models that do.
    """
    model = locate(config["model"]["_target_"])
    unfit: tuple[type, ...] = (VectorModel, DocumentModel)
    task, others = "language_modeling", "lstm, transformer, ngram"
    if is_labelled(config):
        unfit, task, others = (CountModel,), "classification", "bag, kim_cnn, lstm"
    elif pairs_of_task(config):
        unfit = (CountModel, *unfit)
        task, others = config["task"]["kind"], "gru, lstm, transformer"
    elif is_tagged(config):
        unfit, task, others = (CountModel, *unfit), "tagging", "gru, lstm, transformer"
    if issubclass(model, unfit):
        raise DataError(
            f"model: {model.__name__} does not go with task={task}\n  fix: model={others}, ..., or "
            "another task"
        )


def documents_module(config: Config, prepared: PreparedText) -> tuple[DocumentDataModule, int]:
    """The data of a run about labelled documents, and its steps."""
    budget, debug = config["budget"], config.get("debug") or {}
    split = LabelledSplit(prepared.store, "train", classes_of(prepared.store))
    steps = int(config["task"]["epochs"]) * batches_in(len(split), budget["batch_size"])
    steps = min(steps, debug.get("max_steps") or steps)
    data = DocumentDataModule(
        prepared,
        budget["batch_size"],
        steps,
        config["seed"],
        config["task"]["max_tokens"],
        overfit=debug.get("overfit_batches", 0),
    )
    return data, steps


def take_best(model: torch.nn.Module, checkpoints: Path) -> None:
    """Give ``model`` the weights of the checkpoint that is best on the validation split."""
    store = CheckpointStore(checkpoints)
    if store.entries():
        saved = torch.load(store.path("best"), map_location="cpu", weights_only=True)
        model.load_state_dict(saved["state_dict"])


def held_out_scores(model: Classification, data: DocumentDataModule) -> dict[str, Evaluation]:
    """Of the validation split, and of the test split if it has documents."""
    found: dict[str, Evaluation] = {}
    with evaluating(model):
        found["val"] = evaluate_classifier(model, data.labelled("validation"))
        if len(data.labelled("test")):
            found["test"] = evaluate_classifier(model, data.labelled("test"))
    return found


def baselines(config: Config, data: DocumentDataModule) -> dict[str, float]:
    """Scores of scikit-learn's models, named ``baseline/MODEL/score``, if the run asks for them."""
    if not config["task"].get("baseline"):
        return {}
    held = {"val": data.labelled("validation"), "test": data.labelled("test")}
    return baseline_scores(data.labelled("train"), held, config["seed"])


def keep_predictions(
    folder: Path, results: dict[str, Evaluation], data: DocumentDataModule
) -> None:
    """predictions.jsonl, a row a held-out document, and classes.json: who is taken for whom."""
    lines: list[dict[str, Any]] = []
    tables: dict[str, Any] = {}
    tokenizer = data.prepared.tokenizer
    for group, name in (("val", "validation"), ("test", "test")):
        result = results.get(group)
        if not isinstance(result, ClassifierEvaluation):
            continue
        split = data.labelled(name)  # type: ignore[arg-type]
        for index, document_id in enumerate(split.ids()):
            text = tokenizer.decode(split.document(index)[:SHOWN].tolist())[:SHOWN]
            lines.append(
                {
                    "split": name,
                    "id": document_id,
                    **_row(result, index, data.classes),
                    "text": text,
                }
            )
        tables[name] = class_table(result, data.classes)
    rows = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(folder / "predictions.jsonl", rows)
    write_json(folder / "classes.json", {"classes": data.classes, **tables})


def _row(result: ClassifierEvaluation, index: int, classes: list[str]) -> dict[str, Any]:
    predicted = int(result.predicted_D[index])
    return {
        "label": classes[int(result.labels_D[index])],
        "predicted": classes[predicted],
        "probability": float(np.exp(result.log_p_DC[index, predicted])),
    }


def class_table(result: ClassifierEvaluation, classes: list[str]) -> dict[str, Any]:
    """The confusion matrix, and precision, recall, F1 and support by class, as JSON values."""
    cells = confusion(result.labels_D, result.predicted_D, len(classes))
    of_class = {name: values_C.tolist() for name, values_C in per_class(cells).items()}
    return {"confusion": cells.tolist(), **of_class}
