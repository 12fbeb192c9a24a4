"""Windows of random length: their distribution, lanes, processes, and continuing exactly."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm_research.data.document_batches import tokens_seen
from lm_research.data.random_lengths import RandomLengthBatches


def split_of_length(length):
    """A stream that closes to a circle of ``length`` tokens, all different: 0 1 2 ... 0."""
    return SimpleNamespace(ids_N=np.array([*range(length), 0], np.uint32), name="train")


def batches(length, batch_size, window, steps, **options):
    options = {"seed": 0, **options}
    return RandomLengthBatches(split_of_length(length), batch_size, window, steps, **options)


def rows(batch):
    return torch.cat([batch.ids_BT, batch.targets_BT[:, -1:]], dim=1).tolist()


def told(batch):
    return rows(batch), batch.fresh, batch.tokens_seen, batch.rate


shapes = {
    "length": st.integers(1, 400),
    "batch_size": st.integers(1, 6),
    "window": st.integers(1, 30),
    "seed": st.integers(0, 99),
}


def test_lengths_are_distributed_as_the_authors_draw_them():
    """Against the same many draws by another generator, one at a time as in their loop."""
    loader = batches(1_000_000, 1, 70, 14_000)
    found = np.array([loader.size(step) for step in range(14_000)])
    rng = np.random.RandomState(5)
    drawn = [
        max(5, int(rng.normal(70 if rng.random_sample() < 0.95 else 70 / 2.0, 5)))
        for _ in range(14_000)
    ]
    assert found.mean() == pytest.approx(np.mean(drawn), abs=0.5)
    for share in (0.01, 0.04, 0.1, 0.25, 0.5, 0.75, 0.95, 0.99):
        assert np.quantile(found, share) == pytest.approx(np.quantile(drawn, share), abs=1.5)
    assert (found < 52).mean() == pytest.approx(0.05, abs=5 * (0.05 * 0.95 / 14_000) ** 0.5)
    assert batches(100_000, 1, 6, 1).size(0) >= 5
    short = batches(100_000, 1, 6, 1)
    assert {short.size(step) for step in range(300)} >= {5, 6, 10}


@given(**shapes)
def test_windows_follow_one_another_and_targets_the_ids(length, batch_size, window, seed):
    before = None
    for batch in batches(length, batch_size, window, 60, seed=seed):
        assert batch.ids_BT.dtype == batch.targets_BT.dtype == torch.int64
        assert torch.equal(batch.targets_BT, (batch.ids_BT + 1) % length)
        assert torch.equal(batch.targets_BT[:, :-1], batch.ids_BT[:, 1:])
        assert batch.fresh or torch.equal(batch.ids_BT[:, 0], before)
        assert batch.rate == batch.ids_BT.shape[1] / min(window, length)
        before = batch.targets_BT[:, -1]


@given(**shapes)
def test_a_pass_reads_no_token_twice_and_leaves_few_out(length, batch_size, window, seed):
    if length < batch_size * window:
        return  # lanes overlap then
    loader = batches(length, batch_size, window, 10_000, seed=seed)
    read, longest = [], 0
    for number in range(10_000):
        batch = loader.batch(number)
        if batch.fresh and number:
            break
        read += batch.targets_BT.flatten().tolist()
        longest = max(longest, batch.ids_BT.shape[1])
    longest = max(longest, loader.size(number), window + 25)
    assert len(set(read)) == len(read) > length - batch_size * longest - batch_size


def test_every_pass_cuts_elsewhere():
    loader = batches(3_000, 2, 70, 200)
    starts = [step for step in range(200) if loader.batch(step).fresh][:5]
    cuts = [[loader.size(a + i) for i in range(10)] for a in starts]
    assert len({tuple(c) for c in cuts}) == 5


@given(**shapes, world_size=st.sampled_from([1, 2]))
def test_processes_share_the_lanes_of_one(length, batch_size, window, seed, world_size):
    given_ = length, 2 * batch_size, window, 12
    whole = batches(*given_, seed=seed)
    parts = [
        batches(*given_, seed=seed, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert sorted(row for share in shares for row in rows(share)) == sorted(rows(batch))
        assert {told(share)[1:] for share in shares} == {told(batch)[1:]}


@given(**shapes, done=st.integers(0, 25))
def test_continuing_is_exact_at_every_step(length, batch_size, window, seed, done):
    whole = list(map(told, batches(length, batch_size, window, 25, seed=seed)))
    first = batches(length, batch_size, window, 25, seed=seed)
    iterator = iter(first)
    head = [told(next(iterator)) for _ in range(done)]
    second = batches(length, batch_size, window, 25, seed=seed)
    second.load_state_dict(first.state_dict())
    assert head + list(map(told, second)) == whole
    assert list(map(told, second)) == whole


@given(**shapes, overfit=st.integers(0, 4), seen=st.integers(1, 30))
def test_tokens_are_counted_as_they_are_read(length, batch_size, window, seed, overfit, seen):
    loader = batches(length, batch_size, window, seen, seed=seed, overfit=overfit)
    count = 0
    for step, batch in enumerate(loader, start=1):
        count += batch.ids_BT.numel()
        assert count == batch.tokens_seen == loader.tokens(step) == tokens_seen(batch, step, 1)
    assert loader.tokens(seen) == count


@given(**shapes, tokens=st.integers(1, 5000))
def test_steps_for_a_budget_are_the_fewest_that_read_it(length, batch_size, window, seed, tokens):
    loader = batches(length, batch_size, window, 1, seed=seed)
    steps = loader.steps_for(tokens)
    assert loader.tokens(steps) >= tokens > loader.tokens(steps - 1)


@given(**shapes, overfit=st.integers(1, 4))
def test_overfitting_repeats_the_first_batches(length, batch_size, window, seed, overfit):
    first = list(batches(length, batch_size, window, overfit, seed=seed))
    again = list(batches(length, batch_size, window, 10, seed=seed, overfit=overfit))
    assert [rows(b) for b in again] == [rows(first[i % overfit]) for i in range(10)]
    assert [b.rate for b in again] == [first[i % overfit].rate for i in range(10)]
    assert all(batch.fresh for batch in again)
