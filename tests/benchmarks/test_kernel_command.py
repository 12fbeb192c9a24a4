"""benchmarks/kernels.py: what it hands over, and that it runs without an installation."""

import os
import subprocess
import sys
import time
from pathlib import Path

import kernels_command
import pytest
from kernel_suite import (
    speed,
    store,
)
from kernel_suite.points import Point
from kernel_suite.store import Row

POINT = Point("lstm", 64, 16, 512, "bf16")


@pytest.fixture
def command():
    return kernels_command.SCRIPT


def run(command, monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["kernels.py", *words])
    return command.main()


def test_the_command_names_parts_that_a_device_has_not(command, monkeypatch, capsys):
    assert run(command, monkeypatch, "check", "--device", "cpu", "--only", "huge") == 2
    assert "interpreter" in capsys.readouterr().err


def test_the_command_reports_without_measuring(command, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    assert run(command, monkeypatch, "report") == 1
    assert "no kernels-*.csv" in capsys.readouterr().err
    store.append(tmp_path / "kernels-gpu.csv", POINT, [Row("nn", "ok", 1.0)])
    assert run(command, monkeypatch, "report") == 0
    assert (tmp_path / "kernels-gpu.md").exists()


def test_the_command_hands_over_what_it_was_given(command, monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(speed, "main", lambda **given: seen.update(given) or 0)
    monkeypatch.setattr(command, "STARTED", time.monotonic())
    for name in ("TRITON_INTERPRET", "TRITON_CACHE_DIR"):  # what it changes is changed back
        monkeypatch.setenv(name, os.environ.get(name, ""))
    words = ("speed", "--quick", "--warm", "--seconds", "9", "--contenders", "nn")
    words = (*words, "--out", str(tmp_path))
    assert run(command, monkeypatch, *words) == 0
    assert 0 < seen.pop("seconds") < 9  # imports are within them
    given = {"device": "cuda", "quick": True, "resume": False, "only": ["nn"]}
    assert seen == {**given, "folder": tmp_path, "warmed": True, "log": True}


def test_what_was_compiled_beforehand_is_kept(command, monkeypatch):
    seen = []
    monkeypatch.setattr(speed, "main", lambda **given: seen.append(os.environ["TRITON_CACHE_DIR"]))
    monkeypatch.setenv("TRITON_INTERPRET", "")
    monkeypatch.setenv("TRITON_CACHE_DIR", "own")
    run(command, monkeypatch, "speed", "--warm", "--out", "there")
    run(command, monkeypatch, "speed", "--out", "there")
    assert seen[0] == "own"
    assert seen[1] != "own"


def test_the_command_needs_no_installed_package(command, tmp_path):
    """Its own folders come first, here and for the processes that it begins."""
    store.append(tmp_path / "kernels-gpu.csv", POINT, [Row("nn", "ok", 1.0)])
    script = Path(command.__file__)
    installed = [path for path in sys.path if path.endswith("-packages")]
    words = ["kernels.py", "report", str(tmp_path / "kernels-gpu.csv")]
    code = f"""
import os, runpy, subprocess, sys
sys.path += {installed!r}  # as they are, without the links that .pth files are
sys.argv = {words!r}
try:
    runpy.run_path({str(script)!r}, run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end
import lm_research
print(lm_research.__file__)
print(os.environ["PYTHONPATH"])
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    *_, package, folders = done.stdout.splitlines()
    assert package == str(script.parents[1] / "lm_research/__init__.py")
    assert folders == os.pathsep.join([str(script.parents[1]), str(script.parent)])
