import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.recorder import Recorder, ending
from lm_research.tracking.run_folder import RunFolder

CONFIG = {"seed": 1, "output": "a"}
CALLS = ("start", "log", "sample", "summary", "data", "finish")


class Listener:
    """A mirror that remembers what it is told, or fails at every call."""

    def __init__(self, broken=False):
        self.told = []
        self.broken = broken

    def __getattr__(self, name):
        if name not in CALLS:
            raise AttributeError(name)

        def call(*arguments):
            self.told.append((name, *arguments))
            if self.broken:
                raise ConnectionError("no server")

        return call


@pytest.fixture
def folder(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG) as claimed:
        yield claimed


def status(folder):
    return RunFolder(folder.path).status


def test_the_folder_first_and_the_mirrors_second(folder):
    class Reader(Listener):
        def log(self, row):
            assert list(RunFolder(folder.path).metrics)[-1] == row
            self.told.append(("log", row))

    mirror = Reader()
    with Recorder(folder, [mirror]) as recorder:
        assert status(folder).state == "running"
        recorder.planned(10)
        recorder.metrics(5, 320, 1.5, {"train/loss": np.float32(0.5), "perf/steps": np.int64(3)})
        recorder.sample(5, "a", "ab")
        recorder.data({"fingerprint": "f"})
        recorder.summary({"val/loss": 0.25})
    row = {"step": 5, "tokens": 320, "seconds": 1.5, "train/loss": 0.5, "perf/steps": 3}
    assert list(folder.metrics) == [row]
    assert list(folder.samples) == [{"step": 5, "prompt": "a", "text": "ab"}]
    assert mirror.told == [
        ("start", folder.status.id, folder.path, CONFIG),
        ("log", row),
        ("sample", 5, "a", "ab"),
        ("data", {"fingerprint": "f"}),
        ("summary", {"val/loss": 0.25}),
        ("finish", 0),
    ]
    done = status(folder)
    assert (done.state, done.step, done.steps) == ("done", 5, 10)
    names = ("environment.json", "data.json", "summary.json")
    assert all(json.loads((folder.path / name).read_text()) for name in names)


def test_nan_stays_nan_for_everybody(folder):
    mirror = Listener()
    with Recorder(folder, [mirror]) as recorder:
        recorder.metrics(1, 1, 1.0, {"train/loss": math.nan})
    assert '"train/loss":null' in (folder.path / "metrics.jsonl").read_text()
    assert math.isnan(folder.metrics.last["train/loss"])
    assert math.isnan(mirror.told[1][1]["train/loss"])


def test_a_mirror_that_fails_at_every_call_fails_nothing(folder, caplog):
    broken, sound = Listener(broken=True), Listener()
    with Recorder(folder, [broken, sound]) as recorder:
        recorder.metrics(1, 1, 1.0, {"train/loss": 1.0})
        recorder.sample(1, "a", "b")
        recorder.summary({"a": 1})
        recorder.data({"a": 1})
    assert [told[0] for told in broken.told] == ["start"]
    assert [told[0] for told in sound.told] == [*CALLS[:4], "data", "finish"]
    assert status(folder).state == "done"
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warnings == ["Listener: ConnectionError: no server. The run goes on without it."]


@pytest.mark.parametrize("name", CALLS)
def test_a_mirror_that_fails_at_one_call(folder, name):
    class Partly(Listener):
        def __getattr__(self, asked):
            if asked == name:
                raise OSError(asked)
            return super().__getattr__(asked)

    with Recorder(folder, [Partly()]) as recorder:
        recorder.metrics(1, 1, 1.0, {})
        recorder.sample(1, "a", "b")
        recorder.summary({"a": 1})
        recorder.data({"a": 1})
    assert status(folder).state == "done"
    assert len(folder.metrics) == 1


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (ValueError("shape"), "failed", 1),
        (KeyboardInterrupt(), "interrupted", 255),
        (SystemExit(143), "interrupted", 255),
        (SystemExit(2), "failed", 1),
    ],
)
def test_an_error_ends_the_run_and_goes_on_up(folder, error, state, code):
    mirror = Listener()

    def run():
        with Recorder(folder, [mirror]) as recorder:
            recorder.metrics(7, 1, 1.0, {})
            raise error

    with pytest.raises(type(error)):
        run()
    assert ending(error) == state
    end = status(folder)
    assert (end.state, end.step, end.error_file) == (state, 7, "error.txt")
    assert end.error.startswith(type(error).__name__)
    assert mirror.told[-1] == ("finish", code)


def test_an_error_while_starting_ends_the_run_too(folder, monkeypatch):
    monkeypatch.setattr("lm_research.tracking.recorder.record_environment", lambda path: [][0])
    mirror = Listener()
    with pytest.raises(IndexError), Recorder(folder, [mirror]):
        raise AssertionError("not reached")
    assert status(folder).state == "failed"


def test_a_full_disk_is_a_clear_error_and_the_one_shown(folder, full_disk, caplog):
    mirror = Listener()

    def run():
        with Recorder(folder, [mirror]) as recorder:
            recorder.metrics(1, 1, 1.0, {"train/loss": 1.0})
            full_disk()
            recorder.metrics(2, 2, 2.0, {"train/loss": 1.0})

    with pytest.raises(RunFolderError, match=r"metrics\.jsonl: the disk is full"):
        run()
    assert mirror.told[-1] == ("finish", 1)
    assert any("the disk is full" in r.getMessage() for r in caplog.records)
    full_disk(None)
    assert status(folder).state == "running"  # as last written; with no process it reads as stale
    folder.close()
    assert RunFolder(folder.path).condition == "stale"
    assert [row["step"] for row in RunFolder(folder.path).metrics] == [1]


def test_resumed_from_a_checkpoint_the_rows_are_those_of_one_run(tmp_path):
    def rows(recorder, steps):
        for step in steps:
            recorder.metrics(step, step * 10, float(step), {"train/loss": 1 / step})
            if step % 3 == 0:
                recorder.metrics(step, step * 10, float(step), {"val/loss": 2 / step})

    with RunFolder.create(tmp_path / "whole", CONFIG) as whole, Recorder(whole) as recorder:
        rows(recorder, range(1, 10))
    states = []

    def first_attempt():
        with RunFolder.create(tmp_path / "cut", CONFIG) as cut, Recorder(cut) as recorder:
            rows(recorder, range(1, 6))
            recorder.metrics(6, 60, 6.0, {"train/loss": 1 / 6})
            states.append(recorder.state_dict())  # a checkpoint between two rows of one step
            recorder.metrics(6, 60, 6.0, {"val/loss": 2 / 6})
            rows(recorder, range(7, 9))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first_attempt()
    with RunFolder.create(tmp_path / "cut", CONFIG) as cut, Recorder(cut) as recorder:
        recorder.rewind(6, states[0])
        recorder.metrics(6, 60, 6.0, {"val/loss": 2 / 6})
        rows(recorder, range(7, 10))
    assert (cut.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()
    assert RunFolder(cut.path).status.attempts == 2


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["torch", "pytorch_lightning", "hydra", "omegaconf", "wandb", "numpy"]
    modules = ["recorder", "wandb_mirror", "run_folder", "environment"]
    code = "import sys\n" + "".join(f"import lm_research.tracking.{m}\n" for m in modules)
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


INTERRUPTED = """
import sys, time
from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_folder import RunFolder
with RunFolder.create(sys.argv[1], {"seed": 1}) as folder, Recorder(folder):
    print("running", flush=True)
    time.sleep(60)
"""


def test_control_c(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "running\n"
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert RunFolder(tmp_path).status.state == "interrupted"
