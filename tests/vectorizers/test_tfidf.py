from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from lm_research.vectorizers.tfidf import TfIdf
from lm_research.vectorizers.vectorizer import NOTHING

V = 13
TEXTS = st.lists(st.lists(st.integers(1, V - 1), max_size=20), min_size=1, max_size=6)


def sklearn_tfidf(training: list[list[int]], **arguments: Any) -> TfidfVectorizer:
    vocabulary = {str(id): id for id in range(V)}
    oracle = TfidfVectorizer(analyzer=str.split, vocabulary=vocabulary, **arguments)
    return oracle.fit([as_text(ids) for ids in training])


def as_text(ids: list[int]) -> str:
    return " ".join(map(str, ids))


def arrays(documents: list[list[int]]) -> list[np.ndarray]:
    return [np.array(ids, dtype=np.uint16) for ids in documents]


@settings(max_examples=60, deadline=None)
@given(
    training=TEXTS,
    ids=st.lists(st.integers(1, V - 1), min_size=1, max_size=25),
    window=st.integers(1, 9),
    sublinear=st.booleans(),
    norm=st.sampled_from(["l2", None]),
)
def test_equals_sklearn_on_documents_and_on_every_window(
    training: list[list[int]], ids: list[int], window: int, sublinear: bool, norm: Any
) -> None:
    oracle = sklearn_tfidf(training, sublinear_tf=sublinear, norm=norm)
    tfidf = TfIdf(V, window, sublinear, norm, block=None)
    tfidf.fit(iter(arrays(training)))
    np.testing.assert_allclose(tfidf.idf[1:], oracle.idf_[1:], rtol=1e-6)
    windows = [ids[max(0, t + 1 - window) : t + 1] for t in range(len(ids))]
    expected = oracle.transform([as_text(window) for window in windows]).toarray()
    np.testing.assert_allclose(tfidf(torch.tensor([ids]))[0], expected, atol=2e-6)
    document = oracle.transform([as_text(ids)]).toarray()[0]
    np.testing.assert_allclose(tfidf.document(torch.tensor(ids)), document, atol=2e-6)


@settings(max_examples=60, deadline=None)
@given(
    training=TEXTS,
    ids=st.lists(st.integers(1, V - 1), min_size=1, max_size=25),
    window=st.integers(1, 9),
    n=st.integers(2, 3),
)
def test_with_ngrams_equals_sklearn_on_documents_and_on_every_window(
    training: list[list[int]], ids: list[int], window: int, n: int
) -> None:
    tfidf = TfIdf(V, window, block=None, n=n, buckets=1 << 14)
    tfidf.fit(iter(arrays(training)))
    windows = [ids[max(0, t + 1 - window) : t + 1] for t in range(len(ids))]
    column_of = columns(tfidf, [*training, ids])
    assume(len(set(column_of.values())) == len(column_of))  # no two n-grams in one bucket
    oracle = TfidfVectorizer(tokenizer=str.split, token_pattern=None, ngram_range=(1, n))
    oracle.set_params(vocabulary=list(column_of))
    oracle.fit([as_text(document) for document in training])
    expected = oracle.transform([as_text(text) for text in [*windows, ids]]).toarray()
    found = torch.cat([tfidf(torch.tensor([ids]))[0], tfidf.document(torch.tensor(ids))[None]])
    names = list(column_of.values())
    np.testing.assert_allclose(found[:, names], expected, atol=2e-6)
    rest = found.clone()
    rest[:, names] = 0
    assert not rest.any()
    sparse = tfidf.documents([torch.tensor(ids)]).to_dense()
    np.testing.assert_allclose(sparse[0], found[-1], atol=2e-6)


def columns(tfidf: TfIdf, texts: list[list[int]]) -> dict[str, int]:
    """The column of each n-gram of the texts, as scikit-learn names it."""
    found = {}
    for ids in filter(None, texts):
        grams_kN = tfidf.grams(torch.tensor([ids])).reshape(tfidf.n, -1).tolist()
        for k, columns_N in enumerate(grams_kN, 1):
            for t in range(k - 1, len(ids)):
                found[as_text(ids[t + 1 - k : t + 1])] = columns_N[t]
    return found


def test_without_smoothing_equals_sklearn_on_seen_tokens() -> None:
    rng = np.random.default_rng(0)
    training = [rng.integers(1, V, 12).tolist() for _ in range(5)]
    seen = sorted({id for ids in training for id in ids})
    oracle = TfidfVectorizer(
        analyzer=str.split, vocabulary={str(id): i for i, id in enumerate(seen)}, smooth_idf=False
    ).fit([as_text(ids) for ids in training])
    tfidf = TfIdf(V, smooth_idf=False)
    tfidf.fit(arrays(training))
    np.testing.assert_allclose(tfidf.idf[seen], oracle.idf_, rtol=1e-6)


