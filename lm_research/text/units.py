"""Units: words where spaces part them, characters where none do. What overlap is counted in.

A unit is a Han, kana, Thai, Lao, Khmer or Burmese character, or a run of other letters, digits and
underscores, in lower case. Punctuation and white space are none, so that neither hides a copy. One
rule serves every language and text that mixes them, and no tokenizer enters it.
"""

import re
from hashlib import blake2b

import numpy as np

_SINGLE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_UNIT = re.compile(f"[{_SINGLE}]|[^\\W{_SINGLE}]+")


def units(text: str) -> list[str]:
    """The units of a text, in order."""
    return _UNIT.findall(text.lower())


def unit_hashes(text: str) -> np.ndarray:
    """uint32 [N]: a BLAKE2b hash of each unit.

    Two different units share a hash with probability 2^-32; two different runs of n units, which
    is what overlap asks about, need n such accidents, or one in the 64 bits of their own hash.
    """
    if text.isascii():  # a table and a split find the same units five times as fast
        found = text.lower().encode().translate(_ASCII_UNITS).split()
    else:
        found = [unit.encode("utf-8", "surrogatepass") for unit in units(text)]
    if len(_known) > _MOST_KNOWN:
        _known.clear()
    return np.fromiter(map(_known.__getitem__, found), np.uint32, len(found))


class _Hashes(dict[bytes, int]):
    """The hash of each unit, remembered."""

    def __missing__(self, unit: bytes) -> int:
        self[unit] = value = int.from_bytes(blake2b(unit, digest_size=4).digest(), "little")
        return value


_ASCII_UNITS = bytes(b if chr(b).isalnum() or b == ord("_") else ord(" ") for b in range(256))
"""Bytes of units as themselves, others as spaces."""
_MOST_KNOWN = 1 << 19
"""Units whose hashes are remembered; beyond, memory begins anew."""
_known = _Hashes()
