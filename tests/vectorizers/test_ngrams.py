import pytest
import torch

from lm_research.vectorizers.ngrams import NGrams
from lm_research.vectorizers.vectorizer import NOTHING

V = 50


def test_equal_ngrams_share_a_bucket_and_different_ones_hardly_ever() -> None:
    ngrams = NGrams(V, 4, n=3, buckets=1 << 20)
    pairs = torch.cartesian_prod(torch.arange(V), torch.arange(V))
    bucket_2 = ngrams.hashes(pairs)[0][:, 1]
    assert bucket_2.unique().numel() > 0.995 * V * V  # chance alone: 0.999
    assert bucket_2.min() >= 0
    assert bucket_2.max() < 1 << 20
    both = ngrams.hashes(torch.tensor([[1, 2, 3, 9, 1, 2, 3]]))
    for found, k in zip(both, (2, 3), strict=True):
        assert found[0, 2] == found[0, 6]
        assert (found[0, : k - 1] == NOTHING).all()
    reverse = ngrams.hashes(torch.tensor([[2, 1]]))[0][0, 1]
    assert reverse != ngrams.hashes(torch.tensor([[1, 2]]))[0][0, 1]


def test_a_vector_is_the_sum_over_the_ngrams_that_end_there() -> None:
    ngrams = NGrams(V, 4, n=3, buckets=97)
    ids = torch.tensor([[7, 8, 9]])
    two, three = (h[0, 2] for h in ngrams.hashes(ids))
    expected = ngrams.weight[9] + ngrams.hashed[two] + ngrams.hashed[three]
    torch.testing.assert_close(ngrams(ids)[0, 2], expected)
    rows = [ngrams.weight[7], ngrams.weight[8], ngrams.weight[9]]
    rows += [ngrams.hashed[h[0, t]] for h in ngrams.hashes(ids) for t in range(3) if h[0, t] >= 0]
    assert len(rows) == 3 + 2 + 1
    torch.testing.assert_close(ngrams.document(ids[0]), torch.stack(rows).mean(0))


def test_an_ngram_with_a_hole_is_none() -> None:
    ngrams = NGrams(V, 4, n=3)
    two, three = ngrams.hashes(torch.tensor([[5, NOTHING, 6, 7]]))
    assert (two[0] >= 0).tolist() == [False, False, False, True]
    assert (three == NOTHING).all()


def test_unigrams_alone_are_an_embedding() -> None:
    ngrams = NGrams(V, 4, n=1)
    assert ngrams.hashed is None
    assert torch.equal(ngrams(torch.tensor([[3]]))[0, 0], ngrams.weight[3])


def test_vectors_start_with_unit_variance_and_look_back() -> None:
    """The sum of n learned vectors has the variance of one."""
    for n in (1, 2, 4):
        ngrams = NGrams(300, 64, n=n, buckets=2000)
        assert ngrams.context == n - 1
        assert ngrams.vocabulary_size == 300
        ids = torch.randint(300, (1, 400), generator=torch.Generator().manual_seed(n))
        assert abs(ngrams(ids)[0, n:].std().item() - 1) < 0.05


def test_vectors_may_start_as_fasttexts() -> None:
    """U(-1 / D, 1 / D), whose deviation is 1 / (D sqrt(3)); or another bound."""
    for scale, bound in ((None, 0.1), (0.5, 0.5)):
        ngrams = NGrams(3000, 10, n=2, buckets=2000, init="uniform", scale=scale)
        for table in (ngrams.weight, ngrams.hashed):
            assert 0.99 * bound < table.abs().max() <= bound
            assert abs(table.std().item() - bound / 3**0.5) < 0.02 * bound
    assert NGrams(3000, 10, n=1, scale=0.2).weight.std().item() == pytest.approx(0.2, rel=0.05)
    with pytest.raises(ValueError, match="init is 'zeros'"):
        NGrams(V, 4, init="zeros")
    with pytest.raises(ValueError, match="scale is -1"):
        NGrams(V, 4, scale=-1.0)
