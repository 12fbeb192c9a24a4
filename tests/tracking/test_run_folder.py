import errno
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from lm_research.tracking import run_folder as module
from lm_research.tracking.errors import (
    RunFolderBusyError,
    RunFolderError,
    RunFolderTakenError,
)
from lm_research.tracking.run_folder import FolderState, RunFolder

CONFIG = {"model": {"hidden_size": 64, "dropout": 0.0}, "seed": 1, "output": "a"}


def contents(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_new_folder(tmp_path):
    with RunFolder.create(tmp_path / "deep" / "run", CONFIG) as folder:
        assert folder.state is FolderState.NEW
        status = folder.status
        assert re.fullmatch("[0-9a-f]{12}", status.id)
        assert (status.state, status.step, status.attempts) == ("queued", 0, 0)
        assert folder.checkpoints.is_dir()
        assert OmegaConf.to_container(OmegaConf.load(folder.path / "config.yaml")) == CONFIG
    assert RunFolder(folder.path).config == CONFIG


def test_from_start_to_done(tmp_path):
    with RunFolder.create(tmp_path, CONFIG) as folder:
        folder.start(steps=10)
        assert folder.condition == "running"
        folder.beat(10)
        folder.finish("done")
        status = RunFolder(tmp_path).status
        assert (status.state, status.step, status.steps, status.attempts) == ("done", 10, 10, 1)
        assert status.error is None
        with pytest.raises(RunFolderError, match="cannot go from 'done' to 'running'"):
            folder.start()


def test_a_done_run_is_left_as_it_is(tmp_path):
    with RunFolder.create(tmp_path, CONFIG) as folder:
        folder.start()
        folder.finish("done")
    before = contents(tmp_path)
    with RunFolder.create(tmp_path, CONFIG | {"output": "moved", "tracking": None}) as folder:
        assert folder.state is FolderState.DONE
    after = contents(tmp_path)
    before.pop(".lock")
    after.pop(".lock")
    assert before == after


def test_an_unfinished_run_keeps_its_id(tmp_path):
    with RunFolder.create(tmp_path, CONFIG) as first:
        first.start()
        first.finish("failed", ValueError("no\n luck"))
    with RunFolder.create(tmp_path, CONFIG, run_id="other") as second:
        assert second.state is FolderState.UNFINISHED
        assert second.status.id == first.status.id
        second.start()
        second.finish("failed", "again")
        assert second.status.error == "again"
    text = (tmp_path / "error.txt").read_text()
    assert text.index("--- attempt 1") < text.index("ValueError: no") < text.index("--- attempt 2")


def test_the_error_is_one_line_and_the_traceback_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789012345678901234567890")
    with RunFolder.create(tmp_path, CONFIG) as folder:
        folder.start()
        try:
            raise KeyError("first line\nhf_0123456789012345678901234567890" + "x" * 1000)
        except KeyError as error:
            folder.finish("failed", error)
    status = RunFolder(tmp_path).status
    assert status.error.startswith("KeyError: 'first line")
    assert len(status.error) == 500
    assert status.error_file == "error.txt"
    assert "Traceback" in (tmp_path / "error.txt").read_text()
    assert not any(b"hf_01234" in content for content in contents(tmp_path).values())


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    with RunFolder.create(tmp_path, CONFIG):
        pass
    before = contents(tmp_path)
    other = {**CONFIG, "seed": 2, "model": {"hidden_size": 65, "dropout": 0}}
    with pytest.raises(RunFolderTakenError) as caught:
        RunFolder.create(tmp_path, other)
    text = str(caught.value)
    assert "  model.hidden_size: 64 -> 65\n  seed: 1 -> 2\n" in text
    assert "dropout" not in text
    assert "Give another output=FOLDER" in text
    after = contents(tmp_path)
    assert before.pop(".lock")
    assert after.pop(".lock")
    assert before == after
    RunFolder.create(tmp_path, CONFIG).close()  # the refusal left no lock behind


def test_resume_false_refuses_any_run(tmp_path):
    RunFolder.create(tmp_path, CONFIG, resume=False).close()
    with pytest.raises(RunFolderTakenError, match="resume=false"):
        RunFolder.create(tmp_path, CONFIG, resume=False)


@pytest.mark.parametrize("name", ["metrics.jsonl", "status.json", "summary.json"])
def test_files_without_a_configuration_are_not_touched(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(RunFolderTakenError, match=f"holds {name} but no config.yaml"):
        RunFolder.create(tmp_path, CONFIG)
    assert (tmp_path / name).read_text() == "precious"


def test_files_of_others_may_lie_beside(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / "lm-research.log").write_text("x")
    (tmp_path / ".notes.json.tmp").write_text("x")
    (tmp_path / ".status.json.123.tmp").write_text("half of a file of ours")
    with RunFolder.create(tmp_path, CONFIG) as folder:
        assert folder.state is FolderState.NEW
    assert (tmp_path / ".notes.json.tmp").exists()
    assert not (tmp_path / ".status.json.123.tmp").exists()


@pytest.mark.parametrize("cut", ["config.yaml", "status.json"])
def test_damaged_files_are_named(tmp_path, cut):
    RunFolder.create(tmp_path, CONFIG).close()
    (tmp_path / cut).write_text("{")
    with pytest.raises(RunFolderError, match=re.escape(cut)):
        RunFolder.create(tmp_path, CONFIG)


def test_died_between_its_first_two_files(tmp_path):
    RunFolder.create(tmp_path, CONFIG).close()
    (tmp_path / "status.json").unlink()
    with RunFolder.create(tmp_path, CONFIG) as folder:
        assert folder.state is FolderState.UNFINISHED
        assert folder.status.id


def test_a_file_in_the_way_and_a_folder_that_is_closed(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunFolderError, match="output=FOLDER"):
            RunFolder.create(path, CONFIG)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunFolderError, match=r"not writable .*Give another output=FOLDER"):
        RunFolder.create(tmp_path / "run", CONFIG)


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", "x" * 65, "a b"])
def test_run_ids_name_no_paths(tmp_path, run_id):
    with pytest.raises(RunFolderError, match="run_id"):
        RunFolder.create(tmp_path, CONFIG, run_id=run_id)


def test_a_given_id_is_taken(tmp_path):
    with RunFolder.create(tmp_path, CONFIG, run_id="abc-1_2") as folder:
        assert folder.status.id == "abc-1_2"


def test_opened_for_reading_it_does_not_write(tmp_path):
    RunFolder.create(tmp_path, CONFIG).close()
    before = contents(tmp_path)
    reader = RunFolder(tmp_path)
    for call in (reader.start, lambda: reader.beat(1, 2), lambda: reader.finish("done")):
        with pytest.raises(RunFolderError, match=r"opened for reading|cannot go"):
            call()
    assert contents(tmp_path) == before
    with pytest.raises(RunFolderError, match="cannot be read"):
        _ = RunFolder(tmp_path / "nowhere").status


def test_the_heartbeat_is_not_written_at_every_step(tmp_path, monkeypatch):
    with RunFolder.create(tmp_path, CONFIG) as folder:
        folder.start()
        for step in range(1, 100):
            folder.beat(step)
        assert RunFolder(tmp_path).status.step == 0
        monkeypatch.setattr(module, "HEARTBEAT_S", 0.0)
        folder.beat(100)
        assert RunFolder(tmp_path).status.step == 100


def test_summary_and_data_are_merged(tmp_path):
    with RunFolder.create(tmp_path, CONFIG) as folder:
        folder.write_summary({"val/bits_per_byte": 2.0})
        folder.write_summary({"test/bits_per_byte": 3.0, "val/bits_per_byte": 1.0})
        folder.write_data({"fingerprint": "abc"})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == {"val/bits_per_byte": 1.0, "test/bits_per_byte": 3.0}
    assert json.loads((tmp_path / "data.json").read_text()) == {"fingerprint": "abc"}


def test_rewind_makes_each_step_appear_once(tmp_path):
    with RunFolder.create(tmp_path, CONFIG) as folder:
        folder.start()
        folder.metrics.append({"step": 50, "train/loss": 1.0})
        position = folder.position()
        folder.metrics.append({"step": 50, "val/loss": 1.5})
        folder.metrics.append({"step": 60, "train/loss": 0.9})
        folder.samples.append({"step": 60, "prompt": "", "text": "x"})
        folder.rewind(50, position)
        folder.metrics.append({"step": 50, "val/loss": 1.5})
        assert [row["step"] for row in folder.metrics] == [50, 50]
        assert folder.status.step == 50
    assert (tmp_path / "metrics.cut-1.jsonl").read_text().count("\n") == 2
    assert (tmp_path / "samples.cut-1.jsonl").read_text().count("\n") == 1
    assert list(RunFolder(tmp_path).samples) == []


def test_a_full_disk_at_the_start(tmp_path, full_disk):
    full_disk()
    with pytest.raises(RunFolderError, match="the disk is full"):
        RunFolder.create(tmp_path, CONFIG)
    full_disk(None)
    with RunFolder.create(tmp_path, CONFIG) as folder:
        assert folder.state is FolderState.NEW


RUN = """
import sys, time
from lm_research.tracking.run_folder import RunFolder
folder = RunFolder.create(sys.argv[1], {"seed": 1})
folder.start()
step = 0 if folder.metrics.last is None else folder.metrics.last["step"]
print(folder.state.value, flush=True)
while True:
    step += 1
    folder.metrics.append({"step": step, "tokens": step, "train/loss": 1.0})
    folder.beat(step, steps=10)
"""


def test_killed_it_is_stale_and_goes_on(tmp_path):
    ids, before = set(), 0
    for attempt in range(1, 4):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == ("new\n" if attempt == 1 else "unfinished\n")
        while len(reader := RunFolder(tmp_path).metrics) < before + 20:
            pass
        with pytest.raises(RunFolderBusyError, match=f"process {process.pid} "):
            RunFolder.create(tmp_path, {"seed": 1})
        assert RunFolder(tmp_path).condition == "running"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        folder = RunFolder(tmp_path)
        assert folder.condition == "stale"
        assert folder.status.attempts == attempt
        ids.add(folder.status.id)
        steps = [row["step"] for row in reader]
        assert steps == list(range(1, len(steps) + 1))
        before = len(steps)
    assert len(ids) == 1
