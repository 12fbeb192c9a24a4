"""Copies of documents: equal but for trifles, nearly equal, or mostly made of known passages.

All three rules keep the first of the copies, in the order of the stream (`cleaning.Comparing`), and
come before the split: what is left of a group of copies is in one split alone. How many copies are
found, and how many texts are taken for copies that are none, is measured in docs/preprocessing.md.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from lm_research.config.types import NonNegativeInt, PositiveInt, Probability
from lm_research.text.cleaning import Comparing, Drop, Texts
from lm_research.text.quality.gopher import alphanumeric_pieces


class ExactDuplicates(Comparing):
    """Drops texts that have come before, but for case, white space, punctuation and symbols.

    Compared is a hash of 64 bits of the words and numbers in lower case: of 10 million texts, one
    in 200,000 runs loses a text by accident. Memory: 70 to 110 bytes a document. Texts without any
    word are compared as they are.

    Args:
        against: names of data options whose texts are read first.
    """

    name = "exact_duplicates"

    def __init__(self, against: dict[str, Texts] | None = None) -> None:
        super().__init__(against)
        self._first: dict[int, str] = {}

    def learn(self, text: str) -> None:
        """Remember a text."""
        self._first.setdefault(self._key(text), self.source)

    def __call__(self, text: str) -> str | Drop:
        """The text, or why it is dropped."""
        key = self._key(text)
        if (first := self._known(key)) is not None:
            return Drop(_reason(first, "exact copy"))
        self._first[key] = _OWN
        return text

    def _known(self, key: int) -> str | None:
        first = self._first.get(key)
        return None if first == self.source else first

    @staticmethod
    def _key(text: str) -> int:
        return _hash("\0".join(alphanumeric_pieces(text)) or text)


_OWN = "\0"
"""Stands for the pass itself, whatever sources its texts come from; no source has this name."""


def _reason(first: str, what: str) -> str:
    return what if first == _OWN else f"{what} of a text of {first}"


def _hash(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


class NearDuplicates(Comparing):
    """Drops texts that share most of their passages with one that has come before.

    MinHash (Broder 1997) with locality-sensitive hashing, by rensa: a text is the set of its
    ``shingle`` words in a row; ``bands`` times ``rows`` hash functions are drawn, and a text is
    dropped if all ``rows`` hashes of one band agree with those of an earlier text. Two sets of
    Jaccard similarity s do so with probability 1 - (1 - s^rows)^bands. The defaults find
    99 % of the pairs with s = 0.72, which is a copy with one word in twenty changed. FineWeb's
    (Penedo et al. 2024, section 3.4: 112 functions in 14 buckets of 8, 5-grams of words) find
    fewer: such a copy has s = 0.63 by 5-grams, and 29 % of those are found.

    Words are those of `segment_words` in lower case, Han characters one by one. A text of
    fewer words than ``shingle`` is one shingle. Memory: 2 KB a document with the defaults.

    Args:
        against: names of data options whose texts are read first.
        shingle: words in a row that are compared.
        bands: groups of hash functions; more of them find more.
        rows: hash functions in a group; more of them find less by accident.
        seed: of the hash functions.
    """

    name = "near_duplicates"

    def __init__(
        self,
        against: dict[str, Texts] | None = None,
        shingle: PositiveInt = 3,
        bands: PositiveInt = 20,
        rows: PositiveInt = 5,
        seed: NonNegativeInt = 1,
    ) -> None:
        super().__init__(against)
        import rensa

        self.shingle, self.bands, self.rows, self.seed = shingle, bands, rows, seed
        self._rensa: Any = rensa
        self._indexes: dict[str, Any] = {}
        self._count = 0

    def learn(self, text: str) -> None:
        """Remember a text."""
        self._insert(self.source, self._sketch(text))

    def __call__(self, text: str) -> str | Drop:
        """The text, or why it is dropped."""
        sketch = self._sketch(text)
        for name, index in self._indexes.items():
            if name != self.source and index.query(sketch):
                return Drop(_reason(name, "near copy"))
        self._insert(_OWN, sketch)
        return text

    def _insert(self, name: str, sketch: Any) -> None:
        if name not in self._indexes:
            # The threshold is rensa's own second look, which only its ``is_similar`` takes.
            self._indexes[name] = self._rensa.RMinHashLSH(0.5, self.bands * self.rows, self.bands)
        self._indexes[name].insert(self._count, sketch)
        self._count += 1

    def _sketch(self, text: str) -> Any:
        sketch = self._rensa.RMinHash(self.bands * self.rows, self.seed)
        sketch.update(shingles(text, self.shingle))
        return sketch

    def signature(self) -> str:
        """The sources' signatures, and the version of the hash functions."""
        return json.dumps([super().signature(), self._rensa.RMinHash.ALGORITHM_VERSION])


