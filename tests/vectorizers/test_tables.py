"""Sparse gradients of tables equal the dense ones, in every vectorizer that has tables."""

import copy

import pytest
import torch
from torch import nn

from lm_research.vectorizers import tables
from lm_research.vectorizers.bag_of_words import BagOfWords
from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.ngrams import NGrams
from lm_research.vectorizers.tagged import TaggedVectorizer
from lm_research.vectorizers.tfidf import TfIdf
from lm_research.vectorizers.vectorizer import NOTHING, Vectorizer

V = 13
IDS = torch.tensor([[1, 1, 5, NOTHING], [2, 7, 5, 12], [NOTHING] * 4])
DOCUMENTS = [torch.tensor(ids, dtype=torch.int64) for ids in ([1, 1, 5], [], [2, 7, 5, 12, 1])]
MADE = {
    "embedding": lambda: Embedding(V, 4),
    "ngrams": lambda: NGrams(V, 4, n=3, buckets=7),  # so few that k-grams collide
    "unigrams": lambda: NGrams(V, 4, n=1),
    "bag": lambda: BagOfWords(V, projection=4, with_last=True),
    "binary": lambda: BagOfWords(V, weighting="binary", projection=4),
    "tfidf": lambda: fitted(TfIdf(V, projection=4, sublinear=True)),
    "tagged": lambda: TaggedVectorizer(Embedding(V, 4), [0, 1] * 6 + [2], 3, 2),
}


def fitted(vectorizer: Vectorizer) -> Vectorizer:
    vectorizer.fit([ids.numpy() for ids in DOCUMENTS])
    return vectorizer


def gradients(vectorizer: Vectorizer, ask: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    given = IDS if ask == "forward" else DOCUMENTS
    x = getattr(vectorizer, ask)(given)
    (x * torch.arange(x.numel()).view(x.shape)).sum().backward()
    return x.detach(), [p.grad for p in vectorizer.parameters() if p.grad is not None]


@pytest.fixture(params=[True, False], ids=["numba", "torch"])
def way(request, monkeypatch) -> None:
    monkeypatch.setattr(tables, "has_numba", lambda: request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("ask", ["forward", "documents"])
@pytest.mark.parametrize("name", MADE)
def test_sparse_gradients_equal_dense_ones(name: str, ask: str) -> None:
    torch.manual_seed(0)
    sparse = MADE[name]().double()
    dense = copy.deepcopy(sparse)
    for parameter in sparse.parameters():
        reads = tables.row_reads(parameter)
        assert reads is not None
        reads.sparse = True
    (x, found), (expected, wanted) = gradients(sparse, ask), gradients(dense, ask)
    torch.testing.assert_close(x, expected)
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert one.is_sparse
        assert not other.is_sparse
        torch.testing.assert_close(one.to_dense(), other)


def test_padding_touches_no_row() -> None:
    table = tables.row_table(torch.ones(V, 2))
    tables.row_reads(table).sparse = True
    from lm_research.vectorizers.window import look_up

    look_up(IDS, table).sum().backward()
    assert table.grad._indices()[0].tolist() == [1, 2, 5, 7, 12]
    assert table.grad._values()[:, 0].tolist() == [2, 1, 2, 1, 1]


def test_rows_are_told_before_they_are_read() -> None:
    embedding, told = Embedding(V, 2), []
    reads = tables.row_reads(embedding.weight)
    reads.sparse, reads.before = True, told.append
    embedding(torch.tensor([[3, 3]]))
    with torch.inference_mode():
        embedding.eval()(torch.tensor([[4]]))
    embedding.state_dict()
    assert [None if ids is None else ids.tolist() for ids in told] == [[3, 3], [4], None]


def test_copies_and_shared_matrices_are_no_tables() -> None:
    embedding = Embedding(V, 2)
    assert tables.row_reads(copy.deepcopy(embedding).weight) is None
    tables.read_whole(embedding.weight)
    assert tables.row_reads(embedding.weight) is None
    assert tables.row_reads(nn.Parameter(torch.ones(2))) is None


@pytest.mark.usefixtures("way")
def test_repeats_are_added_up() -> None:
    values = torch.randn(5, 3, dtype=torch.float64)
    raw = torch.sparse_coo_tensor(torch.tensor([[4, 1, 4, 0, 4]]), values, (6, 3))
    rows, sums = tables.rows_of(raw)
    expected = raw.coalesce()
    assert rows.tolist() == [0, 1, 4]
    torch.testing.assert_close(sums, expected.values())
