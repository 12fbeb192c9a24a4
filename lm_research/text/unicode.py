"""Small facts about Unicode text that several modules of this package need."""

import re
import unicodedata

REPLACEMENT_CHARACTER = "\ufffd"


def _combining_marks() -> str:
    points = [p for p in range(0x300, 0x20000) if unicodedata.category(chr(p))[0] == "M"]
    starts = [p for i, p in enumerate(points) if not i or points[i - 1] != p - 1]
    ends = [p for i, p in enumerate(points, 1) if i == len(points) or points[i] != p + 1]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))


COMBINING_MARKS = _combining_marks()
"""The marks of Unicode (M*, on planes 0 and 1) as ranges of a regular expression's class."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def valid_unicode(text: str) -> str:
    """``text`` with each lone surrogate, which UTF-8 cannot hold, replaced by U+FFFD.

    Python strings can carry surrogates (``json.loads('"\\\\ud83d"')``, ``surrogateescape``). A text
    without them, almost every one, comes back as the same object.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATE.sub(REPLACEMENT_CHARACTER, text)
    return text


def utf8_length(text: str) -> int:
    """Bytes of ``text`` in UTF-8; a lone surrogate counts three, as its replacement would."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def with_prefix_space(text: str) -> str:
    """``text`` with a space before it, unless it is empty or begins with one."""
    return f" {text}" if text and text[0] != " " else text


def printable(piece: str) -> str:
    """A one-line name of a piece for tables: spaces as U+2423, the unprintable escaped."""
    visible = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in piece)
    return "".join(visible).replace(" ", "\u2423")