def shingles(text: str, size: int) -> list[str]:
    """The distinct runs of ``size`` words, sorted; the whole text where it has fewer words."""
    words = alphanumeric_pieces(text)
    if len(words) < size:
        return [" ".join(words) or text]
    return sorted({" ".join(words[i : i + size]) for i in range(len(words) - size + 1)})


class NgramOverlap(Comparing):
    """Drops texts of which a share of the n-grams of words has come before.

    It sees what `NearDuplicates` cannot: a short text within a long one, or a page pieced together
    from several. Thirteen words are what GPT-3 (Brown et al. 2020, appendix C) and others take for
    contamination. N-grams are compared by hashes of 64 bits; only those whose hash is divisible by
    ``keep_one_in`` are, in every text the same ones, so that the share stays an unbiased estimate.
    Memory: about 80 bytes for each n-gram kept: 10 for each word of the corpus with the default. A
    text of fewer words than ``words`` passes.

    Args:
        against: names of data options whose texts are read first.
        words: n.
        max_share: largest share of the n-grams that may be known; 0 drops a text for a single one.
        keep_one_in: how many n-grams there are for each one that is remembered and compared.
    """

    name = "ngram_overlap"

    def __init__(
        self,
        against: dict[str, Texts] | None = None,
        words: PositiveInt = 13,
        max_share: Probability = 0.5,
        keep_one_in: PositiveInt = 8,
    ) -> None:
        super().__init__(against)
        self.words, self.max_share, self.keep_one_in = words, max_share, keep_one_in
        self._first: dict[int, str] = {}

    def learn(self, text: str) -> None:
        """Remember a text's n-grams."""
        for ngram in self._ngrams(text):
            self._first.setdefault(ngram, self.source)

    def __call__(self, text: str) -> str | Drop:
        """The text, or why it is dropped."""
        ngrams = self._ngrams(text)
        first = [self._first.get(ngram) for ngram in ngrams]
        known = [name for name in first if name is not None and name != self.source]
        if len(known) > self.max_share * len(ngrams):
            return Drop(_reason(max(known, key=known.count), "passages"))
        for ngram in ngrams:
            self._first[ngram] = _OWN
        return text

    def _ngrams(self, text: str) -> list[int]:
        """Hashes of the n-grams that are kept, each once."""
        words = alphanumeric_pieces(text)
        return sorted(h for h in set(_rolling(words, self.words)) if h % self.keep_one_in == 0)


_MODULUS, _BASE = (1 << 61) - 1, 1_000_003


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    return _hash(word) % _MODULUS


def _rolling(words: Sequence[str], n: int) -> list[int]:
    """Rabin-Karp hashes of the n-grams, modulo a prime: a step's cost does not grow with n."""
    if len(words) < n:
        return []
    hashes = [_word_hash(word) for word in words]
    leaving = pow(_BASE, n, _MODULUS)
    value, found = 0, []
    for i, entering in enumerate(hashes):
        value = (value * _BASE + entering) % _MODULUS
        if i >= n:
            value = (value - hashes[i - n] * leaving) % _MODULUS
        if i >= n - 1:
            found.append(value)
    return found
