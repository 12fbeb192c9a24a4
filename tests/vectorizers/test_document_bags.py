"""Bags of whole documents equal scikit-learn's on real text."""

import pydoc_data.topics
import re

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from lm_research.vectorizers.bag_of_words import BagOfWords
from lm_research.vectorizers.document_bags import count
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


def test_the_last_token_beside_the_bag() -> None:
    documents = [torch.tensor(ids) for ids in ([3, 0, 3], [1], [], [0, 2])]
    documents[2] = documents[2].long()
    wide = BagOfWords(4, projection=None, with_last=True)
    expected = [
        [1, 0, 0, 2, 0, 0, 0, 1],
        [0, 1, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 1, 0, 0, 0, 1, 0],
    ]
    bags_BD = wide.documents(documents)
    assert bags_BD.shape == (4, wide.dim)
    assert bags_BD.to_dense().tolist() == expected
    assert [wide.document(d).tolist() for d in documents] == expected


def test_no_documents_are_no_rows() -> None:
    bags = count([], None, 5)
    assert bags.csr(5).to_dense().shape == (0, 5)
    assert bags.ids_M.dtype == torch.int64


def test_bags_lie_where_their_documents_do() -> None:
    bags = count([torch.tensor([0, 2, 2]), torch.tensor([1])], None, 3)
    assert bags.csr(3).to_dense().tolist() == [[1, 0, 2], [0, 1, 0]]
    weighed = count([torch.tensor([0, 2, 2])], [torch.tensor([0.5, 1.0, 2.0])], 3)
    assert weighed.csr(3).to_dense().tolist() == [[0.5, 0, 3.0]]
