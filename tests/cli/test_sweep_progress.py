"""What a study tells where there is no terminal: a line for each run that this command ended."""

from pathlib import Path

import pytest

from lm_research.cli import sweep_progress
from lm_research.cli.sweep_progress import SweepProgress
from lm_research.studies.jobs import Job
from lm_research.studies.states import Standing

JOBS = [Job(name, name, {}, 1, ()) for name in ("done", "cut", "failing")]


@pytest.fixture
def states(monkeypatch):
    found = {"done": ("done", None), "cut": ("interrupted", "old"), "failing": ("failed", "bad")}

    def standings(folder, jobs):
        return [Standing(job, found[job.folder][0], error=found[job.folder][1]) for job in jobs]

    monkeypatch.setattr(sweep_progress, "standings", standings)
    return found


def test_how_a_run_ended_before_is_no_news(states, capsys):
    with SweepProgress(Path("study"), JOBS) as progress:
        progress._tell_ended()
        assert capsys.readouterr().err == ""
        states["cut"] = ("running", None)
        progress._tell_ended()
        states["cut"] = ("interrupted", "again")
        progress._tell_ended()
        assert capsys.readouterr().err == "[2/3] cut interrupted: again\n"
    # Never begun again by this command, and still not done when it ends.
    assert capsys.readouterr().err == "[3/3] failing failed: bad\n"


def test_a_run_that_goes_on_to_its_end_is_told_once(states, capsys):
    with SweepProgress(Path("study"), JOBS[:2]) as progress:
        states["cut"] = ("done", None)
        progress._tell_ended()
    assert capsys.readouterr().err == "[2/2] cut done\n"
