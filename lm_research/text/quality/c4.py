"""The heuristics of C4, one rule each, in the paper's order.

Raffel et al. 2020, Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer, JMLR 21(140), section 2.2 ("The Colossal Clean Crawled Corpus"). Where the text leaves
a choice, what the authors' released code does is said. Two items of the list are other rules of
this project: bad words (`word_list.WordList`, with a list of one's own) and English alone
(`language.LanguageFilter`).
"""

import re
from abc import abstractmethod

from lm_research.config.types import NonNegativeInt, PositiveInt
from lm_research.text.cleaning import Drop, Rule, Substitution
from lm_research.text.sentences import split_sentences

_ENDS = (".", "?", "!", '"', "”")
_POLICY = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


class LineRule(Rule):
    """Keeps some lines; a text that keeps none becomes empty, and with that leaves the corpus."""

    @abstractmethod
    def keeps(self, line: str) -> bool:
        """Whether a line, without the white space around it, stays."""

    def __call__(self, text: str) -> str:
        """The lines that stay, as they were."""
        lines = text.split("\n")
        kept = [line for line in lines if self.keeps(line.strip())]
        return text if len(kept) == len(lines) else "\n".join(kept)


class C4TerminalPunctuation(LineRule):
    """Keeps the lines that end in a full stop, question mark, exclamation mark or quotation mark.

    Section 2.2, first item. As in the released code "..." is no end; empty lines go as well.
    """

    name = "c4_terminal_punctuation"

    def keeps(self, line: str) -> bool:
        """Whether the line ends in one of the marks."""
        return line.endswith(_ENDS) and not line.endswith("...")


class C4LineWords(LineRule):
    """Keeps the lines of at least five words.

    Section 2.2, second item; words are what stands between white space.

    Args:
        min_words: fewest words of a line.
    """

    name = "c4_line_words"

    def __init__(self, min_words: PositiveInt = 5) -> None:
        self.min_words = min_words

    def keeps(self, line: str) -> bool:
        """Whether the line has as many words."""
        return len(line.split(None, self.min_words)) >= self.min_words


class C4Sentences(Rule):
    """Drops pages of fewer than three sentences.

    Section 2.2, second item. The paper does not say how sentences are told; here by
    `sentences.split_sentences`, a line's end being one.

    Args:
        min_sentences: fewest sentences of a page.
    """

    name = "c4_sentences"

    def __init__(self, min_sentences: PositiveInt = 3) -> None:
        self.min_sentences = min_sentences

    def __call__(self, text: str) -> str | Drop:
        """The text, or why it is dropped."""
        count = len(split_sentences(text, line_breaks=True))
        return text if count >= self.min_sentences else Drop("too few sentences")


class C4JavascriptLines(LineRule):
    """Removes lines with the word "Javascript", most of them warnings to turn it on.

    Section 2.2, fourth item.
    """

    name = "c4_javascript_lines"

    def keeps(self, line: str) -> bool:
        """Whether the word is missing, in whatever case."""
        return "javascript" not in line.lower()


class C4LoremIpsum(Rule):
    """Drops pages with the placeholder text "lorem ipsum". Section 2.2, fifth item."""

    name = "c4_lorem_ipsum"

    def __call__(self, text: str) -> str | Drop:
        """The text, or why it is dropped."""
        return Drop("lorem ipsum") if "lorem ipsum" in text.lower() else text


class C4CurlyBracket(Rule):
    """Drops pages with a curly bracket, which is nearly always code. Section 2.2, sixth item."""

    name = "c4_curly_bracket"

    def __call__(self, text: str) -> str | Drop:
        """The text, or why it is dropped. As in the released code the opening one alone counts."""
        return Drop("curly bracket") if "{" in text else text


class C4CitationMarkers(Substitution):
    """Removes Wikipedia's citation markers: "[1]", "[edit]", "[citation needed]".

    Section 2.2, seventh item.
    """

    name = "c4_citation_markers"
    pattern = re.compile(r"\[(?:\d{1,9}|edit|citation needed)\]")

    def __init__(self, replacement: str = "") -> None:
        super().__init__(replacement)


class C4PolicyLines(LineRule):
    """Removes lines of boilerplate on policies.

    Section 2.2, eighth item: "terms of use", "privacy policy", "cookie policy", "uses cookies",
    "use of cookies", "use cookies".
    """

    name = "c4_policy_lines"

    def keeps(self, line: str) -> bool:
        """Whether none of the phrases occurs, in whatever case."""
        lower = line.lower()
        return not any(phrase in lower for phrase in _POLICY)


class C4LongWords(LineRule):
    """Removes lines with a word of more than 1000 characters.

    Not in the paper, but in the released code.

    Args:
        max_characters: most characters of a word.
    """

    name = "c4_long_words"

    def __init__(self, max_characters: NonNegativeInt = 1000) -> None:
        self.max_characters = max_characters

    def keeps(self, line: str) -> bool:
        """Whether no word is longer."""
        if len(line) <= self.max_characters:
            return True
        return all(len(word) <= self.max_characters for word in line.split())
