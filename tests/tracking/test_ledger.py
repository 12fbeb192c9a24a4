"""A ledger says what the run folders say, whatever happens to it; find_runs is the oracle."""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from sqlalchemy import select

from lm_research.analysis.runs import find_runs, load_run
from lm_research.tracking.ledger import refreshing
from lm_research.tracking.ledger.ledger import open_ledger
from lm_research.tracking.ledger.schema import RUNS
from lm_research.tracking.run_folder import RunFolder

OPEN = """
import sys
from pathlib import Path
from lm_research.tracking.ledger import refreshing
from lm_research.tracking.ledger.ledger import open_ledger
ledger = open_ledger(sys.argv[1], Path(sys.argv[2]))
print(ledger.path, len(ledger.runs()), *ledger.remarks)
"""
AS_NOBODY = ["unshare", "-U"]
"""Root may write what is read-only; in a user namespace without a mapping nobody may."""


def write_run(folder: Path, seed: int = 1, state: str = "done", **config) -> Path:
    """A run folder with a curve, scores, data and environment."""
    folder.mkdir(parents=True)
    values = {
        "seed": seed,
        "output": str(folder),
        "model": {"_target_": "m.RNN", "hidden_size": 8},
        "data": {"name": "books"},
        "choices": {"data": "books", "model": "rnn"},
        **config,
    }
    status = {
        "id": f"{folder.name}{seed:04d}",
        "state": state,
        "step": 4,
        "steps": 4,
        "created": f"2026-11-24T10:00:{seed % 60:02d}+00:00",
        "error": None,
    }
    score = 2 + seed / 10
    rows = [
        {"step": n, "tokens": 10 * n, "seconds": n / 2, "val/bits_per_byte": score + 1 / n}
        for n in range(1, 5)
    ]
    files = {
        "config.yaml": yaml.safe_dump(values, sort_keys=False),
        "status.json": json.dumps(status),
        "metrics.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "summary.json": json.dumps({"val/bits_per_byte": score, "eval/code/bits_per_byte": None}),
        "data.json": json.dumps({"fingerprint": "f" * 64, "source": "books", "licence": "MIT",
                                 "splits": {"validation": {"text_sha256": "aa"}},
                                 "evaluated": {"code": {"text_sha256": "bb"}}}),
        "environment.json": json.dumps({"host": "here", "time": seed, "versions": {"torch": "2"},
                                        "command": ["lm-research", "train", f"seed={seed}"]}),
        "samples.jsonl": json.dumps({"step": 4, "prompt": "a", "text": "b"}) + "\n",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def root(tmp_path):
    """Five runs, one of them two folders down."""
    for seed in range(1, 5):
        write_run(tmp_path / "runs" / f"job{seed}", seed)
    write_run(tmp_path / "runs" / "older" / "job10", 10)
    return tmp_path / "runs"


@pytest.fixture
def ledger_of(tmp_path):
    """Opens the ledger of a folder."""
    return lambda folder: open_ledger(folder, tmp_path / "cache")


def parts(run) -> dict:
    """A run as plain values, without what is only told of one attempt."""
    values = {**vars(run), "curve": [dict(r) for r in run.curve], "samples": list(run.samples)}
    values["environment"] = {k: v for k, v in run.environment.items() if k != "time"}
    return values | {"notes": list(run.notes)}


def assert_faithful(ledger) -> None:
    """The ledger's runs are those of the folders, field by field."""
    assert [parts(run) for run in ledger.runs()] == [parts(run) for run in find_runs(ledger.root)]
    with contextlib.closing(sqlite3.connect(ledger.path or ":memory:")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def query(ledger, sql):
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection:
        return connection.execute(sql).fetchall()


def test_the_runs_are_those_of_the_folders(root, ledger_of):
    ledger = ledger_of(root)
    assert (ledger.path, ledger.read, ledger.remarks) == (root / "ledger.sqlite", 5, ())
    assert_faithful(ledger)


def test_a_limit_keeps_the_first_of_the_order_and_not_some_rows(root, ledger_of):
    ledger = ledger_of(root)
    backwards = select(RUNS.c.id).order_by(RUNS.c.id.desc())
    everything = [run.folder for run in ledger.runs(backwards)]
    assert len(everything) > 1
    assert [run.folder for run in ledger.runs(backwards.limit(1))] == everything[:1]


def test_a_curve_is_the_same_by_rows_and_by_columns(root, ledger_of):
    for run in ledger_of(root).runs():
        from_folder = load_run(run.folder)
        for key in ("val/bits_per_byte", "seconds", "nothing"):
            assert run.points(key) == from_folder.points(key)
        assert len(run.curve) == len(list(run.curve))


def test_what_is_damaged_and_strange_is_there_too(root, ledger_of):
    (root / "job1" / "config.yaml").write_bytes(b"a: 1\na: 2\n")
    (root / "job2" / "status.json").write_text('{"id": "x\\ud800", "state": "done", "step": 1e400}')
    (root / "job3" / "metrics.jsonl").write_text('{"step": NaN}\nnonsense\n{"tokens": Infinity}\n')
    big = {"model": {"a": float("inf"), "b": 10**30, "c": [float("nan")]}, 5: {6: 7}}
    (root / "job4" / "config.yaml").write_text(yaml.safe_dump(big))
    (root / "job4" / "summary.json").write_text('{"val/x": -Infinity, "text": "words", "ok": true}')
    ledger = ledger_of(root)
    runs, true = ledger.runs(), find_runs(root)
    assert [run.folder for run in runs] == [run.folder for run in true]
    assert [list(run.notes) for run in runs] == [list(run.notes) for run in true]
    assert [dict(run.summary) for run in runs] == [dict(run.summary) for run in true]
    assert repr(runs[3].config["model"]) == repr(true[3].config["model"])


def test_only_what_changed_is_read(root, ledger_of):
    assert [ledger_of(root).read for _ in range(2)] == [5, 0]
    with (root / "job1" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "tokens": 50, "val/bits_per_byte": 1.5}\n')
    with (root / "job2" / "evaluations.jsonl").open("w") as file:
        file.write('{"data": "web", "split": "test", "checkpoint": "best", "accuracy": 0.5}\n')
    write_run(root / "new", 20)
    shutil.rmtree(root / "job3")
    ledger = ledger_of(root)
    assert ledger.read == 3
    assert_faithful(ledger)
    found = query(ledger, "SELECT source, split, checkpoint, scores FROM evaluations ORDER BY id")
    assert ("web", "test", "best", '{"accuracy":0.5}') in found
    assert found.count(("books", "validation", "end", f'{{"bits_per_byte":{2.1}}}')) == 1


def test_a_change_that_hides_behind_size_and_date_is_noticed(root, ledger_of):
    ledger_of(root)
    file = root / "job1" / "summary.json"
    before, text = file.stat(), file.read_text()
    file.write_text(text.replace("2.1", "1.9"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    ledger = ledger_of(root)
    assert ledger.read == 1
    assert ledger.runs()[0].summary["val/bits_per_byte"] == 1.9


def test_data_sets_and_environments_are_shared_and_go_with_their_last_run(root, ledger_of):
    ledger = ledger_of(root)
    tied = "SELECT count(DISTINCT data_set), count(DISTINCT environment), count(*) FROM runs"
    assert query(ledger, tied) == [(1, 1, 5)]
    ids = dict(query(ledger, "SELECT name, id FROM runs"))
    (root / "job1" / "data.json").write_text('{"fingerprint": "0"}')
    ledger = ledger_of(root)
    assert query(ledger, "SELECT count(*) FROM data_sets") == [(2,)]
    assert dict(query(ledger, "SELECT name, id FROM runs")) == ids
    shutil.rmtree(root / "job1")
    assert query(ledger_of(root), "SELECT fingerprint FROM data_sets") == [("f" * 64,)]


def test_people_can_ask_for_metrics_fields_and_points(root, ledger_of):
    ledger = ledger_of(root)
    best = "SELECT name, value FROM results JOIN runs ON runs.id = run ORDER BY value LIMIT 1"
    assert query(ledger, best.replace("ORDER", "WHERE value NOT NULL ORDER")) == [("job1", 2.1)]
    assert query(ledger, "SELECT DISTINCT value FROM fields WHERE field = 'model.hidden_size'") == [
        (8,)
    ]
    points = "SELECT points.tokens, points.seconds, value FROM points JOIN runs ON runs.id = run"
    points += " WHERE name = 'job2'"
    assert query(ledger, points) == [(10 * n, n / 2, 2.2 + 1 / n) for n in range(1, 5)]


def test_published_numbers_stand_beside_ours_as_last_judged(root, ledger_of):
    folder = root / "reproduce" / "elman_ptb"
    write_run(folder / "seed-1")
    ours = {"mean": 123.5, "sd": 0.7, "low": 117.2, "high": 129.9, "n": 2}
    row = {"name": "test", "metric": "test/ppl", "published": 124.7, "mark": "V", "ours": ours,
           "tolerance": 2.5, "state": "reproduced", "why": "two seeds"}  # fmt: skip
    asked = "SELECT folder, experiment, name, published, mean, high, seeds, state FROM published"
    assert query(ledger_of(root), asked) == []
    file = folder / "verdict.json"
    file.write_text(json.dumps({"experiment": "elman_ptb", "rows": [row]}))
    here = "reproduce/elman_ptb"
    found = (here, "elman_ptb", "test", 124.7, 123.5, 129.9, 2, "reproduced")
    for _ in range(2):
        ledger = ledger_of(root)
        assert query(ledger, asked) == [found]
    assert_faithful(ledger)
    file.write_text("{")
    assert query(ledger_of(root), asked) == [(here, *[None] * 6, "damaged")]
    file.unlink()
    assert query(ledger_of(root), asked) == []


def test_a_running_run_without_its_process_is_stale(tmp_path, ledger_of):
    with RunFolder.create(tmp_path / "runs" / "a", {"seed": 1}) as folder:
        folder.start()
        assert [run.state for run in ledger_of(tmp_path / "runs").runs()] == ["running"]
    ledger = ledger_of(tmp_path / "runs")
    assert (ledger.read, [run.state for run in ledger.runs()]) == (0, ["stale"])
    with RunFolder.create(tmp_path / "runs" / "a", {"seed": 1}):
        assert [run.state for run in ledger_of(tmp_path / "runs").runs()] == ["running"]


def test_no_secret_enters(root, ledger_of, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "k" * 20)
    config = {"data": {"token": "x", "api_key": "abcdefgh12345678", "url": "https://me:pw1@host/x"},
              "note": "see " + "k" * 20}  # fmt: skip
    write_run(root / "leaky", 30, **config)
    status = {"id": "leaky", "state": "failed", "error": "401 for hf_" + "a" * 24}
    (root / "leaky" / "status.json").write_text(json.dumps(status))
    command = ["lm-research", "train", "data.api_key=verysecret99", "--password", "swordfish"]
    (root / "leaky" / "environment.json").write_text(json.dumps({"command": command}))
    row = {"data": "k" * 20, "split": "test", "checkpoint": "last"}
    (root / "leaky" / "evaluations.jsonl").write_text(json.dumps(row) + "\n")
    ledger_of(root)
    written = b"".join(file.read_bytes() for file in root.glob("ledger.sqlite*"))
    assert b"leaky" in written
    for secret in ("k" * 20, "abcdefgh12345678", "pw1", "a" * 24, "verysecret99", "swordfish"):
        assert secret.encode() not in written


def processes(count, root, cache):
    command = [sys.executable, "-c", OPEN, str(root), str(cache)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen(command, **pipes) for _ in range(count)]


def test_several_processes_refresh_at_once(root, tmp_path, ledger_of):
    for seed in range(100, 200):
        write_run(root / f"more{seed}", seed)
    for process in processes(3, root, tmp_path / "cache"):
        out, err = process.communicate(timeout=120)
        assert (out, err) == (f"{root / 'ledger.sqlite'} 105\n", "")
    ledger = ledger_of(root)
    assert ledger.read == 0
    assert_faithful(ledger)


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(root, tmp_path, ledger_of):
    for seed in range(100, 350):
        write_run(root / f"more{seed}", seed)
    rng = random.Random(0)
    for _ in range(6):
        (process,) = processes(1, root, tmp_path / "cache")
        time.sleep(rng.uniform(0.3, 1.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    ledger = ledger_of(root)
    assert ledger.remarks == ()
    assert_faithful(ledger)


DAMAGES = {
    "text": lambda data: b"no database at all " * 500,
    "cut": lambda data: data[: len(data) // 2],
    "hole": lambda data: data[:4096] + bytes(len(data) - 4096),
    "header": lambda data: b"SQLite format 3\0" + b"\xff" * (len(data) - 16),
    "noise": lambda data: data[:8192] + random.Random(0).randbytes(len(data) - 8192),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_made_anew(root, ledger_of, damage):
    ledger_of(root).engine.dispose()
    file = root / "ledger.sqlite"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    ledger = ledger_of(root)
    (remark,) = ledger.remarks
    assert str(file) in remark
    assert "made anew from the runs" in remark
    assert (root / "ledger.sqlite.damaged-1").exists()
    assert_faithful(ledger)
    assert ledger_of(root).remarks == ()


def test_somebody_elses_database_is_kept(root, ledger_of):
    file = root / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript("CREATE TABLE accounts (sum); INSERT INTO accounts VALUES (7)")
    before = file.read_bytes()
    assert_faithful(ledger_of(root))
    assert (root / "ledger.sqlite.damaged-1").read_bytes() == before


@pytest.mark.parametrize(
    "change",
    ["PRAGMA user_version = 0", "DROP VIEW points", "UPDATE owner SET folder = 'another'",
     "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END"],
)  # fmt: skip
def test_of_another_version_or_changed_it_is_emptied(root, ledger_of, change):
    ledger_of(root).engine.dispose()
    with contextlib.closing(sqlite3.connect(root / "ledger.sqlite")) as connection:
        connection.execute(change)
        connection.commit()
    ledger = ledger_of(root)
    assert len(ledger.remarks) == 1
    assert ledger.read == 5
    assert_faithful(ledger)
    assert not list(root.glob("*damaged*"))


def test_a_copied_folder_is_not_trusted(root, tmp_path, ledger_of):
    ledger_of(root).engine.dispose()
    shutil.copytree(root, tmp_path / "copy")
    ledger = ledger_of(tmp_path / "copy")
    assert "copy" in ledger.remarks[0]
    assert_faithful(ledger)


def test_a_link_is_not_followed(root, tmp_path, ledger_of):
    (tmp_path / "mine").write_text("precious")
    (root / "ledger.sqlite").symlink_to(tmp_path / "mine")
    ledger = ledger_of(root)
    assert ledger.path is not None
    assert ledger.path.is_relative_to(tmp_path / "cache")
    assert (tmp_path / "mine").read_text() == "precious"
    assert_faithful(ledger)


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs user namespaces")
@pytest.mark.parametrize("cache_too", [False, True])
def test_a_folder_that_cannot_be_written(root, tmp_path, cache_too):
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o555 if cache_too else 0o777)
    root.chmod(0o555)
    command = [*AS_NOBODY, sys.executable, "-c", OPEN, str(root), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    place, count = done.stdout.split()
    assert count == "5"
    assert Path(place).is_relative_to(cache) if not cache_too else place == "None"
    assert not list(root.glob("ledger*"))


def test_a_full_disk_is_no_reason_to_fail(root, tmp_path):
    for seed in range(100, 160):
        write_run(root / f"more{seed}", seed)

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, "-c", OPEN, str(root), str(tmp_path / "cache")]
    pipes = {"capture_output": True, "text": True, "timeout": 60, "check": True}
    assert subprocess.run(command, preexec_fn=small, **pipes).stdout.split() == ["None", "65"]


def test_there_must_be_a_folder(tmp_path, ledger_of):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        ledger_of(tmp_path / "nowhere")


def test_it_is_written_batch_by_batch(root, ledger_of, monkeypatch):
    monkeypatch.setattr(refreshing, "BATCH", 2)
    seen = []
    ledger = open_ledger(root, root.parent / "cache", lambda done, of: seen.append((done, of)))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert_faithful(ledger)


def test_nothing_is_put_into_a_run(root, ledger_of):
    ledger = ledger_of(root / "job1")
    assert (ledger.path, len(ledger.runs())) == (None, 1)
    assert not (root / "job1" / "ledger.sqlite").exists()
