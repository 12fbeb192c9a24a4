"""From the bytes of a web page to its main text, within bounds of time and memory.

Parsing and extraction are resiliparse's (docs/decisions/0019). Its time grows with the square of
the depth and of the attributes of one tag, and C cannot be interrupted by an alarm, so what would
take long is refused by a linear look at the tags beforehand.
"""

import re
from dataclasses import dataclass

from lm_research.data.sources.raw_files import marked_encoding

MOST_TAGS = 200_000
MOST_DEPTH = 512
MOST_WEIGHT = 200_000_000  # characters, each counted as often as tags are open around it
LONG_TAG = 8000  # characters, within which attributes cannot be so many that they need counting
MOST_LONG_TAGS = 1000
MOST_ATTRIBUTES = 1000  # of a long tag
BOILERPLATE = ["nav", "footer", "aside", "form", "body > header", "[role=navigation]"]
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_INSIDE = re.compile(r"""(?:[^=>]++|=\s*+(?:"[^"]*+"?|'[^']*+'?)?)*+""")
"""What a tag holds, up to the ``>`` that ends it and is in no quoted value."""
_QUOTED = re.compile(r"""=\s*+(?:"[^"]*+"?|'[^']*+'?)""")
_NEVER_NEST = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "dt",
        "dd",
        "tr",
        "td",
        "th",
        "tbody",
        "thead",
        "tfoot",
        "option",
        "optgroup",
        "colgroup",
        "html",
        "head",
        "body",
        "script",
        "style",
    ]
)
"""No content, or an end tag that may be left away: these add no depth that others do not show."""


class MainTextError(Exception):
    """A page that is left out; the message is the reason under which it is counted."""


@dataclass(frozen=True, slots=True)
class MainText:
    """What is kept of a page: its title, its main text, and the language that it declares."""

    title: str
    text: str
    language: str


def declared_encoding(content: bytes, header: str | None = None) -> str:
    """By the byte order mark, HTTP's header, the page's <meta>, or else a detector's guess."""
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    marked = marked_encoding(content)
    if marked:
        return marked
    if header:
        return str(map_encoding_to_html5(header))
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return _meta(content) or "utf-8"
    return str(detect_encoding(content, from_html_meta=True))


def _meta(content: bytes) -> str | None:
    """What <meta> says of bytes that are valid UTF-8 too, such as ISO-2022-JP's."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    found = re.search(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{1,40})", content[:1024], re.I)
    return str(map_encoding_to_html5(found[1].decode("ascii", "replace"))) if found else None


def main_text(html: str) -> MainText:
    """The page's main text. Raises ``MainTextError`` with the reason."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    check_bounds(html)
    try:
        tree = HTMLTree.parse(html)
        text = extract_plain_text(
            tree,
            main_content=True,
            alt_texts=False,
            list_bullets=False,
            skip_elements=BOILERPLATE,
        )
    except (ValueError, RuntimeError) as error:  # the library's own errors are of these kinds
        raise MainTextError("malformed") from error
    if not text.strip():
        raise MainTextError("no main text")
    root = tree.document.query_selector("html") if tree.document else None
    language = (root.getattr("lang") or "") if root else ""
    return MainText(" ".join((tree.title or "").split()), text.strip(), language)


def check_bounds(html: str) -> None:
    """Raises ``MainTextError``: "too deep" or "too large". Linear in the page's length."""
    depth = long_tags = weight = end = 0
    for count, tag in enumerate(_TAG.finditer(html)):
        inside = _INSIDE.match(html, tag.end())
        if inside is not None and inside.end() - inside.start() > LONG_TAG:
            long_tags += 1
            if len(_QUOTED.sub("", inside[0]).split()) > MOST_ATTRIBUTES:
                raise MainTextError("too large")
        if count > MOST_TAGS or long_tags > MOST_LONG_TAGS:
            raise MainTextError("too large")
        weight, end = weight + depth * (tag.start() - end), tag.start()
        if weight > MOST_WEIGHT:
            raise MainTextError("too deep")
        if tag[2].lower() not in _NEVER_NEST:
            depth = max(0, depth - 1) if tag[1] else depth + 1
            if depth > MOST_DEPTH:
                raise MainTextError("too deep")
