import json
import os
import platform
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

from lm_research.tracking import environment as module
from lm_research.tracking.environment import environment, record_environment

SECRET = "local-0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    """Away from this checkout, whose state changes while others work on it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "tracked", lambda file: False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def test_what_is_recorded(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["lm-research", "train", "x.api_key=hush", "model=lstm"])
    values = environment()
    json.dumps(values)
    assert values["python"] == platform.python_version()
    assert values["versions"]["numpy"] == metadata.version("numpy")
    assert values["command"] == ["lm-research", "train", "x.api_key=<redacted>", "model=lstm"]
    assert values["directory"] == str(tmp_path)
    assert values["cpu"]["cores"] == os.cpu_count()
    assert values["cpu"]["usable_cores"] == len(os.sched_getaffinity(0))
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert values["memory_bytes"] == int(memory["MemTotal"].split()[0]) * 1024
    assert values["git"] is None
    assert values["gpus"] is None
    assert "torch" not in sys.modules


def test_gpus_by_the_torch_that_is_loaded(monkeypatch):
    cuda = types.SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_name=lambda i: f"GPU {i}"
    )
    fake = types.SimpleNamespace(
        cuda=cuda, get_num_threads=lambda: 3, version=types.SimpleNamespace(cuda="12.8")
    )
    monkeypatch.setitem(sys.modules, "torch", fake)
    values = environment()
    assert values["gpus"] == ["GPU 0", "GPU 1"]
    assert values["torch"] == {"threads": 3, "cuda": "12.8"}
    cuda.is_available = lambda: 1 / 0
    assert environment()["gpus"] is None


def test_environment_variables_are_not_recorded(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("SOMETHING", "peculiar-value")
    monkeypatch.setattr(sys, "argv", ["train", f"x={SECRET}"])
    text = record_environment(tmp_path).read_text()
    assert SECRET not in text
    assert "peculiar-value" not in text


def test_the_diff_is_a_file_and_a_later_attempt_adds_its_own(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(repository)
    run = tmp_path / "run"
    run.mkdir()
    (repository / "a.py").write_text("x = 2\n")
    first = record_environment(run)
    assert first.name == "environment.json"
    assert "+x = 2" in (run / "git.diff").read_text()
    git = json.loads(first.read_text())["git"]
    assert (git["diff_file"], git["dirty"], git["branch"]) == ("git.diff", True, "trunk")
    assert git["diff_bytes"] == (run / "git.diff").stat().st_size
    assert "diff" not in git

    assert record_environment(run) == first  # the same surroundings
    (repository / "a.py").write_text("x = 3\n")
    second = record_environment(run)
    assert second.name == "environment-2.json"
    assert "+x = 3" in (run / "git-2.diff").read_text()
    assert "+x = 2" in (run / "git.diff").read_text()
    assert record_environment(run) == second


def test_no_git_and_no_directory(monkeypatch, tmp_path):
    run, gone = tmp_path / "run", tmp_path / "gone"
    run.mkdir()
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("PATH", "")
    assert json.loads(record_environment(run).read_text())["git"] is None
