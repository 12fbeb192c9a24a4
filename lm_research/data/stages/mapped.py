"""Cleaning and encoding as a function of a batch, for the engines of a cluster.

::

    mapped = BatchMapper(config["text"], tokenizer.state_dict())
    datasets.load_dataset(...).map(mapped, batched=True, num_proc=64, remove_columns=columns)
    ray.data.read_parquet(...).map_batches(mapped, batch_size=1000)

It is the same code as the stages on one machine run, so it gives the same ids (a test compares).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from lm_research.config.build import build
from lm_research.data.document import DataError, Document
from lm_research.data.stages.cleaned import cleaned
from lm_research.data.stages.documents import Shard
from lm_research.text.cleaning import Comparing, Rule
from lm_research.text.tokenizer import Tokenizer


class BatchMapper:
    """From columns of documents to columns of ids; can be sent to other processes.

    Args:
        text: the node ``text`` of a configuration.
        tokenizer: state of a trained tokenizer.
        column: the name of the texts' column.

    Raises:
        DataError: a rule compares texts with those before them, which a batch does not know.
    """

    def __init__(
        self, text: Mapping[str, Any], tokenizer: Mapping[str, Any], column: str = "text"
    ) -> None:
        self.text, self.state, self.column = dict(text), dict(tokenizer), column
        for rule in self._rules:
            if isinstance(rule, Comparing):
                raise DataError(
                    f"text.cleaning: {rule.name} compares a text with those before it, which a "
                    "batch of a cluster does not have\n  fix: leave it out there, and remove "
                    "copies in a pass of its own"
                )

    def __getstate__(self) -> dict[str, Any]:
        return {"text": self.text, "state": self.state, "column": self.column}

    @cached_property
    def _rules(self) -> list[Rule]:
        return list(build(self.text["cleaning"]))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer: Tokenizer = build(self.text["tokenizer"])
        tokenizer.load_state_dict(self.state)
        return tokenizer

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Columns ``text`` (cleaned), ``ids``, ``bytes``, ``words``, ``spelling_nats``.

        Dropped documents have no row. ``ids`` are int64, without separators.
        """
        documents = [Document(str(text), "", "") for text in batch[self.column]]
        texts = [d.text for d in cleaned(Shard(0, documents), self._rules).documents]
        ids_N, lengths_D, nats_D = self._tokenizer.encode_batch(texts, np.dtype(np.int64))
        ends = np.cumsum(lengths_D + 1)  # the separator behind each is left out
        return {
            "text": texts,
            "ids": [ids_N[end - 1 - n : end - 1] for end, n in zip(ends, lengths_D, strict=True)],
            "bytes": [len(text.encode()) for text in texts],
            "words": [len(text.split()) for text in texts],
            "spelling_nats": nats_D.tolist(),
        }
