"""Part-of-speech tags as an extra input that cannot see the future.

A tagger reads whole sentences, words to the right included, so its tags must not be handed to a
language model as they are: the tag of "saw" would give away what follows. :class:`TagLexicon` keeps
of them only what a token alone tells, its most frequent tag in the training text.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from lm_research.text.tokenizer import Tokenizer

NO_TAG = "none"
UPOS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip
"""The tags of Universal Dependencies, to which every tagger maps its own."""


class Tagger(ABC):
    """Gives each piece of a text a part of speech."""

    @abstractmethod
    def tag(self, text: str) -> list[tuple[str, str]]:
        """(piece, tag) pairs: the pieces concatenate to the text, the tags are UPOS or NO_TAG."""


class TagLexicon:
    """Token id -> the tag that the token has most often in the training text.

    Tokens smaller than a tagger's pieces (bytes, characters, parts of words) count for the tag of
    every piece they occur in, which says little; words gain most. The unknown token gets the most
    frequent tag of unknown pieces, the separator none. The list of tags does not depend on the
    text, so an embedding of them has one size.

    Attributes:
        tags: names of the tags; 0 is NO_TAG, then UPOS.
        tag_of_token: int64 [vocabulary_size], all 0 before ``fit``.

    Args:
        tagger: tags the training text.
        tokenizer: the tokenizer, trained.
    """

    tags: tuple[str, ...] = (NO_TAG, *UPOS)

    def __init__(self, tagger: Tagger, tokenizer: Tokenizer) -> None:
        self.tagger = tagger
        self.tokenizer = tokenizer
        self.tag_of_token = np.zeros(tokenizer.vocabulary_size, dtype=np.int64)

    def fit(self, texts: Iterable[str]) -> None:
        """Tag the training texts, iterated once; memory grows with the distinct pieces alone.

        Ties go to the first of ``tags``.
        """
        occurrences: Counter[tuple[str, str]] = Counter()
        for text in texts:
            occurrences.update(self.tagger.tag(text))
        index_of = {tag: i for i, tag in enumerate(self.tags)}
        counts_VG = np.zeros((self.tokenizer.vocabulary_size, len(self.tags)), dtype=np.int64)
        for (piece, tag), count in occurrences.items():
            np.add.at(counts_VG[:, index_of[tag]], self.tokenizer.encode(piece).ids_N, count)
        self.tag_of_token = counts_VG.argmax(axis=1)

    def state_dict(self) -> dict[str, Any]:
        """The tags and each token's, as plain JSON values."""
        return {"tags": list(self.tags), "tag_of_token": self.tag_of_token.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned. Raises ValueError for another vocabulary."""
        tag_of_token = np.asarray(state["tag_of_token"], dtype=np.int64)
        if tuple(state["tags"]) != self.tags:
            raise ValueError(f"the lexicon has the tags {state['tags']}, expected {self.tags}")
        if len(tag_of_token) != self.tokenizer.vocabulary_size:
            raise ValueError(
                f"the lexicon has {len(tag_of_token)} tokens and the tokenizer "
                f"{self.tokenizer.vocabulary_size}: they belong to different vocabularies"
            )
        self.tag_of_token = tag_of_token
