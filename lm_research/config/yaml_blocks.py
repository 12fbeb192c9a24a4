"""Reading thousands of configurations that are alike: what they share is parsed once.

A configuration is a mapping whose top-level keys begin at the margin, so its text falls into blocks
of one key each, and the runs of a sweep differ in few of those. A block that was seen before costs
a look-up. The bounds of :mod:`lm_research.config.untrusted` hold as they do there: whatever is not
plainly such a text is read whole by :func:`load_yaml`, and so is whatever a block alone cannot say
(anchors, tags, several documents, a key that occurs twice).
"""

import re
from collections.abc import Callable
from typing import Any

from lm_research.config.untrusted import MOST_VALUES, UntrustedError, load_yaml

_MARGIN = re.compile(rb"^(?=[^\s#-])", re.MULTILINE)
_NOT_PLAIN = re.compile(
    rb"[&*!%\0\t\r]|<<|\xc2\x85|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf|\xff\xfe|\xfe\xff|^(?:---|\.\.\.)",
    re.MULTILINE,
)
_NOTHING = re.compile(rb"(?: *(?:#.*)?\n)*+")
_LONGEST_BLOCK = 1 << 16
_MOST_BLOCKS = 1 << 14


class BlockReader:
    """Reads one YAML text after another, like :func:`load_yaml`; values may be shared by texts.

    Args:
        change: applied to what is read, ``{key: value}`` by ``{key: value}`` (or to the whole of a
            text that was read whole).
    """

    def __init__(self, change: Callable[[Any], Any] = lambda value: value) -> None:
        self._change = change
        self._known: dict[bytes, dict[str, Any]] = {}

    def __call__(self, text: bytes) -> Any:
        """The value of ``text``, not to be changed. Raises ``UntrustedError`` (``load_yaml``)."""
        blocks = self._blocks(text)
        return self._change(load_yaml(text)) if blocks is None else blocks

    def _blocks(self, text: bytes) -> dict[str, Any] | None:
        """The mapping, block by block; ``None``: not plainly made of blocks."""
        if len(text) > MOST_VALUES or _NOT_PLAIN.search(text):
            return None
        head, *blocks = _MARGIN.split(text)
        if not _NOTHING.fullmatch(head):
            return None
        found: dict[str, Any] = {}
        for block in blocks:
            pair = self._block(block)
            if pair is None or found.keys() & pair.keys():
                return None
            found |= pair
        return found or None

    def _block(self, block: bytes) -> dict[str, Any] | None:
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            value = load_yaml(block)
        except UntrustedError:
            return None
        if not (isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value)), str)):
            return None
        value = self._change(value)
        if len(block) <= _LONGEST_BLOCK and len(self._known) < _MOST_BLOCKS:
            self._known[block] = value
        return value
