"""Steps on rows against PyTorch's dense optimizers, its SparseAdam, and their own continuation."""

import copy
from functools import partial

import numpy as np
import pytest
import torch

from lm_research.tasks import row_steps
from lm_research.tasks.clipping import clip_entries, clip_gradients
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.sparse_adam import SparseAdam, SparseAdamW
from lm_research.tasks.sparse_optimizers import SparseAdadelta, SparseAdagrad, SparseSGD, obstacle
from lm_research.vectorizers import tables
from lm_research.vectorizers.embedding import Embedding

V, D = 90, 5
BOUNDS = {torch.float32: (2e-5, 1e-5), torch.float64: (1e-12, 1e-13)}
PAIRS = {
    "sgd": (partial(SparseSGD, lr=0.1), partial(torch.optim.SGD, lr=0.1)),
    "adagrad": (
        partial(SparseAdagrad, lr=0.1, lr_decay=0.01, initial_accumulator_value=0.1),
        partial(torch.optim.Adagrad, lr=0.1, lr_decay=0.01, initial_accumulator_value=0.1),
    ),
    "adadelta": (
        partial(SparseAdadelta, lr=0.9, rho=0.9),
        partial(torch.optim.Adadelta, lr=0.9, rho=0.9),
    ),
    "adam": (partial(SparseAdam, lr=0.01), partial(torch.optim.Adam, lr=0.01)),
    "adam_l2": (
        partial(SparseAdam, lr=0.01, weight_decay=0.1),
        partial(torch.optim.Adam, lr=0.01, weight_decay=0.1),
    ),
    "adamw": (
        partial(SparseAdamW, lr=0.01, weight_decay=0.3),
        partial(torch.optim.AdamW, lr=0.01, weight_decay=0.3),
    ),
}


@pytest.fixture(params=[True, False], ids=["numba", "torch"])
def way(request, monkeypatch) -> None:
    for module in (tables, row_steps):
        monkeypatch.setattr(module, "has_numba", lambda: request.param)


