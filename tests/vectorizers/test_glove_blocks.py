from collections import Counter

import numpy as np
import pytest
import torch
from scipy import sparse

from lm_research.vectorizers.compiled import compiled
from lm_research.vectorizers.glove import GloVe
from lm_research.vectorizers.glove_blocks import blocks, deal, initial_rows, train_blocks
from lm_research.vectorizers.glove_loops import compiled_run, shuffle
from lm_research.vectorizers.glove_torch import train_torch
from lm_research.vectorizers.glove_training import train

V, D = 40, 6
SETTINGS = {"x_max": 100.0, "alpha": 0.75, "epochs": 2, "learning_rate": 0.05, "seed": 3}


def some_counts(size: int = V) -> sparse.csr_array:
    rng = np.random.default_rng(0)
    counts_VV = np.triu(rng.random((size, size)) * 200 * (rng.random((size, size)) < 0.4))
    return sparse.csr_array(counts_VV + counts_VV.T)


def test_tokens_are_dealt_evenly() -> None:
    weights_V = 1000 / np.arange(1, 501)
    loads = np.bincount(deal(weights_V, 4), weights_V, minlength=4)
    assert loads.max() < 1.01 * loads.mean()


def test_blocks_hold_every_cell_once_where_it_belongs() -> None:
    counts_VV = some_counts()
    cells, starts, parts = blocks(counts_VV, 100, 0.75, parts=4)
    part_V = deal(np.diff(counts_VV.indptr), 4)
    block_C = np.repeat(np.arange(parts * parts), np.diff(starts))
    assert np.array_equal(part_V[cells[:, 0]] * 4 + part_V[cells[:, 1]], block_C)
    found = sparse.coo_array(
        (np.exp(cells.view(np.float32)[:, 2]), (cells[:, 0], cells[:, 1])), (V, V)
    )
    np.testing.assert_allclose(found.toarray(), counts_VV.toarray(), rtol=1e-5)
    weight_C = np.minimum(1, (counts_VV.toarray()[cells[:, 0], cells[:, 1]] / 100) ** 0.75)
    np.testing.assert_allclose(cells.view(np.float32)[:, 3], weight_C, rtol=1e-6)


def test_a_block_is_shuffled_evenly_and_its_neighbours_stay() -> None:
    """Every order of four cells is as likely as another (chi squared with 23 degrees: 58 at
    1e-4), by every salt and start anew."""
    shuffled, orders = compiled(shuffle), Counter[tuple[int, ...]]()
    for salt in range(2400):
        cells = np.repeat(np.arange(salt % 3 + 6, dtype=np.int32)[:, None], 4, axis=1)
        start = salt % 3 + 1
        shuffled(cells, start, start + 4, np.uint64(salt * 0x9E3779B9))
        assert (cells == cells[:, :1]).all()
        assert [*cells[:start, 0], *cells[start + 4 :, 0]] == [
            *range(start),
            *range(start + 4, len(cells)),
        ]
        orders[tuple(cells[start : start + 4, 0] - start)] += 1
    assert len(orders) == 24
    assert sum((n - 100) ** 2 / 100 for n in orders.values()) < 58


def test_a_pass_is_adagrad_by_torch_in_float64_on_the_published_objective() -> None:
    cells, starts, parts = blocks(some_counts(), 100, 0.75)
    rows = initial_rows(V, D, np.random.default_rng(1))
    w, w_ = (torch.from_numpy(r[:, : D + 1]).double().requires_grad_() for r in rows)
    values, chosen = np.zeros(parts * parts), np.random.default_rng(2).permutation(parts * parts)
    numbers = cells.view(np.float32)
    run = compiled_run()
    run(chosen, starts, cells, numbers, *rows, np.float32(0.05), np.uint64(9), values)

    optimizer = torch.optim.Adagrad([w, w_], lr=0.05, initial_accumulator_value=1.0, eps=0)
    total = 0.0
    for block in chosen:  # the cells lie in the order in which they were taken
        for at in range(starts[block], starts[block + 1]):
            i, j = w[cells[at, 0]], w_[cells[at, 1]]
            error = i[:D] @ j[:D] + i[D] + j[D] - float(numbers[at, 2])
            term = float(numbers[at, 3]) * error**2
            optimizer.zero_grad()
            term.backward()
            optimizer.step()
            total += term.item()
    assert values.sum() == pytest.approx(total, rel=1e-5)
    for found, expected in zip(rows, (w, w_), strict=True):
        np.testing.assert_allclose(found[:, : D + 1], expected.detach(), rtol=1e-4, atol=1e-5)


def test_the_number_of_threads_and_the_memory_change_no_bit() -> None:
    one, objectives = train_blocks(some_counts(), D, threads=1, **SETTINGS)
    for other in ({"threads": 2}, {"threads": 5}, {"threads": 2, "memory": 0}):
        again, the_same = train_blocks(some_counts(), D, **SETTINGS, **other)
        assert np.array_equal(one, again)
        assert objectives == the_same
    different, _ = train_blocks(some_counts(), D, threads=1, **{**SETTINGS, "seed": 4})
    assert not np.array_equal(one, different)


def test_without_moving_the_objective_is_the_formula() -> None:
    counts_VV = some_counts()
    settings = {**SETTINGS, "learning_rate": 1e-30}
    _, objectives = train_blocks(counts_VV, D, threads=2, **settings)
    rows = initial_rows(V, D, np.random.default_rng(3))
    main, context = (r[:, : D + 1].astype(np.float64) for r in rows)
    x = counts_VV.toarray()
    product = main[:, :D] @ context[:, :D].T + main[:, D:] + context[:, D]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.minimum(1, (x / 100) ** 0.75) * (product - np.log(x)) ** 2
    assert objectives == pytest.approx([terms[x > 0].mean()] * 2, rel=1e-5)


def test_torch_takes_the_same_steps_as_numpy() -> None:
    ours, objectives = train(some_counts(), D, batch_size=20, **SETTINGS)
    found, others = train_torch(some_counts(), D, batch_size=20, device="cpu", **SETTINGS)
    np.testing.assert_allclose(found, ours, rtol=1e-3, atol=1e-4)
    assert others == pytest.approx(objectives, rel=1e-4)
    assert not torch.are_deterministic_algorithms_enabled()


def test_without_numba_auto_is_numpy_and_numba_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (GloVe(3, 2).solver, GloVe(3, 2).learning_rate) == ("numba", 0.05)
    monkeypatch.setattr("lm_research.vectorizers.compiled.has_numba", lambda: False)
    assert (GloVe(3, 2).solver, GloVe(3, 2).learning_rate) == ("numpy", 0.1)
    with pytest.raises(ValueError, match=r"solver is 'numba', which is not installed: pip install"):
        GloVe(3, 2, solver="numba")
