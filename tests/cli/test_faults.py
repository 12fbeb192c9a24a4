"""Folders that vanish or close under a run, a clock set back, two commands on one run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()"]
OFTEN = ["callbacks.metrics.every=5", "callbacks.checkpoint.every=20"]
LONG = ["budget.train_tokens=50000000", *OFTEN]
AS_NOBODY = ["unshare", "-U"]
"""Root may write what is read-only; in a user namespace without a mapping nobody may."""
BACKWARDS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
typedef int (*reader)(clockid_t, struct timespec *);
int clock_gettime(clockid_t id, struct timespec *t) {
    static reader proper;
    static struct timespec first;
    if (!proper) proper = (reader)dlsym(RTLD_NEXT, "clock_gettime");
    int failed = proper(id, t);
    if (failed || id != CLOCK_REALTIME) return failed;
    if (!first.tv_sec) first = *t;
    double gone = (t->tv_sec - first.tv_sec) + (t->tv_nsec - first.tv_nsec) / 1e9;
    t->tv_sec = first.tv_sec - (time_t)(60 * gone);
    return 0;
}
time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
int gettimeofday(struct timeval *out, void *zone) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    out->tv_sec = t.tv_sec;
    out->tv_usec = t.tv_nsec / 1000;
    return 0;
}
"""
"""For LD_PRELOAD: the clock on the wall loses a minute a second."""


@pytest.fixture
def start(tmp_path, tiny):
    """A command, ended with the test."""
    started = []

    def begin(verb: str, *arguments: str, before=(), **environment: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [*before, *COMMAND, verb, *tiny, *arguments]
        places = {"cwd": tmp_path, "env": {**os.environ, **environment}}
        started.append(subprocess.Popen(command, start_new_session=True, **places, **pipes))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(condition, process, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def trained(folder: Path, checkpoints: int = 2):
    return lambda: len(list((folder / "checkpoints").glob("step-*.ckpt"))) >= checkpoints


def ended(process: subprocess.Popen[str], code: int) -> str:
    said, complaint = process.communicate(timeout=90)
    assert process.returncode == code, said + complaint
    assert "Traceback" not in complaint
    return said + complaint


@pytest.mark.slow
def test_deleted_checkpoints_are_written_anew(start, tmp_path, read_json):
    out = tmp_path / "out"
    process = start("train", *LONG, f"output={out}")
    wait_for(trained(out), process)
    os.rename(out / "checkpoints", tmp_path / "away")  # deleting takes its time, this does not
    shutil.rmtree(tmp_path / "away")
    wait_for(trained(out), process)
    process.send_signal(signal.SIGTERM)
    told = ended(process, os.EX_TEMPFAIL)
    assert "checkpoints: was deleted while the run writes it" in told
    assert read_json(out / "checkpoints/index.json")["checkpoints"]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("fate", ["deleted", "moved"])
def test_a_run_whose_folder_is_gone_stops(start, tmp_path, fate):
    out = tmp_path / "out"
    process = start("train", *LONG, f"output={out}")
    wait_for(trained(out), process)
    os.rename(out, tmp_path / "elsewhere")
    if fate == "deleted":
        shutil.rmtree(tmp_path / "elsewhere")
    last = ended(process, 1).splitlines()[-1]
    assert f"lm-research train: {out}" in last
    assert "is not there any more" in last
    assert not out.exists()
    if fate == "moved":
        rows = (tmp_path / "elsewhere/metrics.jsonl").read_text().splitlines()
        assert all(map(json.loads, rows))


@pytest.fixture
def nobody(tmp_path):
    """What a command is started with to be held by permissions, whoever runs the tests."""
    if os.geteuid():
        return []
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o5 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o5)
    if subprocess.run([*AS_NOBODY, "true"], capture_output=True).returncode:
        pytest.skip("root here, and no user namespaces")
    return AS_NOBODY


def test_a_read_only_folder_is_told_before_anything_starts(start, tmp_path, nobody):
    (tmp_path / "out").mkdir(mode=0o555)
    last = ended(start("train", f"output={tmp_path / 'out'}", before=nobody), 1).splitlines()[-1]
    assert "out: not writable (Permission denied). Give another output=FOLDER" in last
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_a_folder_that_becomes_read_only_loses_nothing(start, tmp_path, nobody):
    out = tmp_path / "out"
    options = ["budget.train_tokens=40000", *OFTEN, f"output={out}"]
    process = start("train", *options, before=nobody)
    wait_for(trained(out), process)
    for folder in (out, out / "checkpoints"):
        folder.chmod(0o555)
    kept = sorted((out / "checkpoints").iterdir())
    assert "not writable (Permission denied)" in ended(process, 1).splitlines()[-1]
    assert sorted((out / "checkpoints").iterdir()) == kept
    for folder in (out, out / "checkpoints"):
        folder.chmod(0o755)
    ended(start("train", *options, before=nobody), 0)


@pytest.mark.slow
def test_a_second_command_on_a_run_is_refused_and_a_dead_one_is_no_obstacle(
    start, tmp_path, read_json
):
    out = tmp_path / "out"
    first = start("train", *LONG, f"output={out}")
    wait_for(trained(out), first)
    last = ended(start("train", *LONG, f"output={out}"), 1).splitlines()[-1]
    assert f"out: in use by process {first.pid} on " in last
    assert first.poll() is None
    first.kill()
    first.communicate()
    third = start("train", *LONG, f"output={out}")
    wait_for(lambda: read_json(out / "status.json")["attempts"] == 2, third)
    third.send_signal(signal.SIGTERM)
    assert "attempt 1 ended without a word" in ended(third, os.EX_TEMPFAIL)


@pytest.fixture
def set_back(tmp_path):
    """An environment in which the clock goes backwards."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make a clock that goes backwards")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(BACKWARDS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.mark.slow
def test_a_clock_that_goes_backwards_moves_no_figure(start, tmp_path, set_back, read_json):
    ended(start("train", "callbacks.metrics.every=1", "output=out", **set_back), 0)
    status = read_json(tmp_path / "out/status.json")
    assert status["finished"] < status["started"], "the clock did go backwards"
    rows = list(map(json.loads, (tmp_path / "out/metrics.jsonl").read_text().splitlines()))
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0
    assert all(row.get("perf/tokens_per_s", 1) > 0 for row in rows)


@pytest.mark.slow
def test_a_failure_is_told_though_the_clock_went_backwards(start, tmp_path, set_back):
    options = ["-m", "data.sha256=wrong,null", "output=several"]
    assert "failed: several/0: " in ended(start("train", *options, **set_back), 1)
