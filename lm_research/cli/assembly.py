"""Put a run together: from a plain configuration to text, vectorizer, model and task."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lm_research.cli.documents import (
    documents_module,
    is_labelled,
    labels_of_task,
    require_fitting_model,
)
from lm_research.cli.pairs import build_pairs_model, pairs_module, pairs_of_task
from lm_research.cli.preparing import preparing
from lm_research.cli.tagging import is_tagged, tagging_module
from lm_research.cli.transfer import Start, begin, start_of, told
from lm_research.config.build import build, locate
from lm_research.config.output_rules import FULL
from lm_research.data.document import DataError
from lm_research.data.labels import classes_of, labelled_split
from lm_research.data.mixture_streams import MixtureStreams, prepare_streams, sampling_rule
from lm_research.data.module import TextDataModule
from lm_research.data.preparation import PreparedText, prepare, training_documents
from lm_research.data.random_lengths import RandomLengthBatches
from lm_research.data.selection import PATIENCE_S
from lm_research.metrics.flops import flops_per_token, parameter_count, spared_flops
from lm_research.models.document_models import VectorModel
from lm_research.models.sequence_model import CountModel
from lm_research.tasks.classification import Classification
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.fused_step import fused_where_faster
from lm_research.tasks.models import RunModel
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.tasks.tagging import Tagging
from lm_research.text.tags import TagLexicon
from lm_research.text.tokenizer import Tokenizer
from lm_research.vectorizers.tagged import TaggedVectorizer
from lm_research.vectorizers.vectorizer import Vectorizer

_log = logging.getLogger(__name__)
Config = dict[str, Any]


@dataclass(frozen=True)
class Assembly:
    """Everything that a run needs; ``model`` is a LightningModule or a counted model."""

    data: TextDataModule
    model: RunModel
    steps: int
    started: Config = field(default_factory=dict)
    """what its first weights come from, for the summary"""


def steps_of(config: Config) -> int:
    """Batches that the budget's tokens make; ``debug.max_steps`` may cut them."""
    budget, debug = config["budget"], config.get("debug") or {}
    steps = -(-budget["train_tokens"] // (budget["batch_size"] * budget["window"]))
    return min(steps, debug.get("max_steps") or steps)


def prepare_text(
    config: Config,
    data: Config | None = None,
    trained: Config | None = None,
    whole: bool = False,
) -> PreparedText:
    """The token store of the run's own source, or of ``data`` with a ``trained`` tokenizer.

    Args:
        whole: with ``trained``, too, the training split.
    """
    node = data or config["data"]
    with preparing(node["name"]) as tell:
        return prepare(
            node,
            config["text"],
            config["splits"],
            config["budget"],
            config["cache"],
            trained,
            config.get("source_timeout", PATIENCE_S),  # a run of before there was one
            config.get("prepare_workers"),
            tell,
            labels_of_task(config),
            pairs_of_task(config),
            is_tagged(config),
            whole,
        )


def assemble(config: Config, own: Path | None = None) -> Assembly:
    """Prepare the text, then seed, build, and fit what is fitted on the training split.

    Args:
        own: the run's folder, from which one that began with ``init_from`` goes on.
    """
    require_fitting_model(config)
    start = start_of(config, own)
    prepared, streams = _prepare(config, start)
    data, steps = _data(config, prepared, streams)
    _ = data.contaminated_validation  # found, and cached, before training rather than during it
    pl.seed_everything(config["seed"], verbose=False)
    targets = prepared.target_tokenizer
    model = build_model(
        config, prepared.tokenizer, prepared.lexicon, steps, prepared, target_tokenizer=targets
    )
    begin(config, model, start)
    return Assembly(data, model, steps, told(config, start))


def _data(
    config: Config, prepared: PreparedText, streams: MixtureStreams | None
) -> tuple[TextDataModule, int]:
    """The data module of the run's task, and its steps."""
    if is_labelled(config):
        return documents_module(config, prepared)
    if pairs_of_task(config):
        return pairs_module(config, prepared)
    if is_tagged(config):
        return tagging_module(config, prepared)
    steps = _steps_on(config, prepared)
    budget, debug = config["budget"], config.get("debug") or {}
    data = TextDataModule(
        prepared,
        budget["batch_size"],
        budget["window"],
        steps,
        config["seed"],
        overfit=debug.get("overfit_batches", 0),
        streams=streams,
        windows=config["task"].get("windows", "consecutive"),
        window_lengths=config["task"].get("window_lengths", "fixed"),
        overlap=config["task"].get("unscored", 0),
    )
    return data, steps


def _steps_on(config: Config, prepared: PreparedText) -> int:
    """As :func:`steps_of`; of windows of random length the text's own say how many there are."""
    if config["task"].get("window_lengths", "fixed") == "fixed":
        return steps_of(config)
    budget, debug = config["budget"], config.get("debug") or {}
    size = budget["batch_size"], budget["window"]
    batches = RandomLengthBatches(prepared.store.split("train"), *size, 1, config["seed"])
    steps = batches.steps_for(budget["train_tokens"])
    return min(steps, debug.get("max_steps") or steps)


def _prepare(config: Config, start: Start | None) -> tuple[PreparedText, MixtureStreams | None]:
    """The text, and the sources' streams of a mixture that is sampled while training."""
    rule = sampling_rule(config["data"])
    whole = is_labelled(config) or is_tagged(config) or pairs_of_task(config)
    if rule is not None and whole:
        raise DataError(
            "data: temperature, epochs and schedule sample windows of a stream, and this "
            "task reads whole documents\n  fix: data.temperature=null "
            "data.epochs=null data.schedule=null"
        )
    if rule is not None and issubclass(locate(config["model"]["_target_"]), CountModel):
        raise DataError(
            "data: temperature, epochs and schedule are about training time, and a counted model "
            "has none\n  fix: data.temperature=null data.epochs=null data.schedule=null"
        )
    for name, fix in (("windows", "consecutive"), ("window_lengths", "fixed")):
        value = config["task"].get(name, fix)
        if rule is not None and value != fix:
            raise DataError(
                f"task.{name}={value} is for one stream, and data: temperature, epochs and "
                f"schedule make one of each source\n  fix: task.{name}={fix}; or "
                "data.temperature=null data.epochs=null data.schedule=null, which mixes the text "
                "once"
            )
    if rule is not None and config["task"].get("unscored"):
        raise DataError(
            f"task.unscored={config['task']['unscored']} lets windows of one stream overlap, and "
            "data: temperature, epochs and schedule make one of each source\n  fix: "
            "task.unscored=0; or data.temperature=null data.epochs=null data.schedule=null"
        )
    known = None if start is None else start.vocabulary
    prepared = prepare_text(config, trained=known, whole=known is not None)
    if rule is None:
        return prepared, None
    patience_s = config.get("source_timeout", PATIENCE_S)
    return prepared, prepare_streams(rule, config, prepared, patience_s)


def build_model(
    config: Config,
    tokenizer: Tokenizer,
    lexicon: TagLexicon | None,
    steps: int = 1,
    fit_on: PreparedText | None = None,
    classes: Sequence[str] | None = None,
    target_tokenizer: Tokenizer | None = None,
) -> RunModel:
    """The task around vectorizer and model. Without ``fit_on`` a checkpoint must fill it.

    Args:
        classes: of a classifier or tagger that is loaded; one that is trained has those of
            ``fit_on``.
        target_tokenizer: of targets with a vocabulary of their own.
    """
    updates = -(-steps // config["trainer"]["accumulate"])
    scaled = config["trainer"].get("precision") == "16-mixed"
    optimizer = partial(_optimizer, config["optimizer"], scaled)
    scheduler = build(config["scheduler"], steps=updates)
    if pairs_of_task(config):
        how = optimizer, scheduler, updates, _fit
        return build_pairs_model(config, tokenizer, target_tokenizer, *how, fit_on)
    size = tokenizer.vocabulary_size
    vectorizer = build(config["vectorizer"], vocabulary_size=size)
    inner = build(config["model"], input_size=_width(vectorizer, lexicon), vocabulary_size=size)
    if isinstance(inner, CountModel):
        return CountedLanguageModel(inner, size)
    if fit_on is not None and config.get("init_from") is None:  # else what was fitted is loaded
        fit_vectorizer(vectorizer, tokenizer, fit_on)
    if fit_on is not None and (is_labelled(config) or is_tagged(config)):
        classes = classes_of(fit_on.store)
    return build(
        config["task"],
        vectorizer=_with_tags(vectorizer, lexicon),
        model=inner,
        make_model=lambda width: build(config["model"], input_size=width, vocabulary_size=size),
        optimizer=optimizer,
        scheduler=scheduler,
        classes=classes,
        **_class_counts(config, fit_on),
        output_layer=lambda spec: build(_output_layer(config), spec=spec),
        token_counts=_token_counts(config, fit_on),
    )


def _class_counts(config: Config, fit_on: PreparedText | None) -> Config:
    """Training documents, and those of each class, of a classifier that is trained."""
    if fit_on is None or not is_labelled(config):
        return {}
    split = labelled_split(fit_on.store, "train", classes_of(fit_on.store))
    return {"class_counts": split.counts(), "documents": len(split)}


def _output_layer(config: Config) -> Config:
    """The node; of a run from before there was a choice, the full softmax."""
    return config.get("output_layer") or {"_target_": FULL}


def _token_counts(config: Config, fit_on: PreparedText | None) -> Tensor | None:
    """How often each id occurs in the training split, where the output layer asks for it."""
    kind = locate(_output_layer(config)["_target_"])
    if fit_on is None or not getattr(kind, "needs_counts", False):
        return None
    return torch.from_numpy(fit_on.store.split("train").counts(fit_on.tokenizer.vocabulary_size))


TAG_WIDTH = 8
"""Dimensions that a part-of-speech tag adds to the vectors."""


def _width(vectorizer: Vectorizer, lexicon: TagLexicon | None) -> int:
    return vectorizer.dim + (TAG_WIDTH if lexicon else 0)


def _with_tags(vectorizer: Vectorizer, lexicon: TagLexicon | None) -> Vectorizer:
    if lexicon is None:
        return vectorizer
    return TaggedVectorizer(vectorizer, lexicon.tag_of_token, len(lexicon.tags), TAG_WIDTH)


def _optimizer(node: Config, scaled: bool, params: Iterable[Any]) -> Any:
    params = list(params)
    more = fused_where_faster(locate(node["_target_"]), node, params, scaled)
    return build(node, params=params, **more)


def fit_vectorizer(vectorizer: Vectorizer, tokenizer: Tokenizer, prepared: PreparedText) -> None:
    """Document frequencies, co-occurrences or pre-trained vectors, from the training split."""
    _fit(vectorizer, tokenizer, training_documents(prepared))


def _fit(vectorizer: Vectorizer, tokenizer: Tokenizer, documents: Iterable[np.ndarray]) -> None:
    load = getattr(vectorizer, "load_vectors", None)
    if load is not None and getattr(vectorizer, "path", None) is not None:
        load([tokenizer.decode([i]) for i in range(tokenizer.vocabulary_size)])
    elif vectorizer.needs_fit:
        vectorizer.fit(documents)
    report = vectorizer.report()
    if report:
        facts = ", ".join(f"{name} {value}" for name, value in report.items())
        _log.info("%s: %s", type(vectorizer).__name__, facts)


def size_summary(model: RunModel, tokens: int) -> dict[str, float | None]:
    """Parameters and FLOPs, named as in the summary.

    Args:
        tokens: of the whole training. A token's backward pass costs twice its forward pass.
    """
    if isinstance(model, CountedLanguageModel):
        size = model.model.parameter_count()
        return {"model/parameters": size, "model/flops_per_token": None, "train/flops": None}
    # The work of the one is by document; the others' decoder and attention are not counted yet.
    if isinstance(model.model, VectorModel) or isinstance(model, SequenceToSequence):
        size = parameter_count(model)
        return {"model/parameters": size, "model/flops_per_token": None, "train/flops": None}
    # The head's work is little: one output a document, or a word.
    once = isinstance(model, Classification | Tagging)
    flops = flops_per_token(model.vectorizer, model.model, nn.Identity() if once else model.head)
    flops *= 2 if getattr(model, "backward_model", None) is not None else 1
    trained = flops - (0 if once else spared_flops(model.head))
    return {
        "model/parameters": parameter_count(model),
        "model/flops_per_token": flops,
        "train/flops": 3.0 * trained * tokens,
    }
