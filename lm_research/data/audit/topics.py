"""The words that tell a source from the others, by TF-IDF."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lm_research.text.language import ENGLISH_STOP_WORDS

SHOWN = 20


def topic_words(
    documents: Mapping[str, Sequence[Sequence[str]]],
) -> dict[str, list[list[Any]]]:
    """Source -> its words of greatest mean TF-IDF, with that mean.

    tf is a word's share of its document, idf = ln(N / df) over the sampled documents of all
    sources, each source's counting equally (df is a sum of shares), so that a large source does not
    decide what is common. Left out: numbers, words of one character, English function words, and
    what is in fewer than three of the source's documents (a name is no topic).
    """
    held = {name: _document_counts(texts) for name, texts in documents.items()}
    share: Counter[str] = Counter()
    for name, counts in held.items():
        for word, count in counts.items():
            share[word] += count / max(len(documents[name]), 1)  # type: ignore[assignment]
    found = {}
    for name, texts in documents.items():
        fewest = min(3, max(len(texts) // 10, 1))
        scores: Counter[str] = Counter()
        for words in texts:
            for word, count in Counter(words).items():
                if held[name][word] >= fewest and _counts(word):
                    idf = math.log(len(documents) / share[word])
                    scores[word] += count / len(words) * idf / len(texts)  # type: ignore[assignment]
        found[name] = [[word, float(score)] for word, score in scores.most_common(SHOWN)]
    return found


def _document_counts(texts: Sequence[Sequence[str]]) -> Counter[str]:
    return Counter(word for words in texts for word in set(words))


def _counts(word: str) -> bool:
    return len(word) > 1 and not word.isdigit() and word not in ENGLISH_STOP_WORDS
