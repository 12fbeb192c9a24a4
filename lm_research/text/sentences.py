"""Sentences of English and Chinese running text."""

import re

_CLOSING = "\"'”’»)\\]}」』）】》"
_OPENING = "\"'“‘«(\\[{「『（【《"
_CHINESE_ENDS = "。！？"
_SINGLE = (".", "!", "?", "??", "!!", "?!")
_END = re.compile(
    rf"(?P<marks>[.!?…{_CHINESE_ENDS}]++)(?P<closing>[{_CLOSING}]*+)(?P<space>\s*+)|\n[^\S\n]*+\n\s*+"
)
_LINE = re.compile(r"\n\s*+")
_BEFORE = re.compile(r"[^\s(\"'“‘\[]*\Z")
_LOOK_BACK = 24
_ABBREVIATIONS = frozenset(
    """mr mrs ms messrs dr prof rev hon st sr jr gen col lt capt sgt gov sen rep pres sec vs etc e.g
    i.e cf al no nos vol fig figs eq pp p ch ed eds est approx dept inc ltd co corp bros univ assn
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun u.s u.k u.n a.m p.m
    ave blvd rd mt ft""".split()  # noqa: SIM905
)
_OFTEN_LAST = frozenset("etc al inc ltd co corp jr sr u.s u.k u.n a.m p.m".split())  # noqa: SIM905
_STARTERS = frozenset(
    """the a an this that these those he she it they we i you in on at but and so if when there
    however what who why how my his her its our their""".split()  # noqa: SIM905
)


def split_sentences(text: str, line_breaks: bool = False) -> list[str]:
    """The sentences of a text, without the white space around them.

    A sentence ends

    - after 。！？, with the marks and closing quotes that follow, in Chinese; a closing quote
      before a comma or a full stop goes on (“好。”，他说);
    - after . ! ? … with closing quotes, where white space follows, in English; not after an initial
      ("J. Smith") or a usual abbreviation ("Dr. Jones"), but for those that often come last
      ("U.S. The ..."); before lower case not after a quote ("Go!" he said), an ellipsis or a word
      of one or two letters;
    - at an empty line; with ``line_breaks`` at every one.

    Hard-wrapped text needs ``line_breaks=False``, a list or a page of the web True. It takes time
    linear in the text.
    """
    found: list[str] = []
    start = 0
    for match in _END.finditer(text):
        if match["marks"] is None or _ends(text, match):
            found.append(text[start : match.end()])
            start = match.end()
    found.append(text[start:])
    if line_breaks:
        found = [line for sentence in found for line in _LINE.split(sentence)]
    return [stripped for sentence in found if (stripped := sentence.strip())]


def _ends(text: str, match: re.Match[str]) -> bool:
    following = text[match.end() : match.end() + 1]
    if not following:
        return True
    if match["marks"][-1] in _CHINESE_ENDS or match["marks"] == "……":
        return not (match["closing"] and following in "，、；：,;:。！？")
    if not match["space"]:
        return False
    if "\n" in match["space"] and match["space"].count("\n") > 1:
        return True
    if following in ",;:-–—":
        return False
    if following.islower() and (match["closing"] or match["marks"] not in _SINGLE):
        return False
    return match["marks"] != "." or not _abbreviated(text, match, following.islower())


def _abbreviated(text: str, match: re.Match[str], lower_case_follows: bool) -> bool:
    """Whether the full stop belongs to the word before it."""
    if match["closing"]:
        return False
    before = text[max(0, match.start() - _LOOK_BACK) : match.start()]
    found = _BEFORE.search(before)
    word = found[0] if found else ""
    if len(word) == 1 and word.isupper() and word != "I":
        return True
    lower = word.lower()
    if lower not in _ABBREVIATIONS:
        return lower_case_follows and (len(word) < 3 or "." in word)
    if lower_case_follows:
        return True
    if lower not in _OFTEN_LAST:
        return not (lower == "no" and word == "no")
    rest = text[match.end() : match.end() + _LOOK_BACK].split()
    return not rest or rest[0].lower().strip(",") not in _STARTERS
