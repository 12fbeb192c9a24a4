"""How a job stands, from what its folder holds."""

import os

import pytest

from lm_research.studies.jobs import Job
from lm_research.studies.states import Standing, seconds_left, standings
from lm_research.tracking.run_folder import RunFolder


@pytest.fixture
def place(tmp_path):
    return tmp_path / "a"


def job(name: str = "a", setting: str = "x", seed: int = 1) -> Job:
    return Job("0" * 64, name, {"model": setting}, seed, ())


def standing(place) -> Standing:
    return standings(place.parent, [job()])[0]


def test_from_nothing_to_done(place):
    assert standing(place).state == "to do"
    with RunFolder.create(place, {"seed": 1}) as run:
        assert standing(place).state == "to do"
        run.start(10)
        run.beat(4)
        found = standing(place)
        assert (found.state, found.share) == ("running", 0.0)  # a beat is written now and then
        assert str(os.getpid()) in (found.where or "")
        run.beat(4, 10)
        assert standing(place).share == 0.4
        run.finish("done")
    found = standing(place)
    assert (found.state, found.share, found.error) == ("done", 1.0, None)
    assert found.seconds is not None


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_what_stopped_it_and_where_to_read_on(place, state):
    with RunFolder.create(place, {}) as run:
        run.start(10)
        run.finish(state, ValueError("too\nmuch"))
    found = standing(place)
    assert found.state == state
    assert found.error == "ValueError: too much"
    assert found.log == place / "error.txt"


def test_a_run_whose_process_is_gone_is_stale(place):
    run = RunFolder.create(place, {})
    run.start(10)
    assert standing(place).state == "running"
    run.close()  # what the kernel does for a process that is killed
    assert standing(place).state == "stale"


def test_a_run_that_failed_before_it_had_a_folder_of_its_own(place):
    place.mkdir()
    (place / "last_error.txt").write_text("no file matches x")
    found = standing(place)
    assert (found.state, found.error) == ("failed", "no file matches x")


def test_a_damaged_status_is_a_failure_that_says_so(place):
    place.mkdir()
    (place / "status.json").write_text("{")
    found = standing(place)
    assert found.state == "failed"
    assert "status.json" in (found.error or "")


def test_the_time_left_is_that_of_the_own_setting_where_it_is_known():
    done = [
        Standing(job(setting="fast"), "done", 1.0, 10.0),
        Standing(job(setting="slow"), "done", 1.0, 30.0),
    ]
    assert seconds_left([Standing(job(), "to do")], 1) is None
    slow = Standing(job(setting="slow"), "to do")
    half = Standing(job(setting="fast"), "running", 0.5)
    new = Standing(job(setting="new"), "stale", 0.0)
    failed = Standing(job(setting="new"), "failed")
    assert seconds_left([*done, slow, half, new, failed], 1) == 30 + 5 + 20
    assert seconds_left([*done, slow, half, new, failed], 2) == 55 / 2
