"""A mixture sampled while training: shares, caps, places; a batch is a function of its number."""

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.config.mixture_rules import line_at
from lm_research.data.document import DataError
from lm_research.data.mixture_batches import MixtureBatches
from lm_research.data.mixture_plan import SamplingPlan, SamplingRule, StreamSize, systematic

SIZES = {"a": StreamSize(4000, 4000), "b": StreamSize(1000, 3000), "c": StreamSize(700, 700)}


def plan(steps=400, batch_size=8, window=4, seed=3, sizes=SIZES, **rule):
    rule = {"weights": {"a": 1, "b": 1, "c": 2}, "run_windows": 5, **rule}
    return SamplingPlan(SamplingRule(**rule), sizes, batch_size, window, steps, seed)


def streams(sizes=SIZES):
    """Every id says which source it is of, and where."""
    return {
        name: np.array([*range(size.tokens), 0]) + 10_000 * number
        for number, (name, size) in enumerate(sizes.items(), start=1)
    }


def rows(batch):
    return torch.cat([batch.ids_BT, batch.targets_BT[:, -1:]], dim=1).tolist()


weights = st.dictionaries(st.sampled_from("abc"), st.floats(0.05, 9), min_size=1)


@given(
    weights=weights,
    steps=st.integers(1, 3000),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_constant_shares_are_met_to_a_few_lanes_of_one_run(weights, steps, batch_size, seed):
    sizes = {name: StreamSize(500, 500) for name in weights}
    made = plan(steps, batch_size, seed=seed, sizes=sizes, weights=weights)
    assert made.counts_SM.sum(1).tolist() == [batch_size] * len(made.counts_SM)
    total = math.fsum(weights.values())
    asked_M = np.array([weights[name] / total for name in made.members])
    lanes_SM = np.cumsum(made.counts_SM, axis=0)
    runs_S = np.arange(1, len(lanes_SM) + 1)[:, None]
    off = abs(lanes_SM - asked_M * batch_size * runs_S)
    # The discrepancy of the golden ratio's multiples is below 1 + log2(S), at either edge.
    assert (off <= 2 * (1 + np.log2(runs_S + 1))).all()


@given(st.lists(st.floats(0, 5), min_size=1, max_size=6).filter(any), st.integers(1, 50))
def test_systematic_sampling_gives_each_share_its_floor_or_ceiling(shares, lanes):
    shares_M = np.array(shares)
    for point in (0.0, 0.3, 0.999):
        counts_M = systematic(shares_M, lanes, point)
        wanted_M = shares_M / math.fsum(shares) * lanes
        assert counts_M.sum() == lanes
        assert (abs(counts_M - wanted_M) < 1 + 1e-6).all()
        assert not counts_M[shares_M == 0].any()


def test_temperature_is_the_power_of_the_bytes():
    def shares(**rule):
        made = plan(weights={"a": 1, "b": 1, "c": 1}, **rule)
        return made.asked_SM[0]

    bytes_M = np.array([4000, 3000, 700])
    assert shares(temperature=1) == pytest.approx(bytes_M / bytes_M.sum())
    assert shares(temperature=3) == pytest.approx(bytes_M ** (1 / 3) / (bytes_M ** (1 / 3)).sum())
    assert shares(temperature=1e9) == pytest.approx([1 / 3] * 3)
    assert shares(temperature=0.01) == pytest.approx([1, 0, 0], abs=1e-9)
    assert shares() == pytest.approx([1 / 3] * 3)


def test_weights_are_of_bytes_and_lanes_of_tokens():
    # b has three bytes to a token: a third of the tokens are half of the bytes of a and b.
    made = plan(steps=5000, weights={"a": 1, "b": 1})
    found = made.achieved(5000)
    assert found["b"]["share"] == pytest.approx(0.5, abs=0.01)
    tokens_M = made.tokens_read(5000)
    assert tokens_M[1] / tokens_M.sum() == pytest.approx(0.25, abs=0.01)


def test_a_schedule_is_piecewise_linear_in_the_budget():
    schedule = {"a": [[0, 1], [0.5, 0], [1, 0]], "c": [[0.25, 0], [0.75, 3]]}
    made = plan(steps=1000, weights={"a": 1, "b": 1, "c": 0}, schedule=schedule)
    middle_S = (np.arange(200) + 0.5) / 200
    heights_SM = np.array(
        [[line_at(schedule["a"], t), 1, line_at(schedule["c"], t)] for t in middle_S]
    )
    assert made.asked_SM == pytest.approx(heights_SM / heights_SM.sum(1, keepdims=True))
    assert not made.counts_SM[100:, 0].any()
    assert not made.counts_SM[:50, 2].any()
    halfway = made.achieved(500)
    assert halfway["a"]["share"] == pytest.approx(halfway["a"]["asked"], abs=0.01)


def test_a_capped_source_ends_and_the_others_share_what_it_had():
    made = plan(steps=2000, epochs={"c": 4})
    read = made.achieved(2000)
    assert 3.8 < read["c"]["epochs"] <= 4
    end = int(np.flatnonzero(made.counts_SM[:, 2])[-1])
    late_M = made.counts_SM[end + 1 :].sum(0)
    assert late_M[2] == 0
    # Equal bytes of a and b: three times as many tokens of a.
    assert late_M[0] / late_M.sum() == pytest.approx(0.75, abs=0.02)
    assert read["c"]["share"] < read["c"]["asked"]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"epochs": 1}, r"no source to read after [\d,]+ of 64,000 tokens\n.*train_tokens=\d+"),
        ({"epochs": {"c": 4}, "on_exhausted": "stop"}, r"c has had its 4 epochs after \d+% of"),
        ({"epochs": {"c": 0.01}}, r"0.01 epochs of c are 7 tokens, and a lane reads 20 in a row"),
    ],
)
def test_caps_that_cannot_be_kept_are_told_before_training(rule, told):
    with pytest.raises(DataError, match=told):
        plan(steps=2000, **rule)


