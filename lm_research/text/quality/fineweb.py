"""The heuristics that FineWeb adds to those of C4 and Gopher.

Penedo et al. 2024, The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale,
arXiv:2406.17557, section 3.6 ("Developing additional heuristic filters").
"""

from lm_research.config.types import PositiveInt, Probability
from lm_research.text.cleaning import Drop, Rule
from lm_research.text.quality.gopher import duplicate_shares

_ENDS = tuple(".!?\"'”’…。！？」』;:；：")


class FineWebLines(Rule):
    """Drops documents by the ends, the repetition and the lengths of their lines.

    Section 3.6: the share of lines that end with punctuation is at most 0.12, the share of
    characters in lines that repeat another at least 0.1, or the share of lines shorter than 30
    characters at least 0.67. Empty lines do not count. The paper does not list the punctuation:
    here full stop, question and exclamation mark, quotation marks, ellipsis, colon and semicolon,
    and the Chinese ones.

    Args:
        min_punctuated_lines: share of lines ending with punctuation that a document must exceed.
        max_duplicate_characters: share of characters in repeated lines that it must stay below.
        max_short_lines: share of short lines that it must stay below.
        short_line: characters below which a line is short.
    """

    name = "fineweb_lines"

    def __init__(
        self,
        min_punctuated_lines: Probability = 0.12,
        max_duplicate_characters: Probability = 0.1,
        max_short_lines: Probability = 0.67,
        short_line: PositiveInt = 30,
    ) -> None:
        self.min_punctuated_lines = min_punctuated_lines
        self.max_duplicate_characters = max_duplicate_characters
        self.max_short_lines = max_short_lines
        self.short_line = short_line

    def __call__(self, text: str) -> str | Drop:
        """The text, or the first reason to drop it."""
        lines = [line for raw in text.split("\n") if (line := raw.strip())]
        if not lines:
            return Drop("no line")
        count = len(lines)
        if sum(line.endswith(_ENDS) for line in lines) <= self.min_punctuated_lines * count:
            return Drop("too few lines end with punctuation")
        if duplicate_shares(lines)[1] >= self.max_duplicate_characters:
            return Drop("characters in duplicate lines")
        if sum(len(line) < self.short_line for line in lines) >= self.max_short_lines * count:
            return Drop("too many short lines")
        return text
