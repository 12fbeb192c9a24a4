"""W&B online while its server misbehaves: training ends on time, sync brings the rest."""

import os
import subprocess
import sys
import time

import pytest

from lm_research.tracking.run_folder import RunFolder

BOUND_S = 6

TRAIN = """
import logging, sys
from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.wandb_mirror import WandbMirror
logging.basicConfig(level="WARNING")
path, bound = sys.argv[1], float(sys.argv[2])
mirror = WandbMirror("online", start_timeout_s=bound, finish_timeout_s=bound, group="g")
with RunFolder.create(path, {"seed": 1, "tracking": {"group": "g"}}) as folder:
    with Recorder(folder, [mirror]) as recorder:
        recorder.data({"fingerprint": "f00d", "source": "code"})
        print("started", flush=True)
        sys.stdin.readline()
        for step in range(1, 101):
            recorder.metrics(step, 10 * step, step / 2, {"train/loss_nats": 1 / step})
            if step == 50:
                print("half", flush=True)
                sys.stdin.readline()
            if step % 25 == 0:
                recorder.sample(step, "prompt", "text")
        if "fail" in sys.argv:
            raise ValueError("no luck with hf_0123456789abcdefghijklmn")
print("trained", flush=True)
"""


class Training:
    """The run in its own process, stopped at its start and in the middle until told to go on."""

    def __init__(self, path, env, *more):
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(path), str(BOUND_S), *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | env,
        )

    def go_on(self, word):
        assert self.process.stdout.readline() == f"{word}\n", self.process.stderr.read()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.began = time.monotonic()

    def end(self):
        out, err = self.process.communicate(timeout=90)
        return time.monotonic() - self.began, out, err


def sync(path, env):
    main = "from lm_research.cli.main import main; main()"
    command = [sys.executable, "-c", main, "sync", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, env=os.environ | env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr.split()[0]


def history(server, path):
    run = server.runs[RunFolder(path).status.id]
    return [row["_step"] for row in run["rows"]]


def test_a_sound_server_has_all_of_it_and_sync_sends_nothing(tmp_path, wandb_server, apart):
    env = apart(tmp_path, wandb_server.url)
    training = Training(tmp_path / "run", env)
    training.go_on("started")
    training.go_on("half")
    _, out, err = training.end()
    assert out == "trained\n"
    assert "WARNING:lm_research" not in err
    assert history(wandb_server, tmp_path / "run") == list(range(1, 101))
    run = wandb_server.runs[RunFolder(tmp_path / "run").status.id]
    assert run["summary"]["samples"]["nrows"] == 4
    assert run["summary"]["train/loss_nats"] == {"min": 0.01, "last": 0.01}
    assert len(run["used"]) == 1
    asked = wandb_server.asked.count("UpsertBucket")
    assert sync(tmp_path / "run", env) == "there"
    assert wandb_server.asked.count("UpsertBucket") == asked


def test_a_failure_alerts_without_secrets(tmp_path, wandb_server, apart):
    training = Training(tmp_path / "run", apart(tmp_path, wandb_server.url), "fail")
    training.go_on("started")
    training.go_on("half")
    training.end()
    assert [(a["title"], a["text"], a["severity"]) for a in wandb_server.alerts] == [
        ("run failed", "ValueError: no luck with <redacted>", "ERROR")
    ]
    run = wandb_server.runs[RunFolder(tmp_path / "run").status.id]
    assert run["complete"] == [1]


@pytest.mark.slow
@pytest.mark.parametrize("when", ["started", "half"])
@pytest.mark.parametrize("fault", ["slow", "500", "drop", "vanish"])
def test_a_server_that_misbehaves(tmp_path, apart, wandb_server, fault, when):
    env, path = apart(tmp_path, wandb_server.url), tmp_path / "run"

    def break_it():
        if fault == "vanish":
            wandb_server.server_close()
            wandb_server.shutdown()
        wandb_server.fault = fault

    training = Training(path, env)
    if when == "started":
        break_it()
    training.go_on("started")
    if when == "half":
        time.sleep(1)
        break_it()
    training.go_on("half")
    seconds, out, _ = training.end()
    assert out == "trained\n"
    assert training.process.returncode == 0
    assert seconds < 4 * BOUND_S
    folder = RunFolder(path)
    assert folder.status.state == "done"
    assert [row["step"] for row in folder.metrics] == list(range(1, 101))
    revived = type(wandb_server)(wandb_server) if fault == "vanish" else wandb_server
    revived.fault = None
    env = apart(tmp_path, revived.url)
    assert sync(path, env) in ("sent", "there")
    assert history(revived, path) == list(range(1, 101))
    assert revived.runs[folder.status.id]["summary"]["samples"]["nrows"] == 4
    revived.stop()
