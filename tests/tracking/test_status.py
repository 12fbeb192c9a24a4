import dataclasses
import itertools
from datetime import datetime
from typing import get_args

import pytest

from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.status import State, Status

ALLOWED = {
    ("queued", "running"),
    ("queued", "failed"),
    ("queued", "interrupted"),
    ("running", "running"),
    ("running", "done"),
    ("running", "failed"),
    ("running", "interrupted"),
    ("failed", "running"),
    ("interrupted", "running"),
}


@pytest.mark.parametrize(("old", "new"), itertools.product(get_args(State), repeat=2))
def test_moves(old, new):
    status = Status("a", "b", state=old)
    if (old, new) in ALLOWED:
        assert status.moved(new).state == new
    else:
        with pytest.raises(RunFolderError, match=f"cannot go from '{old}' to '{new}'"):
            status.moved(new)


def test_times_have_a_zone_and_the_first_start_is_kept():
    first = Status("a", "b").moved("running")
    failed = first.moved("failed", error="E: x", error_file="error.txt")
    again = dataclasses.replace(failed, started="2026-01-01T00:00:00+00:00").moved("running")
    assert datetime.fromisoformat(first.started).tzinfo is not None
    assert failed.finished
    assert failed.error == "E: x"
    assert (again.started, again.attempts) == ("2026-01-01T00:00:00+00:00", 2)
    assert again.finished is again.error is again.error_file is None


def test_reads_what_it_writes_and_passes_over_later_keys():
    status = Status("a", "b", step=3).moved("running")
    assert Status.from_json({**dataclasses.asdict(status), "later": 1}) == status


@pytest.mark.parametrize(
    "change", [{"state": "dne"}, {"format": 99}, {"format": "x"}, {"id": ...}, {"state": []}]
)
def test_what_cannot_be_understood_is_named(change):
    values = dataclasses.asdict(Status("a", "b")) | change
    values = {key: value for key, value in values.items() if value is not ...}
    with pytest.raises(RunFolderError, match=r"status\.json: .*(state|format|id)"):
        Status.from_json(values)
