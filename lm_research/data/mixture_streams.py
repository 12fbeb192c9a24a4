"""The training streams of a mixture that is sampled while training: one token store a source.

The mixture's own store, interleaved by its weights, still serves the tokenizer, fitted vectorizers
and the held-out splits, so that two mixtures of the same weights that differ in temperature, caps
or schedule are scored on the same text. Each source's stream is its training documents, at most
``budget.train_bytes`` of them, in the ids of the mixture's tokenizer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lm_research.config.build import build
from lm_research.data.mixture import Mixture
from lm_research.data.mixture_plan import SamplingPlan, SamplingRule, StreamSize
from lm_research.data.preparation import PreparedText, prepare_splits
from lm_research.data.selection import PATIENCE_S
from lm_research.data.splits import Split
from lm_research.data.token_store import TokenStore

TRAIN_ALONE: tuple[Split, ...] = ("train",)


@dataclass(frozen=True)
class MixtureStreams:
    """A rule, and the store of each source that it ever gives a weight."""

    rule: SamplingRule
    stores: Mapping[str, TokenStore]

    def ids(self) -> dict[str, np.ndarray]:
        """Each source's ids_N, as read-only memory maps."""
        return {name: store.split("train").ids_N for name, store in self.stores.items()}

    def plan(self, batch_size: int, window: int, steps: int, seed: int) -> SamplingPlan:
        """Which source is read when; see :class:`SamplingPlan`."""
        sizes = {name: _size(store) for name, store in self.stores.items()}
        return SamplingPlan(self.rule, sizes, batch_size, window, steps, seed)

    def card(self, name: str) -> dict[str, Any]:
        """Sizes and digest of one stream, for data.json."""
        size, counts = _size(self.stores[name]), self.stores[name].meta["splits"]["train"]
        return {"tokens": size.tokens, "bytes": size.utf8_bytes, "sha256": counts["sha256"]}


def _size(store: TokenStore) -> StreamSize:
    counts = store.meta["splits"]["train"]
    return StreamSize(counts["tokens"] + counts["documents"], counts["bytes"])


def sampling_rule(data: dict[str, Any]) -> SamplingRule | None:
    """What a data node asks of training time; None where it is no mixture or asks nothing."""
    source = build(data)
    if not isinstance(source, Mixture) or not source.sampled:
        return None
    return SamplingRule(
        source.weights,
        source.temperature,
        source.epochs,
        source.schedule or {},
        source.run_windows,
        source.on_exhausted,
    )


def prepare_streams(
    rule: SamplingRule,
    config: dict[str, Any],
    prepared: PreparedText,
    patience_s: float = PATIENCE_S,
) -> MixtureStreams:
    """The stores of the mixture's sources; made now if the cache has none.

    Args:
        rule: of the mixture.
        config: a run's configuration.
        prepared: the mixture's own text, whose tokenizer is used.

    Raises:
        DataError: a source cannot be read, or has no training document.
    """
    caps: dict[Split, int] = {"train": config["budget"]["train_bytes"], "validation": 0, "test": 0}
    # No tagger: a lexicon is the mixture's.
    text = {**config["text"], "tagger": None}
    trained = {"tokenizer": prepared.tokenizer.state_dict()}
    place = Path(config["cache"])
    sources = config["data"]["sources"]
    stores = {
        name: prepare_splits(
            sources[name], text, config["splits"], caps, TRAIN_ALONE, place, trained, patience_s
        ).store
        for name in rule.members
    }
    return MixtureStreams(rule, stores)
