"""A source that hangs."""

import signal
import threading
import time

import pytest

from lm_research.data.document import DataError, Document, Source
from lm_research.data.patience import in_time


class Slow(Source):
    """Documents, and before one of them a sleep."""

    def __init__(self, at: int, seconds: float) -> None:
        super().__init__(name="slow", language="en", category="web", licence="CC0-1.0")
        self.at, self.seconds, self.closed = at, seconds, False

    def __iter__(self):
        try:
            for number in range(5):
                if number == self.at:
                    time.sleep(self.seconds)
                yield Document(f"text {number}", "slow", str(number))
        finally:
            self.closed = True

    def signature(self) -> str:
        return ""


def test_it_is_given_up_and_named():
    source, began = Slow(at=3, seconds=60), time.monotonic()
    with pytest.raises(DataError, match=r"data=slow: no document for 0\.2 s, after 3 of them"):
        list(in_time(source, 0.2))
    assert time.monotonic() - began < 10
    assert source.closed


def test_the_readers_own_time_does_not_count():
    found = []
    for document in in_time(Slow(at=9, seconds=0), 0.2):
        time.sleep(0.3)
        found.append(document.id)
    assert found == list("01234")


def test_the_alarm_is_put_back_however_it_ends():
    before = signal.getsignal(signal.SIGALRM)
    source = Slow(at=9, seconds=0)
    documents = in_time(source, 60)
    next(documents)
    documents.close()
    assert source.closed
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_in_another_thread_it_may_take_its_time():
    found = []
    thread = threading.Thread(target=lambda: found.extend(in_time(Slow(2, 0.3), 0.1)))
    thread.start()
    thread.join()
    assert len(found) == 5
