"""Characters of a fixed alphabet; all others are unknown."""

from collections.abc import Mapping

from lm_research.text.character import CharacterTokenizer
from lm_research.text.vocabulary import EMPTY_TRAINING_TEXT, SPECIAL_NAMES


class AlphabetTokenizer(CharacterTokenizer):
    """One id for each character of ``alphabet``, from 2 on in its order, whatever the text holds.

    A character outside is unknown, blanks too where the alphabet has none.

    Args:
        alphabet: distinct characters.
    """

    def __init__(self, alphabet: str) -> None:
        twice = sorted({character for character in alphabet if alphabet.count(character) > 1})
        if not alphabet or twice:
            told = f"{''.join(twice)!r} twice" if twice else "none"
            raise ValueError(f"alphabet has {told}; give each character once, and at least one")
        super().__init__(len(alphabet) + len(SPECIAL_NAMES))
        self.alphabet = alphabet

    def _most_frequent(self, counts: Mapping[str, int]) -> list[str]:
        if not counts:
            raise ValueError(EMPTY_TRAINING_TEXT)
        return list(self.alphabet)
