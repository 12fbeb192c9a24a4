"""What a run about labelled documents (task=classification) has beside any other run."""

from pathlib import Path
from typing import Any

import torch

from lm_research.cli.pairs import pairs_of_task
from lm_research.cli.tagging import is_tagged
from lm_research.config.build import locate
from lm_research.data.document import DataError
from lm_research.data.document_batches import batches_in
from lm_research.data.document_module import DocumentDataModule
from lm_research.data.labels import classes_of, labelled_split
from lm_research.data.preparation import PreparedText
from lm_research.data.selection import Labelled
from lm_research.metrics.baselines import baseline_scores
from lm_research.models.document_models import DocumentModel, VectorModel
from lm_research.models.sequence_model import CountModel
from lm_research.tasks.classification import Classification
from lm_research.tasks.classifying import evaluate_classifier
from lm_research.tasks.evaluation import Evaluation, evaluating
from lm_research.tracking.checkpoint_store import CheckpointStore

Config = dict[str, Any]


def is_labelled(config: Config) -> bool:
    """Whether the run's task is about labels of documents."""
    return bool(getattr(locate(config["task"]["_target_"]), "labelled", False))


def labels_of_task(config: Config) -> Labelled:
    """How many labels of a document the run's task learns."""
    if not is_labelled(config):
        return "no"
    return "several" if config["task"].get("labels") == "several" else "one"


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
    split = labelled_split(prepared.store, "train", classes_of(prepared.store))
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
