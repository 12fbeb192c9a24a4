"""Bags of documents beside scikit-learn's, from tokens on, and learned sums beside dense products.

Theirs are lists of strings, which scikit-learn looks up; ours are ids already. Documents are drawn
by Zipf's law, as words of a text are, so that nothing has to be downloaded.
"""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from lm_research.bench.case import Case, Plan, timed
from lm_research.vectorizers.bag_of_words import BagOfWords
from lm_research.vectorizers.tfidf import TfIdf

WORDS, DOCUMENTS, LENGTH, PROJECTION = 30_000, 2000, 200, 128
LEARNED = 256
"""Documents of a batch of which a sum is learned."""


def plans(quick: bool) -> Iterator[Plan]:
    """Counts and TF-IDF, where scikit-learn is installed; a learned sum."""
    if find_spec("sklearn") is not None:
        for name in ("bag_of_words", "tfidf"):
            what = {"what": name, "documents": DOCUMENTS, "vocabulary": WORDS}
            yield Plan(what, partial(counted, name))
    yield Plan({"what": "learned sum", "documents": LEARNED, "vocabulary": WORDS}, partial(learned))


def documents(count: int) -> list[Tensor]:
    """Ids from 1, int64, of different lengths."""
    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, WORDS)
    lengths = rng.integers(LENGTH // 2, 2 * LENGTH, count)
    drawn = rng.choice(np.arange(1, WORDS), lengths.sum(), p=weights / weights.sum())
    return [torch.from_numpy(d) for d in np.split(drawn, lengths.cumsum()[:-1])]


def counted(name: str) -> Case:
    """Sparse rows of whole documents."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    given = documents(DOCUMENTS)
    lists = [list(map(str, d.tolist())) for d in given]
    settings = {"analyzer": list, "vocabulary": {str(i): i for i in range(WORDS)}}
    ours: BagOfWords | TfIdf = BagOfWords(WORDS, projection=None)
    theirs = CountVectorizer(**settings)
    if name == "tfidf":
        theirs = TfidfVectorizer(**settings).fit(lists)
        ours = TfIdf(WORDS, block=None, projection=None)
        ours.fit(d.numpy() for d in given)
        ours.idf[0] = float(theirs.idf_[0])  # the separator's, which no document holds

    def equal() -> None:
        mine, other = ours.documents(given), theirs.transform(lists).tocsr()
        other.sort_indices()
        assert np.array_equal(mine.col_indices().numpy(), other.indices), "other cells"
        np.testing.assert_allclose(mine.values().numpy(), other.data, rtol=1e-4)

    sides = {
        "ours": timed(partial(ours.documents, given)),
        "scikit-learn": timed(partial(theirs.transform, lists)),
    }
    return Case(sides, equal)


def learned() -> Case:
    """x W of a batch and W's gradient: rows gathered and added, or V columns multiplied."""
    given = documents(LEARNED)
    bag = BagOfWords(WORDS, projection=PROJECTION)
    own_VP = bag.projection
    assert own_VP is not None
    weight_VP = own_VP.detach().clone().requires_grad_()

    def ours() -> tuple[Tensor, Tensor]:
        x_BP = bag.documents(given)
        (gradient_VP,) = torch.autograd.grad(x_BP.square().sum(), own_VP)
        return x_BP, gradient_VP

    def dense() -> tuple[Tensor, Tensor]:
        wide_BV = torch.stack([torch.bincount(d, minlength=WORDS) for d in given]).float()
        x_BP = wide_BV @ weight_VP
        return x_BP, torch.autograd.grad(x_BP.square().sum(), weight_VP)[0]

    def equal() -> None:
        for a, b in zip(ours(), dense(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-2)

    return Case({"ours": timed(ours), "dense product": timed(dense)}, equal)
