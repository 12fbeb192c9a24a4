"""The mirror through the real SDK: offline in this process, online against a server on loopback."""

import json
import math
import os
import subprocess
import sys
import time

import pytest
import wandb
from wandb.util import get_core_path
from wandb_server import KEY, variables_apart

from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.wandb_mirror import WandbMirror


def record(path, mirror, config, fail=False):
    """A short run; two rows at step 2, a sample, data and summary."""
    with RunFolder.create(path, config) as folder, Recorder(folder, [mirror]) as recorder:
        recorder.data({"fingerprint": "f00d"})
        recorder.metrics(1, 10, 0.5, {"train/loss": 2.0})
        recorder.metrics(2, 20, 1.0, {"train/loss": math.nan})
        recorder.metrics(2, 20, 1.5, {"val/bits_per_byte": 1.5})
        recorder.sample(2, "prompt", "text 字")
        recorder.summary({"test/bits_per_byte": 1.25})
        if fail:
            raise ValueError("no luck")
    return folder


def offline_runs(path):
    return sorted((path / "wandb").glob("offline-run-*"))


def inspected(run_folder, *options):
    """What `wandb leet inspect --json` prints, from the program behind it (50 times faster)."""
    (file,) = run_folder.glob("*.wandb")
    command = [get_core_path(), "leet", "inspect", "-no-observability", "-json", *options]
    command += ["-run-file", str(file), str(run_folder.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


def whole(run_folder):
    """All records: W&B's process may write the last of them just after `finish` has returned."""
    for _ in range(100):
        found = [json.loads(line) for line in inspected(run_folder).splitlines()]
        if any(record["type"] == "exit" for record in found):
            break
        time.sleep(0.1)
    return found


def records(run_folder, kind):
    return [record[kind] for record in whole(run_folder) if record["type"] == kind]


def summary(run_folder):
    whole(run_folder)
    return json.loads(inspected(run_folder, "-summary"))


def history(run_folder):
    rows = [item["item"] for item in records(run_folder, "history")]
    return [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]


@pytest.fixture
def mirror():
    return WandbMirror(
        "offline", "lm_research", "team", "study", "train", ["a", "b"], "why", "short name"
    )


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    """The W&B folder of a run made with a key in the environment, and what changed there."""
    path = tmp_path_factory.mktemp("one") / "run"
    config = {"model": {"hidden_size": 3, "names": ["x"]}, "note": f"key {KEY}", "output": "a"}
    mirror = WandbMirror("offline", "lm_research", "team", "study", "train", ["a", "b"], "why")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", KEY)
        patch.setenv("WANDB_MODE", "disabled")
        before = dict(os.environ)
        folder = record(path, mirror, config)
        assert dict(os.environ) == before
    return folder


def test_what_the_run_is(one_run):
    (run,) = records(offline_runs(one_run.path)[0], "run")
    assert run["run_id"] == one_run.status.id
    assert (run["project"], run["entity"], run["run_group"]) == ("lm_research", "team", "study")
    assert (run["job_type"], run["tags"], run["notes"]) == ("train", ["a", "b"], "why")
    assert run["display_name"] == "run"


def test_the_configuration_is_sent_once_and_nested(one_run):
    (run,) = records(offline_runs(one_run.path)[0], "run")
    sent = {k: v for k, v in run["config"]["update"].items() if k != "_wandb"}
    assert sent == one_run.config
    assert sent["model"] == {"hidden_size": 3, "names": ["x"]}
    updates = [c["update"] for c in records(offline_runs(one_run.path)[0], "config")]
    assert [u for u in updates if set(u) - {"_wandb"}] == [
        {"data_fingerprint": {"fingerprint": "f00d"}}
    ]


def test_rows_of_a_step_are_one_row_and_every_axis_is_defined(one_run):
    rows = history(offline_runs(one_run.path)[0])
    assert rows[0] == {"step": 1, "tokens": 10, "seconds": 0.5, "train/loss": 2}
    assert {k: v for k, v in rows[1].items() if not k.startswith("samples")} == {
        "step": 2,
        "tokens": 20,
        "seconds": 1.5,
        "train/loss": "NaN",
        "val/bits_per_byte": 1.5,
    }
    metrics = records(offline_runs(one_run.path)[0], "metric")
    assert [m["name"] for m in metrics[:3]] == ["step", "tokens", "seconds"]
    assert (metrics[3]["glob_name"], metrics[3]["step_metric"]) == ("*", "tokens")
    assert (metrics[4]["name"], metrics[4]["summary"]) == (
        "train/loss_nats",
        {"min": True, "last": True},
    )
    assert (metrics[5]["glob_name"], metrics[5]["step_metric"]) == ("perf/*", "seconds")


def test_summary_table_and_end(one_run):
    run = offline_runs(one_run.path)[0]
    end = summary(run)
    assert (end["state"], end["exit_code"]) == ("finished", 0)
    assert end["summary"]["test/bits_per_byte"] == 1.25
    assert end["summary"]["best/val/bits_per_byte"] == 1.5
    assert end["summary"]["samples"]["nrows"] == 1
    (table,) = run.glob("files/media/table/samples*.json")
    assert json.loads(table.read_text()) == {
        "columns": ["step", "prompt", "text"],
        "data": [[2, "prompt", "text 字"]],
    }


def test_no_key_reaches_any_file(one_run):
    assert one_run.config["note"] == "key <redacted>"
    files = [path for path in one_run.path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_two_runs_in_one_process_are_two_runs(tmp_path, mirror):
    folders = [record(tmp_path / str(seed), mirror, {"seed": seed}) for seed in (1, 2)]
    runs = [offline_runs(folder.path) for folder in folders]
    assert [len(found) for found in runs] == [1, 1]
    sent = [records(found[0], "run")[0] for found in runs]
    assert [run["run_id"] for run in sent] == [folder.status.id for folder in folders]
    assert [run["config"]["update"]["seed"] for run in sent] == [1, 2]
    assert len({run["run_id"] for run in sent}) == 2
    assert [len(history(found[0])) for found in runs] == [2, 2]


def test_another_run_that_is_open_is_left_alone(tmp_path, mirror):
    with wandb.init(
        mode="offline", project="other", dir=tmp_path, settings={"silent": True}
    ) as own:
        folder = record(tmp_path / "run", mirror, {"seed": 1})
        assert wandb.run is own
        own.log({"mine": 1})
    assert history(offline_runs(tmp_path)[0]) == [{"mine": 1}]
    assert len(history(offline_runs(folder.path)[0])) == 2


def test_an_error_finishes_the_run_as_failed(tmp_path, mirror):
    with pytest.raises(ValueError, match="no luck"):
        record(tmp_path, mirror, {"seed": 1}, fail=True)
    end = summary(offline_runs(tmp_path)[0])
    assert (end["state"], end["exit_code"]) == ("failed", 1)


def two_attempts(path, mirror):
    """The first fails after step 2, the second goes back to the checkpoint of step 1."""
    with RunFolder.create(path, {"seed": 1}) as folder:
        recorder = Recorder(folder, [mirror])
        recorder.start()
        recorder.metrics(1, 10, 0.5, {"train/loss": 2.0})
        recorder.metrics(2, 20, 1.0, {"train/loss": 1.0})
        recorder.finish("failed", "no luck")
    with RunFolder.create(path, {"seed": 1}) as folder, Recorder(folder, [mirror]) as recorder:
        recorder.rewind(1)
        recorder.metrics(2, 20, 1.0, {"train/loss": 1.0})
        recorder.metrics(2, 20, 1.0, {"val/bits_per_byte": 1.5})
        recorder.metrics(3, 30, 2.0, {"train/loss": 0.5})
    return folder


def test_each_attempt_is_a_fragment_of_the_same_id_and_the_newest_is_whole(tmp_path, mirror):
    two_attempts(tmp_path, mirror)
    first, second = offline_runs(tmp_path)
    assert records(first, "run")[0]["run_id"] == records(second, "run")[0]["run_id"]
    assert [row["step"] for row in history(second)] == [1, 2, 3]
    assert [row.get("val/bits_per_byte") for row in history(second)] == [None, 1.5, None]


def test_the_newest_fragment_synced_by_wandb_is_the_history(tmp_path, mirror, wandb_server):
    folder = two_attempts(tmp_path / "run", mirror)
    newest = offline_runs(folder.path)[-1]
    whole(newest)
    command = [sys.executable, "-m", "wandb", "sync", str(newest)]
    apart = variables_apart(tmp_path, wandb_server.url)
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | apart
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = wandb_server.runs[folder.status.id]["rows"]
    assert [row["_step"] for row in rows] == [1, 2, 3]
    assert [row["train/loss"] for row in rows] == [2.0, 1.0, 0.5]
    assert [row.get("val/bits_per_byte") for row in rows] == [None, 1.5, None]


def test_going_back_within_an_attempt_sends_nothing_twice(tmp_path, mirror):
    with RunFolder.create(tmp_path, {}) as folder, Recorder(folder, [mirror]) as recorder:
        for step in (1, 2, 3):
            recorder.metrics(step, step, step, {"train/loss": 2.0})
            recorder.sample(step, "prompt", str(step))
        recorder.rewind(1)
        for step in (2, 3):
            recorder.metrics(step, step, step, {"train/loss": 1.0})
            recorder.sample(step, "prompt", str(step))
    (run,) = offline_runs(tmp_path)
    assert [row["step"] for row in history(run)] == [1, 2, 3]
    assert summary(run)["summary"]["samples"]["nrows"] == 3


def test_histograms_go_with_the_row_of_their_step(tmp_path, mirror):
    with RunFolder.create(tmp_path, {}) as folder, Recorder(folder, [mirror]) as recorder:
        recorder.metrics(1, 1, 1, {"train/loss": 2.0})
        recorder.histograms(1, {"weights/a": {"counts": [1, 2], "edges": [0, 1, 2]}})
        recorder.metrics(2, 2, 2, {"train/loss": 1.0})
    (run,) = offline_runs(tmp_path)
    first, second = history(run)
    assert first["train/loss"] == 2
    assert first["weights/a._type"] == "histogram"
    assert (first["weights/a.values"], first["weights/a.bins"]) == ([1, 2], [0, 1, 2])
    assert second["step"] == 2


def test_disabled_does_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb, "init", None)
    folder = record(tmp_path, WandbMirror("disabled"), {"seed": 1})
    assert not (folder.path / "wandb").exists()
    assert len(folder.metrics) == 3


def test_a_wrong_mode_is_named():
    with pytest.raises(ValueError, match="mode='onlin': use 'offline', 'online' or 'disabled'"):
        WandbMirror("onlin")


def boom(*arguments, **options):
    raise OSError("wandb-core is gone")


@pytest.mark.parametrize("name", ["init", "log", "finish", "define_metric", "Table"])
def test_an_sdk_that_raises_does_not_fail_the_run(tmp_path, mirror, monkeypatch, caplog, name):
    owner = wandb if name in ("init", "Table") else wandb.Run
    before = dict(os.environ)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, boom)
        folder = record(tmp_path, mirror, {"seed": 1})
    assert dict(os.environ) == before
    assert folder.status.state == "done"
    assert len(folder.metrics) == 3
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("lm_research")]
    assert warnings == [
        "W&B: OSError: wandb-core is gone. "
        "The run does not depend on it: metrics.jsonl keeps every row, and `lm-research sync` "
        "sends it."
    ]
    for run in wandb.setup()._active_runs:
        run.finish()


