"""Text out of HTML and XML, by one pass of simple patterns."""

import html
import re

from lm_research.text.cleaning import Rule

# No branch crosses a "<", so that what fails is read again only up to the next one: linear time.
_TAG = re.compile(
    r"""<(?P<comment>!--)
    |<!\[CDATA\[|\]\]>
    |<[/!?]?(?P<name>[A-Za-z][A-Za-z0-9]{0,31}+)
      (?:(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+>|[^<>]*+>)""",
    re.VERBOSE,
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CLOSING = {name: re.compile(rf"</{name}\b[^<>]*+>", re.IGNORECASE) for name in ("script", "style")}
_BLOCKS = frozenset(
    """address article aside blockquote body br dd div dl dt fieldset figcaption figure footer form
    h1 h2 h3 h4 h5 h6 head header hr html li main nav ol option p pre section table tbody td
    textarea tfoot th thead title tr ul""".split()  # noqa: SIM905
)


class RemoveMarkup(Rule):
    """Removes HTML and XML tags, comments, scripts and style sheets, and resolves entities.

    A tag that begins or ends a block ("<p>", "<br>", "<td>") leaves a line break, so that words do
    not run together; any other leaves nothing. Entities come last, so that "&lt;b&gt;" in an
    article on HTML survives as "<b>". They need their semicolon, which spares addresses like
    "?a=1&copy=2".

    This is no parser. A "<" straight before a letter with a ">" later on is taken for a tag, in "if
    a<b and c>d" too: not a rule for program code. A comment, script or style sheet that is never
    closed loses its opening mark alone. An attribute that holds a "<" is left over.
    """

    name = "remove_markup"

    def __call__(self, text: str) -> str:
        """The text without its markup."""
        if "<" in text:
            text = self._without_tags(text)
        return _ENTITY.sub(lambda match: html.unescape(match[0]), text) if "&" in text else text

    @staticmethod
    def _without_tags(text: str) -> str:
        kept: list[str] = []
        never_closed: set[str] = set()  # searched for once to the end in vain: not again
        start = 0
        while match := _TAG.search(text, start):
            kept.append(text[start : match.start()])
            start = match.end()
            name = "comment" if match["comment"] else (match["name"] or "").lower()
            if name in _BLOCKS:
                kept.append("\n")
            opens = name == "comment" or (name in _CLOSING and text[match.start() + 1] != "/")
            if opens and name not in never_closed:
                end = _end_of(name, text, start)
                if end < 0:
                    never_closed.add(name)
                else:
                    start = end
        kept.append(text[start:])
        return "".join(kept)


def _end_of(name: str, text: str, start: int) -> int:
    """Where the comment, script or style sheet whose opening ends at ``start`` is over; or -1."""
    if name == "comment":
        position = text.find("-->", start)
        return position + 3 if position >= 0 else -1
    closing = _CLOSING[name].search(text, start)
    return closing.end() if closing else -1