def test_a_source_without_text_is_told():
    with pytest.raises(DataError, match=r"data\.weights\.b: the source has no training text"):
        plan(sizes={**SIZES, "b": StreamSize(0, 0)})


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 7))
@settings(max_examples=25, deadline=None)
def test_a_window_is_of_one_source_and_continues_the_last_unless_it_says_fresh(seed, size, windows):
    made = plan(steps=60, batch_size=size, seed=seed, run_windows=windows)
    before = None
    for step, batch in enumerate(MixtureBatches(streams(), made)):
        assert batch.ids_BT.dtype == torch.int64
        assert batch.fresh == (step % windows == 0)
        for row in rows(batch):
            (source,) = {token // 10_000 for token in row}
            length = list(SIZES.values())[source - 1].tokens
            places = [token % 10_000 for token in row]
            assert places == [(places[0] + i) % length for i in range(len(places))]
        assert batch.fresh or torch.equal(batch.ids_BT[:, 0], before)
        before = batch.targets_BT[:, -1]


def test_no_piece_comes_twice_before_all_came_once():
    made = plan(steps=1000)
    seen = {name: np.zeros(size.tokens, int) for name, size in SIZES.items()}
    for batch in MixtureBatches(streams(), made):
        for token in batch.ids_BT.flatten().tolist():
            seen["abc"[token // 10_000 - 1]][token % 10_000] += 1
    for name, counts in seen.items():
        epochs = made.achieved(1000)[name]["epochs"]
        assert counts.sum() == pytest.approx(epochs * len(counts))
        pieces = made.pieces_M[made.members.index(name)]
        assert counts.max() <= math.ceil(epochs * len(counts) / (pieces * made.piece))


@given(st.integers(0, 40), st.sampled_from([1, 2, 4]), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_a_batch_is_a_function_of_its_number_whoever_reads_it(done, world_size, seed):
    made = plan(steps=41, seed=seed, epochs={"c": 4}, schedule={"a": [[0, 3], [1, 0.5]]})
    whole = [(rows(b), b.fresh) for b in MixtureBatches(streams(), made)]
    parts = []
    for rank in range(world_size):
        loader = MixtureBatches(streams(), made, rank, world_size)
        loader.load_state_dict({"step": done})
        parts.append(list(loader))
    for (lanes, fresh), *shares in zip(whole[done:], *parts, strict=True):
        assert [row for share in shares for row in rows(share)] == [
            row for rank in range(world_size) for row in lanes[rank::world_size]
        ]
        assert {share.fresh for share in shares} == {fresh}
    loader = pickle.loads(pickle.dumps(MixtureBatches(streams(), made)))  # to a worker process
    assert rows(loader.batch(done)) == whole[done][0]


def test_lanes_that_cannot_be_dealt_out_evenly_are_an_error():
    with pytest.raises(DataError, match=r"budget\.batch_size=8 over 3 processes"):
        MixtureBatches(streams(), plan(), 0, 3)


def test_overfitting_repeats_the_first_batches():
    first = list(MixtureBatches(streams(), plan()))[:3]
    again = [MixtureBatches(streams(), plan(), overfit=3).batch(step) for step in range(9)]
    assert [rows(b) for b in again] == [rows(b) for b in first] * 3
    assert all(batch.fresh for batch in again)


def test_a_stream_shorter_than_a_run_is_read_round():
    sizes = {"a": StreamSize(7, 7)}
    made = plan(steps=9, sizes=sizes, weights={"a": 1})
    for row in rows(MixtureBatches(streams(sizes), made).batch(3)):
        assert [b - a for a, b in pairwise(row)].count(1) >= len(row) - 2
    assert made.achieved(9)["a"]["epochs"] == pytest.approx(9 * 8 * 4 / 7)