class Pair(torch.nn.Module):
    """A table, and a parameter that is none."""

    def __init__(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding, self.head = Embedding(V, D), torch.nn.Linear(D, 2)
        self.to(dtype)

    def loss(self, step: int) -> torch.Tensor:
        """Rows of Zipf's kind; some are read once in a while, half of them early on and no more."""
        generator = torch.Generator().manual_seed(step)
        reach = V if step < 20 else V // 2
        ids_BT = (torch.rand(3, 4, generator=generator) ** 3 * reach).long()
        return self.head(self.embedding(ids_BT)).sin().square().mean() * (1 + step % 3)


def train(module: Pair, optimizer: torch.optim.Optimizer, steps: range) -> None:
    """A rate that rises, falls, and is 0 at first."""
    for step in steps:
        for group in optimizer.param_groups:
            rate = group.setdefault("initial_lr", group["lr"])
            group["lr"] = rate * min(step / 10, 1.0) * (1 - step / 2000)
        optimizer.zero_grad()
        module.loss(step).backward()
        optimizer.step()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_the_dense_optimizer(name: str, dtype: torch.dtype) -> None:
    ours, theirs = Pair(dtype), Pair(dtype)
    make, dense = PAIRS[name]
    fused = {} if name == "adadelta" else {"fused": True}  # which PyTorch's has not
    one, other = make(ours.parameters(), **fused), dense(theirs.parameters())
    for steps in (range(7), range(7, 400)):
        train(ours, one, steps)
        train(theirs, other, steps)
        rtol, atol = BOUNDS[dtype]
        state, expected = one.state_dict()["state"], other.state_dict()["state"]
        assert ours.embedding.weight.grad.is_sparse
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=rtol, atol=atol)
        for key in ("step", "exp_avg", "exp_avg_sq", "sum"):
            if key in expected.get(0, {}):
                torch.testing.assert_close(state[0][key], expected[0][key], rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("betas", [[0, 0.9], [0.95, 0.9], [0.5, 0.0]])
def test_any_betas(betas: list[float]) -> None:
    """On gradients that are given: where weights make them, betas as small as these amplify
    rounding, and PyTorch's own fused and unfused steps part as far."""
    ours, theirs = Embedding(V, D).double(), Embedding(V, D).double()
    theirs.load_state_dict(ours.state_dict())
    one = SparseAdam(ours.parameters(), lr=0.01, betas=betas)
    other = torch.optim.Adam(theirs.parameters(), lr=0.01, betas=tuple(map(float, betas)))
    generator = torch.Generator().manual_seed(0)
    for step in range(200):
        ids_BT = torch.randint(V if step < 9 else 20, (2, 3), generator=generator)
        given_BTD = torch.randn(2, 3, D, generator=generator, dtype=torch.float64)
        for embedding, optimizer in ((ours, one), (theirs, other)):
            optimizer.zero_grad()
            (embedding(ids_BT) * given_BTD).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("way")
def test_lazy_is_pytorchs_sparse_adam() -> None:
    ours, theirs = Pair(), Pair()
    one = SparseAdam(ours.parameters(), lr=0.01, untouched="lazy")
    tables.row_reads(theirs.embedding.weight).sparse = True
    other = torch.optim.SparseAdam([theirs.embedding.weight], lr=0.01)
    dense = torch.optim.Adam(theirs.head.parameters(), lr=0.01)
    for step in range(100):
        train(ours, one, range(step, step + 1))
        dense.zero_grad()
        train(theirs, other, range(step, step + 1))
        for group in dense.param_groups:
            group["lr"] = other.param_groups[0]["lr"]
        dense.step()
    torch.testing.assert_close(ours.embedding.weight, theirs.embedding.weight)
    torch.testing.assert_close(ours.head.weight, theirs.head.weight)


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("name", ["adam", "adam_l2", "adamw"])
def test_the_bits_do_not_depend_on_when_rows_catch_up(name: str, dtype: torch.dtype) -> None:
    make, steps = PAIRS[name][0], 1200
    whole, often = Pair(dtype), Pair(dtype)
    train(whole, make(whole.parameters()), range(steps))
    optimizer = make(often.parameters())
    for step in range(steps):
        train(often, optimizer, range(step, step + 1))
        if step % 37 == 3:
            optimizer.state_dict()
        if step % 11 == 3:
            tables.bring_up_to_date(often)
    for mine, same in zip(whole.state_dict().values(), often.state_dict().values(), strict=True):
        assert torch.equal(mine, same)


@pytest.mark.parametrize("name", PAIRS)
def test_going_on_from_a_checkpoint_is_exact(name: str) -> None:
    make = PAIRS[name][0]
    whole, first, second = Pair(torch.float32), Pair(torch.float32), Pair(torch.float32, seed=1)
    train(whole, make(whole.parameters()), range(60))
    optimizer = make(first.parameters())
    train(first, optimizer, range(33))
    kept = copy.deepcopy((first.state_dict(), optimizer.state_dict()))
    resumed = make(second.parameters())
    train(second, resumed, range(5))  # whatever it had put off is of another life
    second.load_state_dict(kept[0])
    resumed.load_state_dict(kept[1])
    train(second, resumed, range(33, 60))
    for mine, same in zip(whole.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(mine, same)


def test_a_dense_optimizers_state_is_taken_up() -> None:
    whole, half = Pair(), Pair()
    dense = torch.optim.Adam(whole.parameters(), lr=0.01)
    train(whole, dense, range(20))
    half.load_state_dict(whole.state_dict())
    optimizer = SparseAdam(half.parameters(), lr=0.01)
    optimizer.load_state_dict(copy.deepcopy(dense.state_dict()))
    train(whole, dense, range(20, 50))
    train(half, optimizer, range(20, 50))
    torch.testing.assert_close(half.state_dict(), whole.state_dict())


def test_reading_a_row_in_evaluation_sees_dense_adams_value() -> None:
    ours, theirs = Pair(), Pair()
    train(ours, SparseAdam(ours.parameters(), lr=0.01), range(60))
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01), range(60))
    stale = (ours.embedding.weight - theirs.embedding.weight).abs().max()
    with torch.inference_mode():
        ids = torch.arange(V)[None]
        torch.testing.assert_close(ours.embedding(ids), theirs.embedding(ids))
    assert stale > 1e-4


