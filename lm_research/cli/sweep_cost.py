"""What a job costs, from its configuration alone: nothing is downloaded, fitted or trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Cost:
    """Tokens to train on, parameters, and floating-point operations of the training.

    ``parameters`` and ``flops`` are ``None`` for a model that counts instead of multiplying.
    Vocabularies that are learned count at their allowed size: what is found may be smaller.
    """

    tokens: int
    parameters: int | None
    flops: float | None


def cost(config: Mapping[str, Any]) -> Cost:
    """Build the model of ``config`` and count."""
    from lm_research.cli.assembly import build_model, size_summary, steps_of
    from lm_research.cli.documents import is_labelled
    from lm_research.cli.pairs import pairs_of_task
    from lm_research.cli.tagging import is_tagged

    budget = config["budget"]
    tokens = steps_of(dict(config)) * budget["batch_size"] * budget["window"]
    classes = None
    if pairs_of_task(dict(config)):  # at most: a token has one byte or more
        tokens = 2 * config["task"]["epochs"] * budget["train_bytes"]
        return Cost(tokens, None, None)
    if is_labelled(dict(config)) or is_tagged(dict(config)):  # at most, too; the head is small
        tokens, classes = config["task"]["epochs"] * budget["train_bytes"], ["a", "b"]
    tokenizer: Any = SimpleNamespace(vocabulary_size=_vocabulary(config["text"]["tokenizer"]))
    sizes = size_summary(build_model(dict(config), tokenizer, None, classes=classes), tokens)
    if sizes["train/flops"] is None:
        return Cost(tokens, None, None)
    return Cost(tokens, int(sizes["model/parameters"] or 0), sizes["train/flops"])


BYTES = 257
"""A byte tokenizer's vocabulary: 256 and the separator of documents."""


def _vocabulary(tokenizer: Mapping[str, Any]) -> int:
    return int(tokenizer.get("vocabulary_size") or BYTES)
