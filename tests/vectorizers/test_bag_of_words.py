from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from lm_research.vectorizers.bag_of_words import BagOfWords
from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.vectorizer import NOTHING

V = 13


def sklearn_counts(documents: list[list[int]], **arguments: Any) -> np.ndarray:
    vocabulary = {str(id): id for id in range(V)}
    counter = CountVectorizer(analyzer=str.split, vocabulary=vocabulary, **arguments)
    return counter.fit_transform([" ".join(map(str, ids)) for ids in documents]).toarray()


def windows_of(ids: list[int], window: int) -> list[list[int]]:
    return [ids[max(0, t + 1 - window) : t + 1] for t in range(len(ids))]


ids_of_a_stream = st.lists(st.integers(0, V - 1), min_size=1, max_size=30)


@settings(max_examples=50, deadline=None)
@given(ids=ids_of_a_stream, window=st.integers(1, 10), binary=st.booleans())
def test_every_window_counts_as_in_sklearn(ids: list[int], window: int, binary: bool) -> None:
    bag = BagOfWords(V, window, "binary" if binary else "count")
    expected = sklearn_counts(windows_of(ids, window), binary=binary)
    assert np.array_equal(bag(torch.tensor([ids]))[0].numpy(), expected)
    assert np.array_equal(
        bag.document(torch.tensor(ids)).numpy(), sklearn_counts([ids], binary=binary)[0]
    )


@settings(max_examples=50, deadline=None)
@given(ids=ids_of_a_stream, window=st.integers(1, 10))
def test_mean_divides_by_the_tokens_there(ids: list[int], window: int) -> None:
    counts = sklearn_counts(windows_of(ids, window))
    x_TV = BagOfWords(V, window, "mean")(torch.tensor([ids]))[0]
    np.testing.assert_allclose(x_TV.numpy(), counts / counts.sum(1, keepdims=True), rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(ids=ids_of_a_stream, window=st.integers(1, 10), decay=st.floats(0, 1))
def test_decay_is_the_formula(ids: list[int], window: int, decay: float) -> None:
    expected = np.zeros((len(ids), V))
    for t in range(len(ids)):
        for k in range(min(window, t + 1)):
            expected[t, ids[t - k]] += decay**k
    x_TV = BagOfWords(V, window, "decay", decay=decay)(torch.tensor([ids]))[0]
    np.testing.assert_allclose(x_TV.numpy(), expected, atol=1e-6)


def test_decay_over_a_document_is_a_forgetting_sum() -> None:
    bag = BagOfWords(V, window=2, weighting="decay", decay=0.9)
    ids_N, sum_V = torch.randint(V, (50,)), torch.zeros(V)
    for one_V in torch.eye(V)[ids_N]:
        sum_V = 0.9 * sum_V + one_V
    torch.testing.assert_close(bag.document(ids_N), sum_V)


@pytest.mark.parametrize("weighting", ["count", "binary", "mean", "decay"])
@pytest.mark.parametrize("with_last", [False, True])
@pytest.mark.parametrize("window", [1, 3, 8, 11])
def test_projected_equals_the_dense_bag_times_the_matrix(
    weighting: Any, with_last: bool, window: int
) -> None:
    dense = BagOfWords(V, window, weighting, projection=None, with_last=with_last)
    projected = BagOfWords(V, window, weighting, projection=6, with_last=with_last)
    assert (dense.dim, projected.dim) == (V * (1 + with_last), 6 * (1 + with_last))
    matrices = [projected.projection, projected.last] if with_last else [projected.projection]
    weight = torch.block_diag(*[matrix.detach() for matrix in matrices]).requires_grad_()
    ids_BT = torch.randint(-1, V, (3, 21))
    torch.testing.assert_close(projected(ids_BT), dense(ids_BT) @ weight, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        projected.document(ids_BT[0]), dense.document(ids_BT[0]) @ weight, atol=1e-5, rtol=1e-5
    )
    direction = torch.randn(3, 21, projected.dim)
    (projected(ids_BT) * direction).sum().backward()
    ((dense(ids_BT) @ weight) * direction).sum().backward()
    torch.testing.assert_close(projected.projection.grad, weight.grad[:V, :6], atol=1e-5, rtol=1e-5)
    if with_last:
        torch.testing.assert_close(projected.last.grad, weight.grad[V:, 6:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weighting", ["count", "mean"])
def test_projected_equals_embedding_bag(weighting: Any) -> None:
    bag = BagOfWords(V, 4, weighting, projection=5)
    ids = torch.randint(V, (10,))
    lists = windows_of(ids.tolist(), 4)
    starts = torch.tensor([0, *np.cumsum([len(ids) for ids in lists])[:-1]])
    mode = {"count": "sum", "mean": "mean"}[weighting]
    expected = F.embedding_bag(
        torch.tensor(np.concatenate(lists)), bag.projection, starts, mode=mode
    )
    torch.testing.assert_close(bag(ids[None])[0], expected)


@pytest.mark.parametrize("weighting", ["count", "binary", "mean", "decay"])
def test_a_window_of_one_is_exactly_an_embedding(weighting: Any) -> None:
    torch.manual_seed(0)
    bag = BagOfWords(V, 1, weighting, projection=6)
    torch.manual_seed(0)
    embedding = Embedding(V, 6)
    ids_BT = torch.randint(V, (2, 9))
    assert bag.context == 0
    assert torch.equal(bag(ids_BT), embedding(ids_BT))
    assert torch.equal(bag.output_weight(), embedding.output_weight())
    for model in (bag, embedding):
        model(ids_BT).square().sum().backward()
    torch.testing.assert_close(bag.projection.grad, embedding.weight.grad)


def test_with_last_appends_what_the_bag_forgets() -> None:
    bag = BagOfWords(V, 3, with_last=True)
    assert bag.output_weight() is None
    x_2D = bag(torch.tensor([[1, 2, 3], [3, 2, 1]]))[:, -1]
    assert torch.equal(x_2D[0, :V], x_2D[1, :V])
    assert x_2D[:, V:].argmax(1).tolist() == [3, 1]
    assert torch.equal(x_2D[:, V:].sum(1), torch.ones(2))


def test_counts_are_exact_at_the_end_of_a_long_stream() -> None:
    ids_BT = torch.randint(4, (1, 65_536))
    x_BTV = BagOfWords(4, 64)(ids_BT)
    assert torch.equal(x_BTV[0, -1], torch.bincount(ids_BT[0, -64:], minlength=4).float())
    assert torch.equal(x_BTV.sum(-1)[0], torch.arange(1, 65_537).clamp(max=64).float())


@pytest.mark.parametrize("weighting", ["count", "mean", "decay"])
def test_projected_vectors_start_with_unit_variance(weighting: Any) -> None:
    torch.manual_seed(0)
    bag = BagOfWords(4096, 8, weighting, projection=64, with_last=True)
    x_BTD = bag(torch.randint(4096, (4, 400)))[:, 8:]
    for x_BTP in x_BTD.split(64, -1):
        assert x_BTP.var().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, r"window is 0; it must be at least 1"),
        ({"decay": 1.5}, r"decay is 1.5; it must be within \[0, 1\]"),
        ({"weighting": "sum"}, r"weighting is 'sum'; it must be one of 'count', 'binary'"),
        ({"projection": 0}, r"projection is 0; it must be at least 1"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BagOfWords(V, **arguments)


def test_nothing_counts_nowhere() -> None:
    x_TV = BagOfWords(3, 2)(torch.tensor([[NOTHING, 2, NOTHING, NOTHING]]))[0]
    assert x_TV.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
