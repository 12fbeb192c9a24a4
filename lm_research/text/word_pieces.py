"""Where a text is cut into words: the regular expression, and the classes that it is made of."""

import re

from lm_research.text.unicode import COMBINING_MARKS

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
LETTERS = rf"[^\W\d_{HAN}]"
JOINERS = f"[{COMBINING_MARKS}\u200c\u200d]"
"""``re`` takes marks for no letters; Indic and Persian words also need the zero-width joiners."""
APOSTROPHES = "['’]"
REPEATED_PUNCTUATION = ".-=*#/!?~_"
"""Stays together with its like."""
LONGEST_RUN = 64


def _pattern() -> re.Pattern[str]:
    """Every branch is deterministic or a single class, so that matching takes linear time."""
    run = f"{{1,{LONGEST_RUN}}}+"
    word = rf"{LETTERS}{run}(?:{JOINERS}{{1,8}}+{LETTERS}{{0,{LONGEST_RUN}}}+"
    word += rf"|{APOSTROPHES}{LETTERS}{run}){{0,{LONGEST_RUN}}}+"
    repeated = "|".join(rf"{re.escape(c)}{{2,{LONGEST_RUN}}}+" for c in REPEATED_PUNCTUATION)
    visible = rf" ?(?:{word}|[{HAN}]|\d{run}|{repeated}|[^\w\s]|\w)"
    # White space before a word: up to its last line break or tab, then all spaces but the word's.
    return re.compile(rf"{visible}|\s*[^\S ]| +(?= \S)|\s+")


_PIECE = _pattern()


def segment_words(text: str) -> list[str]:
    """Cut a text into words and what stands between them; the pieces concatenate to the text.

    - A word is letters with their combining marks, and the apostrophes inside it ("don't",
      "l'eau"); a Han ideograph is a piece of its own, Thai and kana, without spaces, are not cut.
    - Numbers are runs of digits; punctuation comes one by one, except that a repeated mark ("...",
      "====") stays together.
    - Any of these takes the one space before it along, so that " the" is one piece, and "the" at
      the start of a line another. Other white space: a run up to its last line break or tab, then
      the spaces left.

    A run longer than 64 (a base64 blob) is cut there, which keeps the distinct pieces few.
    """
    return _PIECE.findall(text)
