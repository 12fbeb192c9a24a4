"""A search through the command, gone on with after its end and after a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()", "tune"]
STUDY = """
sweep:
  {name: s, title: S, question: Q, metric: val/bits_per_byte, direction: minimize, report: r.html,
  tune: {space: {optimizer.lr: {low: 0.0001, high: 0.1, log: true}, model: [rnn, gru]}, trials: 2}}
output: out
"""


@pytest.fixture
def tune(tmp_path, tiny):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/s.yaml").write_text(STUDY)

    def tune(*arguments: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        command = [*COMMAND, "sweep=s", *tiny, *arguments]
        return subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes)

    return tune


def trials(tmp_path) -> list:
    storage = f"sqlite:///{tmp_path / 'out/tune.sqlite3'}"
    return optuna.load_study(study_name="s", storage=storage).get_trials()


@pytest.mark.slow
def test_a_search_ends_goes_on_and_survives_a_kill(tmp_path, tune):
    process = tune()
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    found = trials(tmp_path)
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 2
    best = json.loads((tmp_path / "out/best.json").read_text())
    assert best["value"] == min(trial.value for trial in found)
    for trial in found:
        summary = tmp_path / "out" / trial.user_attrs["folder"] / "summary.json"
        assert json.loads(summary.read_text())["val/bits_per_byte"] == trial.value

    process = tune("sweep.tune.trials=4", "budget.train_tokens=60000")
    deadline = time.monotonic() + 120
    while len(trials(tmp_path)) < 3 or not list((tmp_path / "out").glob("*/checkpoints/*.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    process = tune("sweep.tune.trials=4", "budget.train_tokens=60000")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "going on with 1 trials" in said
    states = [trial.state.name for trial in trials(tmp_path)]
    assert sorted(states) == ["COMPLETE"] * 4 + ["FAIL"]
    assert (tmp_path / "r.html").exists()
