"""Bags of whole documents equal scikit-learn's on real text."""

import pydoc_data.topics
import re

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from lm_research.vectorizers.bag_of_words import BagOfWords
from lm_research.vectorizers.tfidf import TfIdf
from lm_research.vectorizers.vectorizer import Vectorizer

TEXTS = [*sorted(pydoc_data.topics.topics.values())[:60], ""]


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


@pytest.fixture(scope="module")
def encoded() -> tuple[dict[str, int], list[torch.Tensor]]:
    """Ids as scikit-learn gives them, after a separator that no document holds."""
    vocabulary = CountVectorizer(analyzer=tokens).fit(TEXTS).vocabulary_
    ids = [torch.tensor([1 + vocabulary[t] for t in tokens(x)], dtype=torch.int64) for x in TEXTS]
    return vocabulary, ids


def dense(vectorizer: Vectorizer, documents: list[torch.Tensor]) -> np.ndarray:
    bags_BV = vectorizer.documents(documents)
    assert bags_BV.layout is torch.sparse_csr
    return bags_BV.to_dense()[:, 1:].numpy()


@pytest.mark.parametrize("weighting", ["count", "binary"])
def test_counts(encoded: tuple, weighting: str) -> None:
    vocabulary, documents = encoded
    ours = BagOfWords(len(vocabulary) + 1, weighting=weighting, projection=None)  # type: ignore[arg-type]
    theirs = CountVectorizer(analyzer=tokens, binary=weighting == "binary").fit_transform(TEXTS)
    assert np.array_equal(dense(ours, documents), theirs.toarray())


@pytest.mark.parametrize("sublinear", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("norm", ["l2", None])
def test_tfidf(encoded: tuple, sublinear: bool, smooth: bool, norm: str | None) -> None:
    vocabulary, documents = encoded
    settings = {"norm": norm, "smooth_idf": smooth}
    ours = TfIdf(len(vocabulary) + 1, sublinear=sublinear, block=None, projection=None, **settings)
    ours.fit([ids.numpy() for ids in documents])
    theirs = TfidfVectorizer(analyzer=tokens, sublinear_tf=sublinear, **settings).fit_transform(
        TEXTS
    )
    np.testing.assert_allclose(dense(ours, documents), theirs.toarray(), rtol=2e-5, atol=1e-6)


def test_a_projection_is_the_product_with_the_sparse_matrix(encoded: tuple) -> None:
    vocabulary, documents = encoded
    wide = BagOfWords(len(vocabulary) + 1, projection=None).documents(documents)
    narrow = BagOfWords(len(vocabulary) + 1, projection=7)
    x_BP = narrow.documents(documents)
    torch.testing.assert_close(x_BP, wide.to_dense() @ narrow.projection, rtol=1e-4, atol=1e-2)
    x_BP.square().sum().backward()
    assert narrow.projection.grad.any()