def test_without_the_package(tmp_path, mirror, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert record(tmp_path, mirror, {"seed": 1}).status.state == "done"
    assert "W&B: ModuleNotFoundError" in caplog.text


def test_an_init_that_hangs(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(wandb, "init", lambda **options: time.sleep(5))
    start = time.monotonic()
    mirror = WandbMirror("offline", start_timeout_s=0.2)
    mirror.start("abc", tmp_path, {})
    mirror.log({"step": 1})
    mirror.finish(0)
    assert time.monotonic() - start < 2
    assert "starting took more than 0.2 s" in caplog.text


def test_a_command_line_with_a_secret_is_not_sent(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "hub.api_key=hush-hush"])
    folder = record(tmp_path, mirror, {"seed": 1})
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hush-hush" in path.read_bytes()]


ONLINE = """
import json, logging, sys
from pathlib import Path
from lm_research.tracking.wandb_mirror import WandbMirror
logging.basicConfig(level="WARNING")
path, attempts, bound = Path(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3])
def losses(step):
    return {"train/loss": 1 / step}, {"val/loss": -step}
for steps in attempts:
    mirror = WandbMirror("online", start_timeout_s=bound, finish_timeout_s=bound)
    mirror.start("abc123", path, {"a": {"b": 1}})
    if "after" in sys.argv:  # a checkpoint
        before = map(int, sys.argv[sys.argv.index("after") + 1 :])
        rows = [{"step": step} | loss for step in before for loss in losses(step)]
        mirror.rewound(rows, [], [])
    for step in steps:
        train, val = losses(step)
        mirror.log({"step": step, "tokens": 10 * step} | train)
        if not ("vanish" in sys.argv and step == steps[-1]):
            mirror.log({"step": step, "tokens": 10 * step} | val)
    if "vanish" in sys.argv:
        print("logged", flush=True)
        sys.stdin.readline()
    mirror.finish(0)
print("finished", flush=True)
"""


def online(path, url, attempts, bound, *more, key=KEY):
    kept = {k: v for k, v in os.environ.items() if k != "WANDB_API_KEY"}
    return subprocess.Popen(
        [sys.executable, "-c", ONLINE, str(path), json.dumps(attempts), str(bound), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=kept | variables_apart(path, url, key),
    )


def test_online_and_resumed_each_step_arrives_once(tmp_path, wandb_server):
    attempts = [[1, 2, 3], [3, 4]]  # the second goes back to the checkpoint of step 2
    out, err = online(tmp_path, wandb_server.url, attempts, 20).communicate(timeout=240)
    assert out == "finished\n"
    assert "WARNING" not in err
    run = wandb_server.runs["abc123"]
    assert [row["step"] for row in run["rows"]] == [1, 2, 3, 4]
    assert [row["_step"] for row in run["rows"]] == [1, 2, 3, 4]
    assert run["config"]["a"] == {"value": {"b": 1}}
    assert run["complete"] == [0, 0]


def test_online_what_a_killed_attempt_did_not_send_arrives(tmp_path, wandb_server):
    """Killed in the evaluation after step 3: W&B may have any of the steps, but none half."""
    process = online(tmp_path, wandb_server.url, [[1, 2, 3]], 20, "vanish")
    assert process.stdout.readline() == "logged\n"
    process.kill()
    process.communicate()
    time.sleep(2)  # what W&B's own process still does
    again = online(tmp_path, wandb_server.url, [[3, 4]], 20, "after", "1", "2", "3")
    out, err = again.communicate(timeout=240)
    assert out == "finished\n", err
    rows = wandb_server.runs["abc123"]["rows"]
    assert [row["_step"] for row in rows] == [1, 2, 3, 4]
    assert [row["val/loss"] for row in rows] == [-1, -2, -3, -4]


def test_a_server_that_vanishes_ends_in_time(tmp_path, wandb_server):
    process = online(tmp_path, wandb_server.url, [list(range(1, 200))], 6, "vanish")
    assert process.stdout.readline() == "logged\n"
    wandb_server.shutdown()
    wandb_server.server_close()
    start = time.monotonic()
    out, err = process.communicate("go\n", timeout=240)
    assert out == "finished\n"
    assert process.returncode == 0
    assert err.count("WARNING:lm_research") == 1
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("key", "told"), [(KEY, "refused"), (None, "no API key. Run `wandb login`")]
)
def test_no_server_or_no_key(tmp_path, key, told):
    start = time.monotonic()
    process = online(tmp_path, "http://127.0.0.1:9", [[1]], 8, key=key)
    out, err = process.communicate(timeout=240)
    assert out == "finished\n"
    assert process.returncode == 0
    warnings = [line for line in err.splitlines() if line.startswith("WARNING:lm_research")]
    assert len(warnings) == 1
    assert told in warnings[0]
    assert time.monotonic() - start < 45
