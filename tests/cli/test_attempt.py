"""What an attempt leaves behind that did not end by itself."""

import signal

import pytest
from omegaconf import OmegaConf

from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli import attempt, launch
from lm_research.studies.jobs import Job
from lm_research.studies.states import LAST_ERROR, standings
from lm_research.tracking.run_folder import RunFolder


def stopped(config, folder, *, begun):
    folder.mkdir()
    if begun:
        with RunFolder.create(folder, config) as run:
            run.start()
            run.finish("interrupted", "stopped by SIGTERM")
    raise Stopped.by(signal.SIGTERM)


@pytest.mark.parametrize(("begun", "state"), [(False, "to do"), (True, "interrupted")])
def test_a_signal_before_the_folder_is_claimed_is_no_failure(tmp_path, monkeypatch, begun, state):
    monkeypatch.setattr(launch, "train", lambda *given: stopped(*given, begun=begun))
    job = Job("0" * 64, "job", {}, 1, ())
    with pytest.raises(Stopped):
        attempt._alone({"seed": 1}, tmp_path / "job")
    assert (tmp_path / "job" / LAST_ERROR).exists() == begun
    assert [standing.state for standing in standings(tmp_path, [job])] == [state]


def test_an_interpolation_on_the_command_line_is_recorded_as_it_was_given():
    given = ["vectorizer.path=${downloads}/glove.txt", "seed=1"]
    job = OmegaConf.create({"overrides": {"task": given}})
    assert attempt.command(job) == ["lm-research", "train", *given]
