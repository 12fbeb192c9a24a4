"""Bytes: the vocabulary that needs no training and meets no unknown text."""

from collections.abc import Iterable, Sequence

import numpy as np

from lm_research.text.tokenizer import Encoding, Encodings, Tokenizer
from lm_research.text.unicode import printable, valid_unicode
from lm_research.text.vocabulary import SPECIAL_NAMES, id_array

_BYTES = 256
_END = b"\xff"
"""No byte of UTF-8; its successor in 8 bits is 0, the separator."""


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes: 257 ids, byte b having id b + 1.

    Lossless for valid Unicode; a lone surrogate, which UTF-8 cannot hold, is coded as U+FFFD.
    """

    @property
    def vocabulary_size(self) -> int:
        """257: the separator and 256 byte values."""
        return _BYTES + 1

    def encode(self, text: str) -> Encoding:
        """One id for each byte of the text."""
        data = valid_unicode(text).encode("utf-8")
        return Encoding(np.frombuffer(data, np.uint8).astype(np.int64) + 1, 0.0)

    def encode_batch(self, texts: Sequence[str], dtype: np.dtype) -> Encodings:
        """The same as one array of bytes."""
        encoded = [valid_unicode(text).encode("utf-8") for text in texts]
        data_N = np.frombuffer(_END.join([*encoded, b""]), np.uint8)
        lengths_D = np.fromiter(map(len, encoded), np.int64, len(encoded))
        ids_N = (data_N + np.uint8(1)).astype(dtype)
        return Encodings(ids_N, lengths_D, np.zeros(len(encoded)))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; separators become a newline, bytes that are no UTF-8 become U+FFFD."""
        ids_N = id_array(ids, self.vocabulary_size)
        data_N = np.where(ids_N == self.separator_id, ord("\n"), ids_N - 1).astype(np.uint8)
        return data_N.tobytes().decode("utf-8", "replace")

    def token(self, id: int) -> str:
        """The ASCII character, or the byte as ``<0xE2>``."""
        id = int(id_array([id], self.vocabulary_size)[0])
        if id == self.separator_id:
            return SPECIAL_NAMES[id]
        return printable(chr(id - 1)) if id <= 128 else f"<0x{id - 1:02X}>"
