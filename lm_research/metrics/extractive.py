"""Summaries that are sentences of their document: baselines that have learned nothing, or little.

Shapes: N sentences of a document, W different words.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lm_research.metrics.written import is_chinese, words_of
from lm_research.text.sentences import split_sentences

DAMPING = 0.85
TOLERANCE = 1e-9
Chooser = Callable[[list[list[str]]], np.ndarray]
"""Words of each sentence -> how good each is (N)."""


def sentences_of(text: str) -> list[str]:
    """Sentences of a document; a line's end is one, too (a dialogue's turns)."""
    return split_sentences(text, line_breaks=True)


def extract(text: str, count: int, choose: Chooser) -> str:
    """The ``count`` best sentences, in the order of the text; of equal ones, the first."""
    sentences = sentences_of(text)
    if len(sentences) > count:
        scores_N = choose([[word.lower() for word in words_of(s)] for s in sentences])
        best = np.argsort(-scores_N, kind="stable")[:count]
        sentences = [sentences[place] for place in sorted(best.tolist())]
    return ("" if is_chinese([text]) else " ").join(sentences)


def first_words(text: str, count: int) -> str:
    """The first ``count`` words and marks of a document; of Chinese, characters."""
    return ("" if is_chinese([text]) else " ").join(words_of(text)[:count])


def lead(sentences: list[list[str]]) -> np.ndarray:
    """The first ones are the best."""
    return -np.arange(len(sentences), dtype=np.float64)


class TfIdf:
    """The cosine of a sentence's TF-IDF vector with its document's (Radev et al. 2004, centroids).

    Args:
        documents: that document frequencies are counted in; idf(w) = ln((1 + D) / (1 + d_w)) + 1.
    """

    def __init__(self, documents: Iterable[str]) -> None:
        counts: Counter[str] = Counter()
        total = 0
        for text in documents:
            total += 1
            counts.update({word.lower() for word in words_of(text)})
        self.idf = {word: math.log((1 + total) / (1 + n)) + 1 for word, n in counts.items()}
        self.unseen = math.log(1 + total) + 1

    def __call__(self, sentences: list[list[str]]) -> np.ndarray:
        """Scores, (N,)."""
        words = sorted({word for sentence in sentences for word in sentence})
        place = {word: number for number, word in enumerate(words)}
        x_NW = np.zeros((len(sentences), len(words)))
        for row, sentence in enumerate(sentences):
            for word in sentence:
                x_NW[row, place[word]] += 1
        x_NW *= [self.idf.get(word, self.unseen) for word in words]
        norm_N = np.linalg.norm(x_NW, axis=1)
        whole_W = x_NW.sum(0)
        return (x_NW @ whole_W) / np.maximum(norm_N * np.linalg.norm(whole_W), 1e-12)


def text_rank(sentences: list[list[str]]) -> np.ndarray:
    """TextRank (Mihalcea & Tarau 2004), (N,): PageRank over sentences that share words.

    Of sentences i and j the weight is |words of both| / (ln |S_i| + ln |S_j|), 0 where that is no
    positive number (two sentences of one word).
    """
    count = len(sentences)
    weight_NN = np.zeros((count, count))
    for i, first in enumerate(sentences):
        for j in range(i):
            weight_NN[i, j] = weight_NN[j, i] = _shared(first, sentences[j])
    total_N = weight_NN.sum(1)
    isolated_N = total_N == 0
    step_NN = weight_NN / np.where(isolated_N, 1.0, total_N)[:, None]
    step_NN[isolated_N] = 1 / count
    rank_N = np.full(count, 1 / count)
    while True:
        new_N = (1 - DAMPING) / count + DAMPING * rank_N @ step_NN
        if np.abs(new_N - rank_N).sum() < TOLERANCE:
            return new_N
        rank_N = new_N


def _shared(first: Sequence[str], second: Sequence[str]) -> float:
    if not first or not second:
        return 0.0
    size = math.log(len(first)) + math.log(len(second))
    return len(set(first) & set(second)) / size if size > 0 else 0.0
