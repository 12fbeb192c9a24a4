"""``lm-research sync`` through the real SDK: whatever was cut off, each run arrives once, whole."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.wandb_mirror import WandbMirror

DATA = {"fingerprint": "f00d", "source": "code", "splits": {"train": {"bytes": 7}}}
CONFIG = {"choices": {"data": "code"}, "tracking": {"mode": "disabled", "group": "g", "x": 1}}
MAIN = "from lm_research.cli.main import main; main()"


@pytest.fixture
def sync(tmp_path, wandb_server, apart):
    """Run the command in a process of its own; returns its exit code and its lines by run."""

    def sync(folder, *more):
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "sync", str(folder), *more],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | apart(tmp_path, wandb_server.url),
        )
        lines = [line for line in done.stderr.splitlines() if f" {folder}" in line]
        kinds = {line.split()[1].split("/")[-1].rstrip(":"): line.split()[0] for line in lines}
        return done.returncode, kinds, done.stdout + done.stderr

    return sync


def started(path, steps, mirrors=(), seed=1):
    """A run of ``steps`` that is still under way."""
    folder = RunFolder.create(path, {**CONFIG, "seed": seed})
    recorder = Recorder(folder, mirrors)
    recorder.start()
    recorder.data(DATA)
    for step in steps:
        recorder.metrics(step, 10 * step, step / 2, {"train/loss_nats": 1 / step})
        recorder.metrics(step, 10 * step, step / 2, {"val/bits_per_byte": 3.0 - step})
        recorder.sample(step, "prompt", f"text {step}")
    return folder, recorder


def done(path, steps=(1, 2, 3), mirrors=()):
    folder, recorder = started(path, steps, mirrors)
    recorder.summary({"val/bits_per_byte": 0.0, "eval/tweets/bits_per_byte": 2.0})
    recorder.finish("done")
    folder.close()
    return folder


def history(server, folder):
    return [row["_step"] for row in server.runs[folder.status.id]["rows"]]


def test_disabled_offline_and_killed_runs_arrive_whole_and_once(tmp_path, wandb_server, sync):
    runs = tmp_path / "runs"
    disabled = done(runs / "disabled")
    offline = done(runs / "offline", mirrors=[WandbMirror("offline")])
    killed, _ = started(runs / "killed", (1, 2))
    killed.close()  # its lock is free, its status says running
    busy, _ = started(runs / "busy", (1,))
    code, kinds, told = sync(runs)
    assert kinds == {"disabled": "sent", "offline": "sent", "killed": "sent", "busy": "running"}
    assert code == os.EX_TEMPFAIL, told
    busy.close()
    code, kinds, told = sync(runs)
    assert kinds == {"disabled": "there", "offline": "there", "killed": "there", "busy": "sent"}
    assert code == 0, told
    assert [history(wandb_server, f) for f in (disabled, offline, killed, busy)] == [
        [1, 2, 3],
        [1, 2, 3],
        [1, 2],
        [1],
    ]
    run = wandb_server.runs[disabled.status.id]
    assert run["rows"][1]["train/loss_nats"] == 0.5
    assert run["rows"][1]["tokens"] == 20
    assert run["summary"]["samples"]["nrows"] == 3
    assert run["summary"]["evaluations"]["nrows"] == 1
    assert (run["variables"]["groupName"], run["complete"]) == ("g", [0])
    assert run["config"]["seed"] == {"value": 1}
    assert wandb_server.runs[killed.status.id]["complete"] == [255]


def test_runs_on_one_text_share_its_artifact(tmp_path, wandb_server, sync):
    first, second = done(tmp_path / "runs/a"), done(tmp_path / "runs/b")
    assert sync(tmp_path / "runs")[0] == 0
    (text,) = wandb_server.of_type("dataset")
    assert text["metadata"]["fingerprint"] == "f00d"
    assert [wandb_server.runs[f.status.id]["used"] for f in (first, second)] == [[text["id"]]] * 2
    manifest = wandb_server.uploads[f"artifact/{text['id']}/manifest"].decode()
    assert "lm-research:text/f00d" in manifest


def test_the_table_of_sources_tells_mixtures_apart_and_has_clean_scores(
    tmp_path, wandb_server, sync
):
    data = {"name": "without_code", "weights": {"tweets": 1}}
    folder = RunFolder.create(tmp_path / "run", {**CONFIG, "data": data, "seed": 1})
    recorder = Recorder(folder, ())
    recorder.start()
    scores = {"bits_per_byte": 2.0, "bits_per_byte_clean": 2.5, "contaminated_documents": 3}
    for source in ("tweets", "code"):
        recorder.summary({f"eval/{source}/{name}": value for name, value in scores.items()})
    recorder.data({**DATA, "evaluated": {"tweets": {"text_sha256": "7"}}})
    (folder.path / "evaluations").mkdir()
    bits_D, bytes_D = np.array([3.0, 3.0, 0.0]), np.array([1, 1, 1])
    scores_D = {"document_nats": bits_D * np.log(2), "document_bytes": bytes_D}
    np.savez(folder.path / "evaluations" / "eval-tweets.npz", **scores_D)
    recorder.finish("done")
    folder.close()
    assert sync(folder.path)[0] == 0
    sent = [v for name, v in wandb_server.uploads.items() if "table/evaluations" in name]
    table = json.loads(sent[0])
    bounds = ["bits_per_byte_low", "bits_per_byte_high"]
    assert table["columns"] == ["trained_on", "evaluated_on", *sorted(scores), *bounds]
    assert sorted(table["data"]) == [
        ["without_code", "code", 2.0, 2.5, 3, None, None],
        ["without_code", "tweets", 2.0, 2.5, 3, 0.0, 3.0],
    ]  # of three documents, all 27 samples: one in 27 is 0, eight are 3


def test_a_run_that_has_gone_on_gets_its_new_rows(tmp_path, wandb_server, sync):
    folder, _ = started(tmp_path / "run", (1, 2))
    folder.close()
    assert sync(folder.path)[1] == {"run": "sent"}
    again, recorder = started(tmp_path / "run", (3,))
    recorder.finish("done")
    again.close()
    assert sync(folder.path)[1] == {"run": "sent"}
    assert history(wandb_server, folder) == [1, 2, 3]
    wandb_server.runs.clear()  # W&B has lost it: our note of it is not believed
    assert sync(folder.path)[1] == {"run": "sent"}
    assert history(wandb_server, folder) == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["500", "drop"])
def test_a_sync_that_is_cut_goes_on(tmp_path, wandb_server, sync, fault):
    folders = [done(tmp_path / f"runs/{name}") for name in ("a", "b")]
    wandb_server.fault, wandb_server.only = fault, "file_stream"
    code, kinds, told = sync(tmp_path / "runs", "timeout=4")
    assert (code, set(kinds.values())) == (1, {"failed"}), told
    wandb_server.fault = None
    code, kinds, told = sync(tmp_path / "runs")
    assert (code, kinds) == (0, {"a": "sent", "b": "sent"}), told
    assert [history(wandb_server, folder) for folder in folders] == [[1, 2, 3]] * 2


def test_no_key_is_told_without_a_traceback(tmp_path, sync, monkeypatch, apart, wandb_server):
    folder = done(tmp_path / "run")
    env = {k: v for k, v in os.environ.items() if k != "WANDB_API_KEY"}
    env |= apart(tmp_path, wandb_server.url, None)
    command = [sys.executable, "-c", MAIN, "sync", str(folder.path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env)
    assert told.returncode == 1
    assert "no API key. Run `wandb login`" in told.stderr
    assert "Traceback" not in told.stderr
