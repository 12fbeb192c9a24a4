"""Byte-pair encoding by the library ``tokenizers``."""

import json
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lm_research.config.types import PositiveInt
from lm_research.text.chunks import ChunkMemory
from lm_research.text.tokenizer import Encoding, Tokenizer
from lm_research.text.unicode import printable, valid_unicode, with_prefix_space
from lm_research.text.vocabulary import EMPTY_TRAINING_TEXT, SPECIAL_NAMES, id_array

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_SMALLEST = 257


class BPETokenizer(Tokenizer):
    """Byte-level BPE (Sennrich et al. 2016 on the bytes of Radford et al. 2019), lossless.

    The ids are those of the library plus one, 0 being the separator: as no token of the library's
    own is special, no text can produce it. A lone surrogate is coded as U+FFFD.

    Several segmentations spell the same text and the model is scored on one of them, so bits per
    byte is an upper bound, usually tight.

    Args:
        vocabulary_size: most ids there may be, separator included: 257 is bytes alone, every
            further id a merge. A small training text gives fewer.
        minimum_frequency: occurrences in the training text that a merge needs.
        add_prefix_space: read " word" for a text that begins with "word", so that its first word is
            the tokens that it is elsewhere; ``decode`` keeps that space.
    """

    def __init__(
        self,
        vocabulary_size: PositiveInt,
        minimum_frequency: PositiveInt = 2,
        add_prefix_space: bool = False,
    ) -> None:
        if vocabulary_size < _SMALLEST:
            raise ValueError(
                f"vocabulary_size is {vocabulary_size}; byte-level BPE has the separator and 256 "
                f"bytes before its first merge: ask for {_SMALLEST} or more, or use text=byte"
            )
        self.maximum_size = vocabulary_size
        self.minimum_frequency = minimum_frequency
        self.add_prefix_space, self.lossless = add_prefix_space, not add_prefix_space
        self._backend: Backend | None = None
        self._memory = ChunkMemory(self._encode_chunk)

    @property
    def backend(self) -> "Backend":
        """The library's tokenizer. Raises RuntimeError before training or loading."""
        if self._backend is None:
            raise RuntimeError(
                "this BPETokenizer has no merges yet: call train(texts) or "
                "load_state_dict(state) first"
            )
        return self._backend

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, the separator included."""
        return self.backend.get_vocab_size() + 1

    def train(self, texts: Iterable[str]) -> None:
        """Learn the merges. Raises ValueError if there is no text."""
        # Parallel workers would make the library warn, and lock up, in processes forked later.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import trainers

        backend = _new_backend()
        trainer = trainers.BpeTrainer(
            vocab_size=self.maximum_size - 1,
            min_frequency=self.minimum_frequency,
            initial_alphabet=sorted(byte_of_character()),
            show_progress=False,
        )
        lengths: list[int] = [0]
        backend.train_from_iterator(_counted(map(self._read, texts), lengths), trainer)
        if not lengths[0]:
            raise ValueError(EMPTY_TRAINING_TEXT)
        self._use(backend)

    def _use(self, backend: "Backend") -> None:
        self._backend = backend
        self._memory.forget()

    def encode(self, text: str) -> Encoding:
        """Ids of one text."""
        return Encoding(*self._memory.ids(self._read(valid_unicode(text))))

    def _read(self, text: str) -> str:
        return with_prefix_space(text) if self.add_prefix_space else text

    def _encode_chunk(self, chunk: str) -> tuple[np.ndarray, list[float]]:
        ids = self.backend.encode(chunk, add_special_tokens=False).ids
        return np.asarray(ids, dtype=np.int64) + 1, []

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; separators become a newline, bytes that are no UTF-8 become U+FFFD."""
        ids_N = id_array(ids, self.vocabulary_size)
        parts = np.split(ids_N, np.flatnonzero(ids_N == self.separator_id))
        parts = [part[part != self.separator_id] - 1 for part in parts]
        return "\n".join(self.backend.decode(part.tolist()) for part in parts)

    def token(self, id: int) -> str:
        """The token's text; one that is not whole characters by its bytes, as ``<0xE2>``."""
        id = int(id_array([id], self.vocabulary_size)[0])
        if id == self.separator_id:
            return SPECIAL_NAMES[id]
        token = self.backend.id_to_token(id - 1) or ""
        data = bytes(byte_of_character()[c] for c in token)
        try:
            return printable(data.decode("utf-8"))
        except UnicodeDecodeError:
            return "".join(printable(chr(b)) if b < 128 else f"<0x{b:02X}>" for b in data)

    def state_dict(self) -> dict[str, Any]:
        """The library's own JSON, which ``tokenizers.Tokenizer.from_str`` also reads."""
        return {"tokenizer": self.backend.to_str()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned. Raises ValueError for any other pipeline."""
        from tokenizers import Tokenizer as Backend

        _check_pipeline(json.loads(state["tokenizer"]))
        self._use(Backend.from_str(state["tokenizer"]))


def _new_backend() -> "Backend":
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers

    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _check_pipeline(found: dict[str, Any]) -> None:
    """The library's JSON may name any rule, also a pattern that never ends on some text."""
    for part in ("normalizer", "post_processor", "truncation", "padding", "added_tokens"):
        if found.get(part):
            raise ValueError(f"{part}: not part of this tokenizer, and not loaded")
    for part, kind in (("pre_tokenizer", "ByteLevel"), ("decoder", "ByteLevel"), ("model", "BPE")):
        if (found.get(part) or {}).get("type") != kind:
            raise ValueError(f"{part}: expected {kind}, and nothing else is loaded")


def _counted(texts: Iterable[str], lengths: list[int]) -> Iterator[str]:
    """The texts, with their characters added up in ``lengths[0]`` as they pass."""
    for text in texts:
        lengths[0] += len(text)
        yield valid_unicode(text)


@lru_cache(maxsize=1)
def byte_of_character() -> dict[str, int]:
    """How GPT-2, and the library after it, write bytes: the printable of Latin-1 as themselves.

    The other 68 follow from U+0100 on, in their own order.
    """
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(itself)]
    table = {chr(byte): byte for byte in itself}
    return table | {chr(256 + i): byte for i, byte in enumerate(others)}
