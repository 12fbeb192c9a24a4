"""Batches: lanes, windows, passes, processes, and continuing exactly."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm_research.data.batches import (
    Batch,
    Batches,
    EvaluationWindows,
    RandomBatches,
    StridedWindows,
    TrainingBatches,
)
from lm_research.data.document import DataError
from lm_research.data.module import TextDataModule
from lm_research.data.preparation import PreparedText
from lm_research.data.token_store import StoreWriter, TokenStore
from lm_research.text.byte import ByteTokenizer


def split_of_length(length: int) -> SimpleNamespace:
    """A stream that closes to a circle of ``length`` tokens, all different: 0 1 2 ... 0."""
    return SimpleNamespace(ids_N=np.array([*range(length), 0], np.uint16), name="train")


def batches(
    length: int, batch_size: int, window: int, steps: int, kind=TrainingBatches, **options
) -> Batches:
    options = {"seed": 0, **options}
    return kind(split_of_length(length), batch_size, window, steps, **options)


def rows(batch: Batch) -> list[list[int]]:
    return torch.cat([batch.ids_BT, batch.targets_BT[:, -1:]], dim=1).tolist()


def test_a_stream_of_ten_tokens_by_hand() -> None:
    # Two lanes of five tokens, two windows of two tokens in each (the fifth is left to another
    # pass), from an offset that each pass draws anew.
    found = list(batches(10, batch_size=2, window=2, steps=4, seed=7))
    for turn in (0, 1):
        start = int(np.random.default_rng((7, turn)).integers(10))
        circle = [(start + i) % 10 for i in range(20)]
        first, second = found[2 * turn : 2 * turn + 2]
        assert rows(first) == [circle[0:3], circle[5:8]]
        assert rows(second) == [circle[2:5], circle[7:10]]
        assert (first.fresh, second.fresh) == (True, False)


def test_lanes_that_do_not_move_are_alike_in_every_pass() -> None:
    found = list(batches(10, batch_size=2, window=2, steps=4, seed=7, moves=False))
    for first, second in (found[:2], found[2:]):
        assert rows(first) == [[0, 1, 2], [5, 6, 7]]
        assert rows(second) == [[2, 3, 4], [7, 8, 9]]
        assert (first.fresh, second.fresh) == (True, False)


shapes = {
    "length": st.integers(1, 300),
    "batch_size": st.integers(1, 9),
    "window": st.integers(1, 40),
    "seed": st.integers(0, 99),
}

kinds = st.sampled_from([TrainingBatches, RandomBatches])


@given(**shapes, steps=st.integers(1, 40), kind=kinds)
def test_targets_are_the_ids_one_step_later(length, batch_size, window, seed, steps, kind) -> None:
    found = list(batches(length, batch_size, window, steps, kind, seed=seed))
    assert len(found) == steps
    for batch in found:
        assert batch.ids_BT.dtype == batch.targets_BT.dtype == torch.int64
        assert batch.ids_BT.shape == batch.targets_BT.shape == (batch_size, min(window, length))
        assert torch.equal(batch.targets_BT, (batch.ids_BT + 1) % length)
        assert torch.equal(batch.targets_BT[:, :-1], batch.ids_BT[:, 1:])


@given(**shapes)
def test_a_window_continues_the_last_one_unless_it_says_fresh(
    length, batch_size, window, seed
) -> None:
    before = None
    for batch in batches(length, batch_size, window, 60, seed=seed):
        assert batch.fresh or torch.equal(batch.ids_BT[:, 0], before)
        before = batch.targets_BT[:, -1]


@given(**shapes)
def test_a_pass_reads_no_token_twice_and_leaves_few_out(length, batch_size, window, seed) -> None:
    if length < batch_size * window:
        return  # lanes overlap then
    loader = batches(length, batch_size, window, 10_000, seed=seed)
    read = []
    for number in range(loader.windows_per_pass):
        batch = loader.batch(number)
        assert batch.fresh == (number == 0)
        read += batch.targets_BT.flatten().tolist()
    assert loader.batch(loader.windows_per_pass).fresh
    assert len(set(read)) == len(read) > length - batch_size * window - batch_size


@given(**shapes)
def test_lanes_that_do_not_move_are_the_rows_of_the_text(length, batch_size, window, seed) -> None:
    if length < batch_size * window:
        return
    loader = batches(length, batch_size, window, 10_000, seed=seed, moves=False)
    lane = length // batch_size
    text_BN = np.arange(batch_size * lane).reshape(batch_size, lane)
    for number in range(2 * loader.windows_per_pass):
        start = number % loader.windows_per_pass * window
        assert loader.batch(number).ids_BT.tolist() == text_BN[:, start : start + window].tolist()


@given(**shapes, unscored=st.integers(1, 30))
def test_windows_that_overlap_score_no_token_twice_and_leave_few_out(
    length, batch_size, window, seed, unscored
) -> None:
    if unscored >= window or length < batch_size * window:
        return
    loader = batches(length, batch_size, window, 10_000, seed=seed, overlap=unscored)
    stride, scored = window - unscored, []
    for number in range(loader.windows_per_pass):
        batch = loader.batch(number)
        assert batch.fresh
        assert batch.ids_BT.shape == (batch_size, window)
        scored += batch.targets_BT[:, unscored:].flatten().tolist()
    assert len(set(scored)) == len(scored) > length - batch_size * stride - batch_size
    one, two = (loader.batch(number).ids_BT for number in (0, 1))
    if loader.windows_per_pass > 1:
        assert torch.equal(one[:, stride:], two[:, :unscored])


def test_a_pass_has_bais_steps() -> None:
    """494 of 32 windows of 400 characters, 1,452 of 16 windows of 80 words."""
    for length, lanes, window, overlap, steps in (
        (5_059_550, 32, 400, 80, 494),
        (929_589, 16, 80, 40, 1_452),
    ):
        split = SimpleNamespace(ids_N=np.zeros(length + 1, np.uint16), name="train")
        loader = TrainingBatches(split, lanes, window, 1, 0, overlap=overlap)
        assert loader.windows_per_pass == steps


def test_nothing_left_to_score_is_an_error() -> None:
    with pytest.raises(DataError, match=r"task\.unscored=4 leaves nothing of a window of 3 tokens"):
        batches(3, batch_size=4, window=10, steps=1, overlap=4)


def test_every_token_is_read_as_often_as_any_other() -> None:
    counts = np.zeros(50)
    for batch in batches(50, batch_size=3, window=7, steps=4000):
        np.add.at(counts, batch.targets_BT.flatten().numpy(), 1)
    mean = counts.mean()  # 1,680 visits, in 2,000 passes that read 42 of 50 tokens
    assert abs(counts - mean).max() < 5 * np.sqrt(2000 * 0.84 * 0.16)


@given(
    **{**shapes, "batch_size": st.sampled_from([2, 4, 6])},
    world_size=st.sampled_from([1, 2]),
    kind=kinds,
)
def test_processes_share_the_lanes_of_one(
    length, batch_size, window, seed, world_size, kind
) -> None:
    whole = batches(length, batch_size, window, 12, kind, seed=seed)
    parts = [
        batches(length, batch_size, window, 12, kind, seed=seed, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for batch, *shares in zip(whole, *parts, strict=True):
        lanes = sorted(row for share in shares for row in rows(share))
        assert lanes == sorted(rows(batch))
        assert {share.fresh for share in shares} == {batch.fresh}
        assert {share.ids_BT.shape[0] for share in shares} == {batch_size // world_size}


@given(**shapes, done=st.integers(0, 25), kind=kinds)
def test_continuing_is_exact_at_every_step(length, batch_size, window, seed, done, kind) -> None:
    whole = list(batches(length, batch_size, window, 25, kind, seed=seed))
    first = batches(length, batch_size, window, 25, kind, seed=seed)
    iterator = iter(first)
    head = [next(iterator) for _ in range(done)]
    state = first.state_dict()
    second = batches(length, batch_size, window, 25, kind, seed=seed)
    second.load_state_dict(state)
    joined = head + list(second)
    assert [(rows(b), b.fresh) for b in joined] == [(rows(b), b.fresh) for b in whole]
    # Iterating again begins anew, whether or not the first iteration was asked for its end.
    assert [rows(b) for b in second] == [rows(b) for b in whole]
    iterator = iter(second)
    assert [rows(next(iterator)) for _ in range(25)] == [rows(b) for b in whole]
    assert [rows(b) for b in second] == [rows(b) for b in whole]


def test_what_was_finished_stays_finished_after_loading() -> None:
    loader = batches(50, 2, 5, 3)
    loader.load_state_dict({"step": 3})
    assert list(loader) == []
    assert len(list(loader)) == 3


def test_another_seed_reads_in_another_order() -> None:
    one, two = ([rows(b) for b in batches(200, 2, 5, 9, seed=seed)] for seed in (0, 1))
    assert one != two


@given(**shapes, overfit=st.integers(1, 4), kind=kinds)
def test_overfitting_repeats_the_first_batches(
    length, batch_size, window, seed, overfit, kind
) -> None:
    first = list(batches(length, batch_size, window, overfit, kind, seed=seed))
    again = list(batches(length, batch_size, window, 10, kind, seed=seed, overfit=overfit))
    assert [rows(b) for b in again] == [rows(first[i % overfit]) for i in range(10)]
    assert all(batch.fresh for batch in again)


def test_a_stream_shorter_than_a_window_shortens_the_window() -> None:
    (batch,) = batches(3, batch_size=4, window=10, steps=1)
    assert batch.ids_BT.shape == (4, 3)
    for row in rows(batch):
        assert sorted(row[:-1]) == [0, 1, 2]
        assert row[0] == row[-1]


def test_a_stream_of_one_empty_document() -> None:
    (batch,) = batches(1, batch_size=2, window=5, steps=1)
    assert rows(batch) == [[0, 0], [0, 0]]


def test_random_windows_begin_anywhere_as_often() -> None:
    counts = np.zeros(44)  # of 51 tokens in windows of seven and a target: 44 places
    for batch in batches(50, batch_size=4, window=7, steps=3000, kind=RandomBatches):
        assert batch.fresh
        np.add.at(counts, batch.ids_BT[:, 0].numpy(), 1)
    assert counts.sum() == 12_000
    mean = 12_000 / len(counts)
    assert abs(counts - mean).max() < 5 * np.sqrt(mean)


@pytest.mark.parametrize("kind", [TrainingBatches, RandomBatches])
def test_no_document_at_all_is_an_error(kind) -> None:
    with pytest.raises(DataError, match="the train split has no document"):
        batches(0, batch_size=2, window=5, steps=1, kind=kind)


def test_lanes_that_cannot_be_dealt_out_evenly_are_an_error() -> None:
    with pytest.raises(DataError, match=r"budget\.batch_size=5 over 2 processes.*multiple of 2"):
        batches(100, batch_size=5, window=5, steps=1, rank=0, world_size=2)


@given(st.integers(0, 60), st.integers(1, 70))
def test_evaluation_reads_every_token_once_in_order(length, window) -> None:
    windows = EvaluationWindows(split_of_length(length), window)
    pieces = list(windows)
    assert len(pieces) == len(windows)
    assert all(p.ids_BT.shape == p.targets_BT.shape == (1, p.ids_BT.numel()) for p in pieces)
    assert all(p.ids_BT.dtype == p.targets_BT.dtype == torch.int64 for p in pieces)
    assert all(p.ids_BT.numel() == window for p in pieces[:-1])
    assert [i for p in pieces for i in p.ids_BT[0].tolist()] == list(range(length))
    assert [i for p in pieces for i in p.targets_BT[0].tolist()] == [*range(1, length), 0][:length]
    assert [p.start for p in pieces] == list(range(0, length, window))
    assert [p.scored for p in pieces] == [p.ids_BT.numel() for p in pieces]


@given(
    length=st.integers(1, 90),
    window=st.integers(1, 20),
    stride=st.integers(1, 20),
    rows_at_once=st.integers(1, 5),
)
def test_strided_windows_score_every_token_once_after_as_much_as_there_is(
    length, window, stride, rows_at_once
) -> None:
    stride = min(stride, window)
    windows = StridedWindows(split_of_length(length), window, stride, rows_at_once)
    pieces, scored = list(windows), []
    assert len(pieces) == len(windows)
    for piece in pieces:
        assert len(piece.ids_BT) <= rows_at_once
        assert torch.equal(piece.targets_BT[:, :-1], piece.ids_BT[:, 1:])
        steps = piece.ids_BT.shape[1]
        assert steps == min(window, length)
        assert piece.start == len(scored)
        for ids_T in piece.ids_BT:
            first = steps - piece.scored
            scored += ids_T[first:].tolist()
            # What is new begins after the context that there is, or that was asked for.
            assert first >= min(int(ids_T[first]), window - stride)
    assert scored == list(range(length))


@pytest.mark.parametrize("stride", [0, 6])
def test_a_stride_beyond_the_window_is_refused(stride) -> None:
    with pytest.raises(ValueError, match=rf"stride is {stride}; .*\[1, 5\]"):
        StridedWindows(split_of_length(9), 5, stride)


def store(folder: Path, language: str = "en") -> TokenStore:
    writer = StoreWriter(folder / f"store-{language}", 257, 0)
    writer.add("train", np.arange(1, 200), 199, 1, 0.0)
    return writer.finish({"language": language})


def data_module(folder: Path, language: str = "en", **options) -> TextDataModule:
    prepared = PreparedText(store(folder, language), ByteTokenizer(), None)
    return TextDataModule(prepared, batch_size=4, window=5, steps=3, seed=2, **options)


def test_the_data_module_hands_out_this_processes_lanes(tmp_path: Path) -> None:
    data = data_module(tmp_path)
    whole = list(data.train_dataloader())
    shares = []
    for rank in (0, 1):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        shares.append(list(data.train_dataloader()))
    for batch, one, other in zip(whole, *shares, strict=True):
        assert sorted(rows(one) + rows(other)) == sorted(rows(batch))


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", True), ("de", True), ("zh", False), ("ja", False), ("th", False), ("mul", False)],
)
def test_white_space_parts_the_words_of_most_languages(tmp_path, language, words) -> None:
    assert data_module(tmp_path, language).words is words
