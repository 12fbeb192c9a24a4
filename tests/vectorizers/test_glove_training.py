from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import sparse

from lm_research.vectorizers import glove_training
from lm_research.vectorizers.glove_training import Cells, gradient, initial_table, train

V, D = 7, 4


def some_counts(size: int = V, share: float = 0.6) -> sparse.csr_array:
    rng = np.random.default_rng(0)
    counts_VV = np.triu(rng.random((size, size)) * 200 * (rng.random((size, size)) < share))
    return sparse.csr_array(counts_VV + counts_VV.T)


def test_the_table_starts_within_a_half_over_the_width() -> None:
    main_VE, context_VE = initial_table(2000, D, np.random.default_rng(0))
    assert main_VE.shape == context_VE.shape == (2000, D + 2)
    assert main_VE.dtype == context_VE.dtype == np.float32
    assert np.all(main_VE[:, D + 1] == 1)
    assert np.all(context_VE[:, D] == 1)
    drawn = np.concatenate([main_VE[:, : D + 1], np.delete(context_VE, D, 1)])
    assert -0.5 / D <= drawn.min() < -0.499 / D
    assert 0.499 / D < drawn.max() <= 0.5 / D
    assert drawn.mean() == pytest.approx(0, abs=0.01 / D)
    assert np.unique(drawn).size > 0.99 * drawn.size


@pytest.mark.parametrize("cached", [1024, 3])
def test_gradient_equals_autograd_of_the_published_objective(
    monkeypatch: pytest.MonkeyPatch, cached: int
) -> None:
    monkeypatch.setattr(glove_training, "_CACHED", cached)
    counts_VV = some_counts()
    cells = Cells(counts_VV, x_max=100, alpha=0.75)
    at_C = np.random.default_rng(1).permutation(len(cells))[:20]
    table = initial_table(V, D, np.random.default_rng(2))
    main, context = (torch.from_numpy(part.astype(np.float64)) for part in table)
    w, b = main[:, :D].requires_grad_(), main[:, D].clone().requires_grad_()
    w_, b_ = context[:, :D].requires_grad_(), context[:, D + 1].clone().requires_grad_()
    objective = torch.zeros((), dtype=torch.float64)
    for i, j in zip(cells.rows[at_C], cells.columns[at_C], strict=True):
        x = torch.tensor(counts_VV[i, j])
        f = min(1, (x / 100) ** 0.75)
        objective = objective + f * (w[i] @ w_[j] + b[i] + b_[j] - torch.log(x)) ** 2
    objective.backward()

    step = gradient(table, cells, at_C)
    np.testing.assert_allclose(step.value, objective.item(), rtol=1e-5)
    everything = gradient(table, cells, np.arange(len(cells))).value / len(cells)
    settings = {"x_max": 100, "alpha": 0.75, "batch_size": 3, "seed": 2}
    _, objectives = train(counts_VV, D, epochs=2, learning_rate=1e-30, **settings)
    assert objectives == pytest.approx([everything] * 2, rel=1e-5)
    zero = torch.zeros(V, 1)
    expected_main = torch.cat([w.grad, b.grad[:, None], zero], 1)
    expected_context = torch.cat([w_.grad, zero, b_.grad[:, None]], 1)
    for expected, rows, found in (
        (expected_main, step.rows, step.main),
        (expected_context, step.columns, step.context),
    ):
        whole = np.zeros((V, D + 2))
        whole[rows] = found
        np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-4)


def test_the_objective_falls_to_nothing_where_it_can() -> None:
    """With as many dimensions as tokens, the model can explain every co-occurrence."""
    settings = {"x_max": 100, "alpha": 0.75, "learning_rate": 0.1, "batch_size": 16, "seed": 0}
    vectors_VD, objectives = train(some_counts(), V, epochs=60, **settings)
    assert vectors_VD.shape == (V, V)
    assert all(later < earlier for earlier, later in pairwise(objectives[:10]))
    assert objectives[-1] < 0.01 * objectives[0]


def test_analogies_are_parallelograms() -> None:
    """Tokens of two traits, each of which multiplies the odds of every context: a - b = c - d."""
    rng = np.random.default_rng(0)
    rows, columns, contexts = 3, 4, 20
    row, column = rng.normal(size=(rows, 1, contexts)), rng.normal(size=(columns, contexts))
    odds = np.exp(row + column).reshape(rows * columns, contexts)
    near = 20_000 * odds / odds.sum(1, keepdims=True)
    counts_VV = sparse.block_array([[None, near], [near.T, None]]).tocsr()
    settings = {"x_max": 100, "alpha": 0.75, "learning_rate": 0.1, "batch_size": 99, "seed": 0}
    vectors_VD, _ = train(counts_VV, 10, epochs=150, **settings)

    word_D = vectors_VD[: rows * columns].reshape(rows, columns, -1)
    right = []
    for i, j, k, m in np.ndindex(rows, columns, rows, columns):
        if i != k and j != m:
            guess_D = word_D[k, j] - word_D[i, j] + word_D[i, m]
            score = word_D @ guess_D / np.linalg.norm(word_D, axis=-1)
            score[[i, i, k], [j, m, j]] = -np.inf
            right.append(np.unravel_index(score.argmax(), score.shape) == (k, m))
    assert len(right) == 72
    assert np.all(right)


@pytest.mark.parametrize("cached", [1024, 5])
@pytest.mark.parametrize(
    ("size", "batch_size", "met"),
    [(V, 1, 1), (V, 16, 1), (30, 10, 10), (30, 1000, 900 // 64)],  # an epoch has 64 steps
)
def test_training_is_plain_adagrad(
    monkeypatch: pytest.MonkeyPatch, size: int, batch_size: int, met: int, cached: int
) -> None:
    monkeypatch.setattr(glove_training, "_CACHED", cached)
    counts_VV = some_counts(size, 0.6 if size == V else 1)
    settings = {"x_max": 100, "alpha": 0.75, "learning_rate": 0.05, "seed": 4}
    vectors_VD, _ = train(counts_VV, D, epochs=2, batch_size=batch_size, **settings)

    rng = np.random.default_rng(4)
    cells = Cells(counts_VV, 100, 0.75)
    main, context = (torch.from_numpy(part) for part in initial_table(size, D, rng))
    parameters = [main[:, : D + 1], torch.cat([context[:, :D], context[:, D + 1 :]], 1)]
    w, w_ = (torch.nn.Parameter(part.clone()) for part in parameters)
    optimizer = torch.optim.Adagrad([w, w_], lr=0.05, initial_accumulator_value=1e-10, eps=0)
    log_C, weight_C = torch.from_numpy(cells.log), torch.from_numpy(cells.weight)
    for order in (rng.permutation(len(cells)) for _ in range(2)):
        for c in np.split(order, range(met, len(order), met)):
            i, j = w[cells.rows[c]], w_[cells.columns[c]]
            error_C = (i[:, :D] * j[:, :D]).sum(1) + i[:, D] + j[:, D] - log_C[c]
            optimizer.zero_grad()
            (weight_C[c] @ error_C**2).backward()
            optimizer.step()
    np.testing.assert_allclose(vectors_VD, (w + w_)[:, :D].detach(), rtol=1e-4, atol=1e-5)
