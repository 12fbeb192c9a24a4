"""What goes with which task."""

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from lm_research.config.problems import Problem
from lm_research.config.window_rules import window_problems

CLASSIFICATION = "lm_research.tasks.classification.Classification"
SEQUENCE_TO_SEQUENCE = "lm_research.tasks.sequence_to_sequence.SequenceToSequence"
TAGGING = "lm_research.tasks.tagging.Tagging"
LANGUAGE_MODELING = "lm_research.tasks.language_modeling.LanguageModeling"
OF_DOCUMENTS = (
    "lm_research.models.bag.Bag",
    "lm_research.models.char_cnn.CharCNN",
    "lm_research.models.kim_cnn.KimCNN",
)
TAGGED = "lm_research.data.sources.tagged.Tagged"
UNTAGGED = "lm_research.data.sources."
"""Sources of this prefix but the one above have no tags; a mixture, or one of one's own, may."""
SEQUENCE_MODELS = "lstm, gru, rnn, min_gru, min_lstm, cnn, tcn, transformer, nplm, log_bilinear"
"""The shipped options that read token by token with a state."""
TRANSFORMER = "lm_research.models.transformer.Transformer"
COUNTED = ("lm_research.models.ngram.KneserNey",)
Plain = Mapping[str, Any]


def task_problems(config: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    """Of the shipped tasks and models; those of one's own are looked at when they are built."""
    task, model = config["task"]["_target_"], config["model"]["_target_"]
    name = model.rpartition(".")[2]
    if task == LANGUAGE_MODELING and model in OF_DOCUMENTS:
        message = "reads whole documents, and task=language_modeling predicts every token"
        allowed = f"task=classification, or model={SEQUENCE_MODELS}, ngram"
        yield Problem("model", message, name, allowed, None, file("model"))
    if task == LANGUAGE_MODELING:
        yield from window_problems(config, file)
    if task == SEQUENCE_TO_SEQUENCE:
        yield from _sequence_to_sequence(config, file)
        if model in (*OF_DOCUMENTS, *COUNTED):
            message = "does not read and write token by token with a state, which the task needs"
            allowed = f"model={SEQUENCE_MODELS}"
            yield Problem("model", message, name, allowed, None, file("model"))
    if task == TAGGING:
        yield from _tagging(config, file)
    if task == CLASSIFICATION:
        yield from _classification(config, file)
        if model in COUNTED:
            message = "predicts tokens, and task=classification has none to predict"
            yield Problem(
                "model",
                message,
                name,
                "model=bag, kim_cnn, char_cnn, lstm, ...",
                None,
                file("model"),
            )


def _one_process(config: Plain, name: str, file: Callable[[str], str]) -> Iterator[Problem]:
    trainer = config["trainer"]
    if trainer["devices"] > 1:
        message = f"is for language modelling: task={name} is for one process"
        value = str(trainer["devices"])
        yield Problem("trainer.devices", message, value, "1", None, file("trainer"))
    if trainer["find_batch_size"]:
        message = f"tries out windows of tokens, and task={name} has none"
        yield Problem("trainer.find_batch_size", message, trainer["find_batch_size"], "null")


def _tagging(config: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    yield from _one_process(config, "tagging", file)
    model = config["model"]["_target_"]
    if model in (*OF_DOCUMENTS, *COUNTED):
        message = "says nothing of each word, and task=tagging asks for its tag"
        name, allowed = model.rpartition(".")[2], f"model={SEQUENCE_MODELS}"
        yield Problem("model", message, name, allowed, None, file("model"))
    if config["text"].get("tagger"):
        message = "would be told the tags that task=tagging is to find"
        value = config["text"]["tagger"]["_target_"].rpartition(".")[2]
        yield Problem("text.tagger", message, value, "text=word, bpe, character, byte")
    others = {f"evaluate_on.{name}": node for name, node in (config["evaluate_on"] or {}).items()}
    for field, node in {"data": config["data"], **others}.items():
        target = str(node["_target_"])
        if target.startswith(UNTAGGED) and target != TAGGED:
            message = "has no words with tags, and task=tagging learns them"
            allowed = "ud_english_ewt, ud_chinese_gsdsimp, conll2000, brown"
            yield Problem(field, message, node["name"], allowed, None, file("data"))


def _sequence_to_sequence(config: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    kind = config["task"]["kind"]
    yield from _one_process(config, kind, file)
    package = {"translation": "sacrebleu", "summarization": "rouge_score"}.get(kind)
    if package and find_spec(package) is None:
        message = f"needs {package}, which is not installed"
        yield Problem("task", message, kind, "pip install 'lm-research[applications]'")
    if config["task"]["copy"] and config["task"]["vocabulary"] == "separate":
        message = "takes tokens of the source, which must be tokens of the target, too"
        yield Problem("task.copy", message, "true", "task.vocabulary=shared", None, file("task"))
    width, size = config["vectorizer"].get("dim"), config["model"].get("hidden_size")
    if config["task"].get("tie_weights") and width and size and width != size:
        message = "the output layer's matrix is then that of the vectors, which have another width"
        allowed = f"false; or vectorizer.dim={size}, the model's width"
        yield Problem("task.tie_weights", message, "true", allowed, None, file("task"))
    if config["model"]["_target_"] == TRANSFORMER:
        yield from _attending_in_layers(config, file)
    if config["text"].get("tagger"):
        message = f"knows one language and one kind of text, and task={kind} has two"
        value = config["text"]["tagger"]["_target_"].rpartition(".")[2]
        yield Problem("text.tagger", message, value, "text=bpe, word, character, byte")


def _attending_in_layers(config: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    task, model = config["task"], config["model"]
    if task["attention"] != "multiplicative":
        message = (
            "is for models with one attention behind their last layer; a Transformer has its own"
        )
        yield Problem(
            "task.attention", message, task["attention"], "multiplicative", None, file("task")
        )
    if task["input_feeding"]:
        message = "feeds back the vector of one attention; a Transformer attends in each layer"
        yield Problem("task.input_feeding", message, "true", "null, false", None, file("task"))
    most, context = task["most_source"], model["context"]
    if model["positions"] == "learned" and task["bidirectional"] and (most or 1 << 62) > context:
        message = (
            "is how many learned positions there are, and the encoder reads up to "
            f"task.most_source={'null' if most is None else most} tokens at once"
        )
        allowed = "at least task.most_source; or model.positions=rotary"
        yield Problem("model.context", message, str(context), allowed, None, file("model"))


def _classification(config: Plain, file: Callable[[str], str]) -> Iterator[Problem]:
    yield from _one_process(config, "classification", file)
    if config["task"].get("baseline") and find_spec("sklearn") is None:
        message = "needs scikit-learn, which is not installed"
        fix = "pip install 'lm-research[baselines]'; or task.baseline=false"
        yield Problem("task.baseline", message, "true", fix)
