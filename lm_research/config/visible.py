"""Text of strangers, made safe to show: nothing in it is obeyed, and nothing is hidden."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls but tab and line ends, changes of the reading direction, halves of characters."""


def visible(text: str, *, keep: str = "") -> str:
    """``text`` with everything invisible made visible.

    Control characters become ``<U+001B>``, so that a sample cannot move the cursor or end a line;
    so do formatting characters (right-to-left overrides, zero-width spaces), surrogates and
    unassigned code points. ``keep`` lists the ones to leave alone.
    """
    if text.isprintable() or text.translate(dict.fromkeys(map(ord, keep))).isprintable():
        return text
    return "".join(c if c in keep else _picture(c) for c in text)


def _picture(character: str) -> str:
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
    return f"<U+{ord(character):04X}>" if hidden else character


def hidden(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Where a configuration holds what cannot be seen: (dotted path, ``U+001B``).

    Such text would move a terminal's cursor, end a path, or turn around what is read.
    """
    if isinstance(value, str):
        if found := _HIDDEN.search(value):
            yield path, f"U+{ord(found.group()):04X}"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from hidden(str(key), path or "a name")
            yield from hidden(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from hidden(item, f"{path}.{index}")
