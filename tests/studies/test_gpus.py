"""One run a GPU, by locks that die with their holders; no GPU is needed to see that."""

import multiprocessing
import os
import signal
import time

import pytest

from lm_research.studies import gpus
from lm_research.studies.gpus import held, pool


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))


def never() -> bool:
    return False


def test_what_the_field_means(monkeypatch):
    assert pool(None) == []
    assert pool([0, 3]) == ["0", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert pool("all") == ["2", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pool("all") == []


def test_each_has_one_of_its_own_and_it_is_given_back():
    with held(["0", "1"], never) as first, held(["0", "1"], never) as second:
        assert (first, second) == ("0", "1")
    with held(["0", "1"], never) as again:
        assert again == "0"


def test_who_is_told_to_stop_waits_no_longer():
    asked = iter([False, True])
    with held(["0"], never), held(["0"], lambda: next(asked), poll=0.01) as second:
        assert second == ""


def test_a_holder_that_is_killed_holds_nothing_and_a_child_holds_on():
    context = multiprocessing.get_context("fork")
    ready, parent = context.Queue(), os.getpid()

    def holder() -> None:
        with held(["0"], never):
            ready.put((os.getpid(), child := os.fork()))
            if child == 0:
                while os.getppid() != parent and not os.path.exists(gpus._folder() / "end"):
                    time.sleep(0.01)
                os._exit(0)
            time.sleep(60)

    process = context.Process(target=holder)
    process.start()
    pid, _ = ready.get(timeout=10)
    os.kill(pid, signal.SIGKILL)
    process.join()
    rounds = iter([False, True])
    with held(["0"], lambda: next(rounds), poll=0.01) as gpu:
        assert gpu == ""  # the child trains on
    (gpus._folder() / "end").touch()
    with held(["0"], never, poll=0.01) as gpu:
        assert gpu == "0"
