import threading
import time

import pytest

from lm_research.tracking import guarded_calls as module
from lm_research.tracking.guarded_calls import GuardedCalls


@pytest.fixture
def calls():
    return GuardedCalls("W&B", "The run goes on.")


def test_in_order_in_one_other_thread(calls):
    made = []
    for i in range(1000):
        calls.submit(lambda i=i: made.append((i, threading.get_ident())))
    calls.close(lambda: made.append((1000, threading.get_ident())), "finishing", 5)
    assert [i for i, _ in made] == list(range(1001))
    assert len({thread for _, thread in made} - {threading.get_ident()}) == 1
    assert not calls.failed


@pytest.mark.parametrize("error", [ValueError("no\nluck."), SystemExit(3), KeyboardInterrupt()])
def test_the_first_failure_is_told_once_and_the_last_call_still_made(calls, caplog, error):
    made = []

    def fail():
        raise error

    calls.wait(fail, "starting", 5)
    assert calls.failed
    calls.submit(lambda: made.append("dropped"))
    calls.wait(fail, "starting", 5)
    calls.close(lambda: made.append("last"), "finishing", 5)
    assert made == ["last"]
    assert len(caplog.records) == 1
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
    assert caplog.records[0].getMessage() == f"W&B: {text}. The run goes on."


def test_a_call_that_hangs_holds_up_no_longer_than_agreed(calls, caplog):
    free = threading.Event()
    start = time.monotonic()
    calls.wait(free.wait, "starting", 0.1)
    calls.submit(lambda: None)
    calls.close(lambda: None, "finishing", 0.1)
    assert time.monotonic() - start < 1
    assert [r.getMessage() for r in caplog.records] == [
        "W&B: TimeoutError: starting took more than 0.1 s. The run goes on."
    ]
    free.set()


def test_a_queue_that_only_grows_is_a_failure(monkeypatch, caplog):
    monkeypatch.setattr(module, "_MOST_WAITING", 10)
    calls, free = GuardedCalls("W&B", "Go on."), threading.Event()
    for _ in range(20):
        calls.submit(free.wait)
    assert "10 calls are waiting" in caplog.text
    calls.close(lambda: None, "finishing", 0.1)
    free.set()
