"""Studies on Ray: what is told before anything runs, and rounds with workers that are lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest
from hydra.core.utils import JobReturn, JobStatus

from lm_research.cli import ray_cluster
from lm_research.cli.ray_worker import NotSharedError, work
from lm_research.cli.sweep import planned_study
from lm_research.config import extras
from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()"]
STUDY = ["sweep=demo", "data=code", "vectorizer=embedding", "evaluate_on=[]"]


def test_the_launcher_composes_and_its_fields_are_checked():
    launcher = compose(["hydra/launcher=ray", "hydra.launcher.num_gpus=1"]).hydra.launcher
    assert (launcher.num_cpus, launcher.num_gpus, launcher.n_jobs) == (1, 1, -1)
    with pytest.raises(ConfigError, match="num_gpu"):
        compose(["hydra/launcher=ray", "+hydra.launcher.num_gpu=1"])


def test_without_the_extra_the_fix_is_told_before_anything_runs(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'lm-research\[ray\]'"):
        planned_study([*STUDY, "hydra/launcher=ray"])
    compose(["hydra/launcher=joblib"])


def test_the_pool_of_one_machine_is_not_for_ray():
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.num_gpus=1"):
        planned_study([*STUDY, "hydra/launcher=ray", "+sweep.gpus=[0]"])


def test_a_machine_without_the_folders_says_so(tmp_path):
    with pytest.raises(NotSharedError, match="shared folders"):
        work(b"", str(tmp_path), str(tmp_path / "study"), {})


class Ray:
    """Tasks that end one a wait: with a word, or with an error."""

    exceptions = SimpleNamespace(TaskCancelledError=type("TaskCancelledError", (Exception,), {}))

    def __init__(self, *words, resources=None):
        self.words, self.cancelled, self.most = words, [], 0
        self.resources = resources

    def wait(self, references, timeout):
        self.most = max(self.most, len(references))
        return references[:1], references[1:]

    def cancel(self, reference):
        self.cancelled.append(reference)

    def get(self, reference):
        if isinstance(word := self.words[reference], Exception):
            raise word
        return cloudpickle.dumps(JobReturn(status=JobStatus.COMPLETED, _return_value=word))

    def nodes(self):
        return [{"Alive": True, "Resources": self.resources}]


def a_round(ray):
    jobs = [(number, []) for number in range(len(ray.words))]
    return ray_cluster._Round(ray, lambda job: job[0], jobs)


def test_so_many_at_a_time_and_results_in_order():
    ray = Ray("done", "failed", "elsewhere")
    assert [one.return_value for one in a_round(ray).run(2)] == ["done", "failed", "elsewhere"]
    assert ray.most == 2


def test_a_lost_worker_ends_the_round_when_the_others_have_ended():
    one = a_round(Ray(RuntimeError("a worker died"), "done", "done"))
    with pytest.raises(RuntimeError, match="a worker died"):
        one.run(3)
    assert sorted(one.found) == [1, 2]


def test_asked_to_stop_it_cancels_what_runs_and_begins_nothing_more(monkeypatch):
    ray = Ray("done", Ray.exceptions.TaskCancelledError(), "interrupted", "done")
    one = a_round(ray)
    monkeypatch.setattr(ray_cluster, "asked_to_stop", lambda: 0 in one.found)
    words = [found.return_value for found in one.run(3)]
    assert words == ["done", "interrupted", "interrupted", "interrupted"]
    assert ray.cancelled == [1, 2]


def test_a_job_that_fits_nowhere_is_told(monkeypatch, capsys):
    ray = Ray(resources={"CPU": 2.0})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.num_gpus=1"):
        ray_cluster._check_room(ray, {"CPU": 2, "GPU": 1})
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    ray_cluster._check_room(ray, {"CPU": 2, "GPU": 1})
    assert "no machine of the cluster" in capsys.readouterr().err


@pytest.fixture
def start(tmp_path, tiny, monkeypatch):
    """Begin a study of four runs on a Ray of this machine; end what is left of it."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    started = []

    def begin(output: str, *arguments: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [*COMMAND, "sweep", *tiny, *STUDY, *arguments, f"output={output}"]
        started.append(subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process, code: int) -> str:
    said, complaint = process.communicate(timeout=300)
    assert process.returncode == code, said + complaint
    assert "Traceback" not in complaint
    return complaint


def runs(folder: Path, name: str) -> dict[str, dict]:
    return {f.parent.name: json.loads(f.read_text()) for f in sorted(folder.glob(f"*/{name}"))}


TIMED = ("seconds", "per_s", "perf/", "memory", "heartbeat")


def scores(folder: Path) -> dict[str, dict]:
    return {
        name: {k: v for k, v in found.items() if not any(word in k for word in TIMED)}
        for name, found in runs(folder, "summary.json").items()
    }


def working(folder: Path, process, count: int) -> dict[str, int]:
    """Wait until so many runs have a checkpoint and go on; their processes."""
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen"
        found = {
            name: status["pid"]
            for name, status in runs(folder, "status.json").items()
            if status["state"] == "running" and list((folder / name).glob("checkpoints/*.ckpt"))
        }
        if len(found) >= count:
            return found
        time.sleep(0.05)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def gone(pids) -> bool:
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.slow
def test_every_job_once_and_the_same_numbers_as_one_after_the_other(start, tmp_path):
    axes = ["model=rnn,lstm", "seed=1,2"]
    ended(start("ray", *axes, "hydra/launcher=ray"), 0)
    ended(start("basic", *axes, "hydra/launcher=basic"), 0)
    assert len(scores(tmp_path / "ray")) == 4
    assert scores(tmp_path / "ray") == scores(tmp_path / "basic")
    assert {s["attempts"] for s in runs(tmp_path / "ray", "status.json").values()} == {1}
    assert "nothing is left" in start("ray", *axes, "hydra/launcher=ray").communicate()[0]


LASTING = [
    "model=rnn", "seed=1,2,3", "budget.train_tokens=30000", "callbacks.checkpoint.every=40",
    "hydra/launcher=ray", "hydra.launcher.n_jobs=2",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "group", "code"),
    [(signal.SIGTERM, False, 75), (signal.SIGINT, True, 130)],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_stopped_its_runs_save_and_it_goes_on(start, tmp_path, number, group, code):
    process, folder = start("out", *LASTING), tmp_path / "out"
    pids = working(folder, process, 2)
    (os.killpg if group else os.kill)(process.pid, number)
    assert "the same command" in ended(process, code)
    assert gone(pids.values())
    states = {name: s["state"] for name, s in runs(folder, "status.json").items()}
    assert [states[name] for name in pids] == ["interrupted", "interrupted"]
    ended(start("out", *LASTING), 0)
    assert len(scores(folder)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "beside", "driver"])
def test_killed_it_costs_the_steps_since_the_last_checkpoint(start, tmp_path, victim):
    process, folder = start("out", *LASTING), tmp_path / "out"
    pids = working(folder, process, 2)
    beside = parent(next(iter(pids.values())))
    killed = {"worker": parent(beside), "beside": beside, "driver": process.pid}[victim]
    os.kill(killed, signal.SIGKILL)
    if victim == "driver":
        process.communicate()
        assert gone([*pids.values(), beside])
        process = start("out", *LASTING)
    complaint = ended(process, 0)
    assert ("the launcher ended" in complaint) == (victim != "driver")
    ended(start("whole", *LASTING[:-2], "hydra/launcher=basic"), 0)
    assert scores(folder) == scores(tmp_path / "whole")