def test_moments_that_have_faded_are_zero_and_settled_rows_stay() -> None:
    """The loops' shortcut for rows that no longer move, against every step taken."""
    rng = np.random.default_rng(0)
    start = [torch.from_numpy(rng.normal(size=(40, D)).astype(np.float32)) for _ in range(3)]
    start[1] *= 1e-3
    start[2] = start[2].square() * 1e-6
    steps = np.tile(np.float32([[1.0], [0.01], [1.5]]), 3000)
    settings = row_steps.AdamSettings(0.9, 0.99, 1e-8, 0.0)
    rows, firsts = np.arange(40), rng.integers(0, 2000, 40)
    fast = row_steps.AdamTables(*(t.clone() for t in start))
    row_steps.advance(rows, firsts, fast, steps, settings)
    slow = row_steps.AdamTables(*(t.clone() for t in start))
    for at in range(3000):
        now = rows[firsts <= at]
        one = np.zeros(len(now), np.int64)
        row_steps.advance(now, one, slow, steps[:, at : at + 1].copy(), settings)
    for mine, same in zip(fast, slow, strict=True):
        assert torch.equal(mine, same)
    assert not fast.m[firsts < 1900].any()


def test_clipping_counts_repeats_once() -> None:
    ours, theirs = Pair(), Pair()
    tables.row_reads(ours.embedding.weight).sparse = True
    for module in (ours, theirs):
        for step in range(3):  # accumulated
            module.loss(step).backward()
    norm = clip_gradients(ours.parameters(), 0.01)
    expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.01)
    torch.testing.assert_close(norm, expected)
    torch.testing.assert_close(ours.embedding.weight.grad.to_dense(), theirs.embedding.weight.grad)
    torch.testing.assert_close(ours.head.weight.grad, theirs.head.weight.grad)


def test_entries_are_clipped_after_repeats_are_added() -> None:
    ours, theirs = Pair(), Pair()
    tables.row_reads(ours.embedding.weight).sparse = True
    for module in (ours, theirs):
        for step in range(3):
            module.loss(step).backward()
    largest = theirs.embedding.weight.grad.abs().max().item() / 2
    clip_entries(ours.parameters(), largest)
    torch.nn.utils.clip_grad_value_(theirs.parameters(), largest)
    torch.testing.assert_close(ours.embedding.weight.grad.to_dense(), theirs.embedding.weight.grad)
    torch.testing.assert_close(ours.head.weight.grad, theirs.head.weight.grad)
    assert theirs.embedding.weight.grad.abs().max() == pytest.approx(largest)


def test_accumulated_gradients_are_one_step() -> None:
    ours, theirs = Pair(), Pair()
    one = SparseAdam(ours.parameters(), lr=0.01)
    other = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for first in range(0, 30, 3):
        for module, optimizer in ((ours, one), (theirs, other)):
            optimizer.zero_grad()
            for step in range(first, first + 3):
                module.loss(step).backward()
            optimizer.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_what_cannot_be_combined_is_refused(make_task) -> None:
    with pytest.raises(ValueError, match=r"weight_decay is 0.1.*untouched=deferred"):
        SparseAdam(Pair().parameters(), weight_decay=0.1, untouched="lazy")
    with pytest.raises(ValueError, match="eps is 0"):
        SparseAdamW(Pair().parameters(), eps=0)
    module = Pair()
    optimizer = SparseSGD(module.parameters())
    module.embedding.weight.sum().backward()
    with pytest.raises(RuntimeError, match="read_whole"):
        optimizer.step()


def test_a_shared_matrix_is_dense(make_task) -> None:
    task: LanguageModeling = make_task(
        vectorizer=Embedding(11, 8), optimizer=SparseAdam, tie_weights=True
    )
    optimizer = task.configure_optimizers()["optimizer"]
    assert optimizer.tables == []
    assert tables.row_reads(task.vectorizer.weight) is None


def test_other_numbers_and_devices_fall_back_to_dense_and_say_why(caplog) -> None:
    module = Pair(torch.bfloat16)
    optimizer = SparseAdam(module.parameters())
    assert optimizer.tables == []
    assert "bfloat16" in caplog.text
    module.loss(0).backward()
    optimizer.step()
    assert not module.embedding.weight.grad.is_sparse
    assert "it is on meta" in (obstacle(torch.empty(4, 2, device="meta")) or "")
    assert obstacle(torch.empty(4, 2)) is None
