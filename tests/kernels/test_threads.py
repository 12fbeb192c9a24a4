"""Parts of a scan on PyTorch's own threads, or on a pool where they cannot be had."""

import sys
import threading
import time

import pytest
import torch

from lm_research.kernels.fused.cpu import threads


@pytest.fixture(params=["of PyTorch", "of a pool"])
def way(request, monkeypatch):
    if request.param == "of a pool":
        monkeypatch.setattr(threads, "_of_pytorch", lambda: None)
    elif threads._of_pytorch() is None:
        pytest.skip("PyTorch's threads are not GNU's")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    return request.param


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyTorch has another library")
def test_pytorchs_threads_are_found_on_linux():
    torch.ones(2) + 1
    assert threads._of_pytorch() is not None


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 10])
def test_every_row_is_walked_once(way, rows):
    seen = []
    threads.over_rows(lambda first, end: seen.extend(range(first, end)), rows)
    assert sorted(seen) == list(range(rows))


def test_parts_run_side_by_side(way):
    """Each waits for the others: one thread alone would wait for ever."""
    together = threading.Barrier(3, timeout=30)
    threads.over_rows(lambda first, end: together.wait() and None, 3)
    assert not together.broken


def test_what_goes_wrong_in_a_thread_is_told(way):
    def walk(first, end):
        if end == 3:
            raise ValueError("the third")

    with pytest.raises(ValueError, match="the third"):
        threads.over_rows(walk, 3)


def test_several_callers_at_once(way):
    """As a server's threads call: each gets all of its own rows."""
    found = {name: [] for name in range(4)}

    def call(name):
        def walk(first, end):
            time.sleep(0.001)
            found[name].extend(range(first, end))

        for _ in range(5):
            threads.over_rows(walk, 6)

    callers = [threading.Thread(target=call, args=(name,)) for name in found]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert all(sorted(rows) == sorted([*range(6)] * 5) for rows in found.values())


def test_little_work_is_one_threads(way):
    seen = []
    threads.over_rows(lambda *part: seen.append(part), 6, threads.ALONE - 1)
    assert seen == [(0, 6)]
    threads.over_rows(lambda *part: seen.append(part), 6, threads.ALONE)
    assert sorted(seen[1:]) == [(0, 2), (2, 4), (4, 6)]
