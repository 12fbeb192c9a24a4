"""A disk that is full while a checkpoint is written."""

import errno
import json
import os

import pytest
import torch

from lm_research.callbacks import checkpoint_files
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.errors import RunFolderError

EVERY = "callbacks.checkpoint.every=5"


@pytest.fixture
def fills_up(monkeypatch):
    """From the second checkpoint on, part of it is written and then the disk is full.

    A real one is in tests/cli/test_small_disk.py; torch closes its archive there in another way.
    """
    saves, proper = [], torch.save

    def save(checkpoint, file):
        saves.append(checkpoint["global_step"])
        if len(saves) > 1:
            file.write(b"part of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        proper(checkpoint, file)

    monkeypatch.setattr(checkpoint_files.torch, "save", save)


def test_training_goes_on_and_the_older_one_stays_whole(train, fills_up, caplog, tmp_path):
    """To the end; but without its last checkpoint a run is not done."""
    with pytest.raises(RunFolderError, match="the disk is full"):
        train(EVERY)
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "failed"
    assert '{"step":16,' in (tmp_path / "run/metrics.jsonl").read_text()
    store = CheckpointStore(tmp_path / "run/checkpoints")
    assert [(entry.step, fault) for entry, fault in store.whole()] == [(4, None)]
    assert {file.name for file in store.folder.iterdir()} == {"index.json", "step-00000004.ckpt"}
    assert "no checkpoint of step 5, the older ones are whole" in caplog.text
    assert "the disk is full" in caplog.text


def test_or_it_stops(train, fills_up, tmp_path):
    with pytest.raises(RunFolderError, match="the disk is full"):
        train(EVERY, "callbacks.checkpoint.on_error=stop")
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "failed"
    assert [entry.step for entry in CheckpointStore(tmp_path / "run/checkpoints").entries()] == [4]
