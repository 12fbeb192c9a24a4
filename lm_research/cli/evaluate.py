"""``lm-research evaluate run=FOLDER [data=OPTION]``: score a finished run on a source."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lm_research.cli.options import help_text, option, parse, split_config_dir
from lm_research.cli.protocols import protocol_node, reading, require_language_model
from lm_research.cli.tell import safe, tell
from lm_research.config.types import PositiveInt
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import append_text

SUMMARY = (
    "Score a finished run on held-out documents: of its own source, or of another one\n"
    "(data=OPTION, with fields such as data.paths=[...]; --config-dir DIR: options of your own).\n"
    "protocol=OPTION, with fields such as protocol.rate=0.1: a language model goes on learning\n"
    "from what it was scored on (dynamic_sgd, dynamic_rms), or has a cache of it (neural_cache)."
)


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    run: str = option(help="folder of a finished run")
    split: Literal["validation", "test"] = option("validation", "which held-out documents")
    checkpoint: Literal["last", "best"] = option("last", "which weights")
    window: PositiveInt = option(
        1024,
        "tokens per step: a matter of memory, not of the scores (task.eval_stride: the run's)",
    )
    eval_bytes: PositiveInt | None = option(None, "cap on the split; null: the run's own")


def run(arguments: list[str]) -> int:
    """Print the scores, and append them to evaluations.jsonl in the run's folder."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("evaluate", Options, SUMMARY))
        return 0
    config_dir, rest = split_config_dir(arguments)
    options, overrides = parse(Options, rest, others=("data", "protocol"))
    node, protocol = _data_node(overrides, config_dir), protocol_node(overrides, config_dir)
    from lm_research.cli.allocator import keep_freed_memory
    from lm_research.cli.job import quiet

    quiet()
    keep_freed_memory()
    scores = score(options, node, protocol)
    _show(options, scores)
    keep(options, scores)
    return 0


def _data_node(overrides: list[str], config_dir: str | None) -> dict[str, Any] | None:
    own = [text for text in overrides if text.lstrip("+~").startswith("data")]
    if not own:
        return None
    from lm_research.config.compose import compose

    return compose(own, config_dir).config["data"]


def score(
    options: Options, node: dict[str, Any] | None, protocol: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Evaluate; returns the source's name, the split, its text's digest and the scores.

    Args:
        node: of another source than the run's own.
        protocol: how its language model reads (:mod:`lm_research.tasks.protocols`).
    """
    from lm_research.cli.assembly import prepare_text
    from lm_research.cli.saved import load
    from lm_research.data.contamination import contaminated
    from lm_research.data.module import UNSPACED
    from lm_research.tasks.classification import Classification
    from lm_research.tasks.evaluation import evaluate, reading_of
    from lm_research.tasks.sequence_to_sequence import SequenceToSequence
    from lm_research.tasks.tagging import Tagging

    saved = load(options.run, options.checkpoint)
    require_language_model(protocol, saved.config)
    config = dict(saved.config)
    if options.eval_bytes:
        config["budget"] = {**config["budget"], "eval_bytes": options.eval_bytes}
    if isinstance(saved.model, Classification):
        return _score_documents(options, config, node, saved)
    if isinstance(saved.model, SequenceToSequence):
        return _score_pairs(options, config, node, saved)
    if isinstance(saved.model, Tagging):
        return _score_words(options, config, node, saved)
    trained = {"tokenizer": saved.tokenizer.state_dict()}
    store = prepare_text(config, node, trained).store
    words = store.meta["language"] not in UNSPACED
    held, trained_on = store.split(options.split), _trained_on(saved.config)
    shared = None if trained_on is None else contaminated(held, trained_on)
    reader = reading(protocol, saved)
    how = reading_of(reader, options.window)
    result = evaluate(reader, held, words=words, contaminated=shared, **how)
    told = {} if protocol is None else {"protocol": protocol}
    return {**_what(options, store), **told, **result.scores}


def _what(options: Options, store: Any) -> dict[str, Any]:
    return {
        "data": store.meta["source"],
        "split": options.split,
        "checkpoint": options.checkpoint,
        "text_sha256": store.meta["splits"][options.split]["text_sha256"],
    }


def _score_documents(
    options: Options, config: dict[str, Any], node: dict[str, Any] | None, saved: Any
) -> dict[str, Any]:
    """A classifier's scores, on the documents whose labels are among its classes."""
    from lm_research.cli.assembly import prepare_text
    from lm_research.data.labels import labelled_split
    from lm_research.tasks.classifying import evaluate_classifier

    store = prepare_text(config, node, {"tokenizer": saved.tokenizer.state_dict()}).store
    held = labelled_split(store, options.split, saved.model.classes)
    return {**_what(options, store), **evaluate_classifier(saved.model, held).scores}


def _score_pairs(
    options: Options, config: dict[str, Any], node: dict[str, Any] | None, saved: Any
) -> dict[str, Any]:
    """Scores of a model that writes, on the documents that have a target."""
    from lm_research.cli.assembly import prepare_text
    from lm_research.cli.pairs import score_pairs
    from lm_research.data.pairs import PairedSplit

    trained, targets = {"tokenizer": saved.tokenizer.state_dict()}, saved.target_tokenizer
    if targets is not None:
        trained["target_tokenizer"] = targets.state_dict()
    store = prepare_text(config, node, trained).store
    held = PairedSplit(store, options.split)
    result, signatures, _ = score_pairs(saved.model, held, targets or saved.tokenizer)
    return {**_what(options, store), **result.scores, "signatures": signatures}


def _score_words(
    options: Options, config: dict[str, Any], node: dict[str, Any] | None, saved: Any
) -> dict[str, Any]:
    """A tagger's scores, on the words whose tags are among its classes."""
    from lm_research.cli.assembly import prepare_text
    from lm_research.cli.tagging import score_tags
    from lm_research.data.tagged_words import TaggedSplit

    store = prepare_text(config, node, {"tokenizer": saved.tokenizer.state_dict()}).store
    held = TaggedSplit(store, options.split, saved.model.classes)
    return {**_what(options, store), **score_tags(saved.model, held, options.run)}


def _trained_on(config: dict[str, Any]) -> Any:
    """The token store of the run's training text, if this machine's cache has it; else None."""
    from lm_research.data.document import DataError
    from lm_research.data.preparation import cached

    if config.get("init_from") is not None:
        return None  # its text is in the tokens of another run
    try:
        groups = (config[name] for name in ("data", "text", "splits", "budget", "cache"))
        return cached(*groups)
    except (DataError, ImportError, OSError, ValueError):  # the source itself is not here
        return None


def _show(options: Options, scores: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    protocol = scores.get("protocol")
    by = f", {protocol['_target_'].rpartition('.')[2]}" if protocol else ""
    title = f"{options.run} on {scores['data']} ({options.split}){by}"
    table = Table(title=Text(safe(title), style="italic"), title_justify="left")
    table.add_column("score")
    table.add_column("value", justify="right")
    for name, value in scores.items():
        if isinstance(value, int | float) or value is None:
            table.add_row(Text(safe(name)), _shown(value))
    Console().print(table)


def _shown(value: float | None) -> str:
    if value is None:
        return "undefined"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.3e}"


def keep(options: Options, scores: dict[str, Any]) -> None:
    """Append the scores to evaluations.jsonl in the run's folder."""
    file = Path(options.run).expanduser() / "evaluations.jsonl"
    try:
        append_text(file, json.dumps(scores) + "\n")
    except RunFolderError as error:
        tell(f"not recorded: {error}")
