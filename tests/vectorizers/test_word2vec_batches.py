"""word2vec by numpy, against torch's gradient of the formula in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lm_research.vectorizers.word2vec_batches import Batches, gradient, neighbours
from lm_research.vectorizers.word2vec_text import Chunk, gathered
from lm_research.vectorizers.word2vec_training import Settings, Tables, most_tokens

V, D = 12, 5
SETTINGS = Settings(
    window=3,
    negatives=4,
    noise_power=0.75,
    subsample=0.0,
    epochs=2,
    learning_rate=0.1,
    seed=5,
)
IDS_M = np.array([3, 1, 3, 7, 1, 0, 3], dtype=np.int32)
LOW_M = np.array([0, 0, 1, 0, 4, 4, 6], dtype=np.int32)
HIGH_M = np.array([2, 4, 4, 4, 6, 6, 7], dtype=np.int32)
NEAR = [[1], [3, 3, 7], [1, 7], [3, 1, 3], [0], [1], []]


def test_neighbours() -> None:
    many_B, near_P = neighbours(Chunk(IDS_M, LOW_M, HIGH_M), np.arange(1, 7))
    assert many_B.tolist() == [3, 2, 3, 1, 1, 0]
    assert near_P.tolist() == [id for near in NEAR[1:] for id in near]


@pytest.mark.parametrize("cbow", [False, True])
def test_the_gradient_is_torchs_of_the_formula(cbow: bool) -> None:
    tokens = gathered([np.arange(V - 2), np.repeat(IDS_M, 9)], V, 1e9)
    solver, rng = Batches(tokens, SETTINGS, cbow), np.random.default_rng(2)
    examples = solver.examples(Chunk(IDS_M, LOW_M, HIGH_M), np.arange(7), rng)
    tables = Tables(*rng.normal(size=(2, V, D)))
    found = gradient(tables, examples)

    w, w_ = (torch.from_numpy(t).requires_grad_() for t in tables)
    pairs = [(w[near].mean(0), o) for near, o in zip(NEAR, IDS_M, strict=True) if near]
    if not cbow:
        pairs = [(w[a], o) for a, near in zip(IDS_M, NEAR, strict=True) for o in near]
    assert len(pairs) == len(examples.targets_ET)
    objective = torch.zeros((), dtype=torch.float64)
    for (h, o), targets in zip(pairs, examples.targets_ET, strict=True):
        assert targets[0] == o
        objective -= F.logsigmoid(h @ w_[int(o)])
        for n in targets[1:]:
            if n != o:
                objective -= F.logsigmoid(-h @ w_[int(n)])
    assert (examples.targets_ET[:, 1:] == examples.targets_ET[:, :1]).any()
    objective.backward()
    assert found.value == pytest.approx(objective.item(), rel=1e-6)  # 1 / n is in float32
    for rows, part, whole in (
        (found.rows, found.main, w.grad),
        (found.columns, found.context, w_.grad),
    ):
        dense = np.zeros((V, D))
        dense[rows] = part
        np.testing.assert_allclose(dense, whole, rtol=1e-5, atol=1e-6)


def test_negatives_are_drawn_by_the_power_of_the_frequencies() -> None:
    tokens = gathered([np.repeat(np.arange(4), [1000, 100, 10, 1])], 6, 1e9)
    solver = Batches(tokens, SETTINGS._replace(negatives=20_000), True)
    chunk = Chunk(np.array([0, 1]), np.array([0, 0]), np.array([2, 2]))
    targets_ET = solver.examples(chunk, np.arange(2), np.random.default_rng(0)).targets_ET
    met_V = np.bincount(targets_ET[:, 1:].reshape(-1), minlength=6) / 40_000
    expected_V = np.array([1000, 100, 10, 1, 0, 0]) ** 0.75
    np.testing.assert_allclose(met_V, expected_V / expected_V.sum(), atol=5 * 0.5 / 40_000**0.5)


def test_batches_are_short_where_a_token_is_frequent_or_the_rate_high() -> None:
    assert most_tokens(np.array([0.1, 0.5]), 0.025, 1.6, 1000) == 128
    assert most_tokens(np.array([0.1, 0.5]), 0.1, 1.6, 1000) == 32
    assert most_tokens(np.array([1e-6]), 0.1, 1.6, 1000) == 1000
    assert most_tokens(np.array([500.0]), 0.1, 1.6, 1000) == 1