def test_without_smoothing_an_unseen_token_weighs_like_one_seen_once() -> None:
    tfidf = TfIdf(4, smooth_idf=False)
    tfidf.fit(arrays([[1, 2], [1], [1]]))
    torch.testing.assert_close(
        tfidf.idf, torch.tensor([1, 1, np.log(3) + 1, np.log(3) + 1]).float()
    )


def test_the_separator_is_taken_to_be_in_every_document() -> None:
    tfidf = TfIdf(3)
    tfidf.fit(arrays([[1], [1], [2]]))
    assert tfidf.idf[0] == 1
    tfidf.fit(arrays([[0, 1], [1], [2]]))  # a vocabulary that does use the id
    assert tfidf.idf[0].item() == pytest.approx(np.log(4 / 2) + 1)


def test_long_documents_count_as_blocks() -> None:
    document = np.random.default_rng(0).integers(1, V, 103)
    blocks = [document[start : start + 10] for start in range(0, 103, 10)]
    whole, cut = TfIdf(V, block=10), TfIdf(V, block=None)
    whole.fit([document])
    cut.fit(blocks)
    assert torch.equal(whole.idf, cut.idf)
    assert whole.idf[1:].unique().numel() > 1


@pytest.mark.parametrize("sublinear", [False, True])
@pytest.mark.parametrize("norm", ["l2", None])
@pytest.mark.parametrize("with_last", [False, True])
@pytest.mark.parametrize("window", [1, 3, 8, 13])
def test_projected_equals_the_dense_vector_times_the_matrix(
    sublinear: bool, norm: Any, with_last: bool, window: int
) -> None:
    dense = TfIdf(V, window, sublinear, norm, with_last=with_last)
    projected = TfIdf(V, window, sublinear, norm, projection=6, with_last=with_last)
    training = [np.random.default_rng(0).integers(1, V, 7) for _ in range(5)]
    for tfidf in (dense, projected):
        tfidf.fit(training)
    matrices = [projected.projection, projected.last] if with_last else [projected.projection]
    weight = torch.block_diag(*[matrix.detach() for matrix in matrices]).requires_grad_()
    ids_BT = torch.randint(-1, V, (3, 21))
    torch.testing.assert_close(projected(ids_BT), dense(ids_BT) @ weight, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(
        projected.document(ids_BT[0]), dense.document(ids_BT[0]) @ weight, atol=1e-5, rtol=1e-5
    )
    direction = torch.randn(3, 21, projected.dim)
    (projected(ids_BT) * direction).sum().backward()
    ((dense(ids_BT) @ weight) * direction).sum().backward()
    torch.testing.assert_close(projected.projection.grad, weight.grad[:V, :6], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", ["l2", None])
def test_projected_vectors_start_with_unit_variance(norm: Any) -> None:
    torch.manual_seed(0)
    tfidf = TfIdf(4096, 8, norm=norm, block=None, projection=64)
    tfidf.fit([np.arange(4096)])  # every idf is 1
    x_BTP = tfidf(torch.randint(4096, (4, 400)))[:, 8:]
    assert x_BTP.var().item() == pytest.approx(1, rel=0.05)


def test_empty_windows_stay_zero_under_the_norm() -> None:
    tfidf = TfIdf(V, 3)
    tfidf.fit(arrays([[1, 2]]))
    x_TV = tfidf(torch.tensor([[NOTHING, NOTHING, 2]]))[0]
    assert not x_TV[:2].any()
    assert x_TV[2].norm() == pytest.approx(1)


def test_unfitted_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"TfIdf has not been fitted: call fit\(documents\)"):
        TfIdf(V)(torch.tensor([[1]]))
    with pytest.raises(RuntimeError, match="has not been fitted"):
        TfIdf(V).document(torch.tensor([1]))


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "no training documents"),
        ([[1, V]], rf"ids from 1 to {V}, but vocabulary_size is {V}"),
        ([[-1]], "ids from -1 to -1"),
    ],
)
def test_bad_documents_are_refused(documents: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TfIdf(V).fit([np.array(ids) for ids in documents])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, r"window is 0; it must be at least 1"),
        ({"block": 0}, r"block is 0; it must be at least 1"),
        ({"norm": "l1"}, r"norm is 'l1'; it must be one of 'l2'"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TfIdf(V, **arguments)
