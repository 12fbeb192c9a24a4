"""``lm-research tune sweep=NAME``: a study's space searched by Optuna, a run a trial."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli.own_process import asked_to_stop, passing_to_workers
from lm_research.cli.report import report
from lm_research.cli.sweep import Study, planned_study
from lm_research.cli.tell import tell
from lm_research.cli.train import make_folder
from lm_research.config.problems import ConfigError, Problem
from lm_research.studies.jobs import FILE as JOBS
from lm_research.studies.jobs import Job, planned, read_jobs, write_jobs
from lm_research.studies.plan import Plan
from lm_research.studies.search import dimensions, open_search, optuna, queue_again, setting_of
from lm_research.studies.states import standings
from lm_research.tracking.folder_lock import FolderLock
from lm_research.tracking.json_files import read_json, write_json, write_text
from lm_research.tracking.run_folder import RunFolder

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()", "train"]
AGAIN = "the same command goes on with the search"
POLL_S = 0.5
HELP = """usage: lm-research tune sweep=NAME [GROUP.FIELD=VALUE] ...

Searches sweep.tune.space of sweeps/NAME.yaml with Optuna, one run a trial, under the study's first
seed. What is behind half of the earlier runs is cut (sweep.tune.pruner). The search is kept in
FOLDER/tune.sqlite3 and goes on when started again; runs that were cut short go on, too.

  sweep.tune.trials=50       trials in all, earlier ones included
  sweep.tune.jobs=4          runs at a time"""


@dataclass
class Run:
    """A trial at work."""

    trial: Any
    job: Job
    process: subprocess.Popen[bytes]
    rows: int = 0
    cut: bool = field(default=False)


def run(arguments: list[str]) -> int:
    """Search; 1 if no trial came to an end."""
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    study = planned_study(arguments)
    if not study.node.get("tune"):
        allowed = "a study with sweep.tune: {space: {optimizer.lr: {low: 0.001, high: 0.1}}}"
        raise ConfigError([Problem("sweep.tune", "is not set", None, allowed)])
    known = dimensions(study.node["tune"]["space"])
    folder = make_folder(str(study.folder))
    lock = FolderLock(folder)
    lock.acquire()
    try:
        with passing_to_workers():
            search = Search(study, folder, known)
            search.run()
    except Stopped as stopped:
        print(f"lm-research tune: {stopped}; {AGAIN}", file=sys.stderr)
        raise
    finally:
        lock.release()
    return search.end()


class Search:
    """The loop between Optuna and the runs."""

    def __init__(self, study: Study, folder: Path, known: dict[str, Any]) -> None:
        self.folder, self.known, self.study = folder, known, study
        self.node, self.seed = study.node, study.plan.seeds[0]
        self.jobs = read_jobs(folder) if (folder / JOBS).exists() else []
        self.optuna = open_search(folder, self.node, self.seed)
        self.states = optuna().trial.TrialState
        if left := queue_again(self.optuna):
            tell(f"going on with {left} trials that were under way")
        keys = list(study.node["tune"]["space"])
        node = {**self.node, "axes": self.node["axes"] or keys}
        write_text(folder / "sweep.yaml", yaml.safe_dump(node, sort_keys=False))

    def run(self) -> None:
        """Until all trials have ended, or somebody asks to stop."""
        at_once, working = self.node["tune"].get("jobs", 1), list[Run]()
        while not asked_to_stop():
            while len(working) < at_once and self._left(working) > 0:
                working.append(self._begin())
            if not working:
                return
            time.sleep(POLL_S)
            working = [one for one in working if not self._look(one)]
        for one in working:
            one.process.wait()  # they were told to save and end

    def _left(self, working: Sequence[Run]) -> int:
        ended = (self.states.COMPLETE, self.states.PRUNED)
        known = self.optuna.get_trials(deepcopy=False)
        failed = sum("failed" in trial.user_attrs for trial in known)
        done = sum(trial.state in ended for trial in known) + failed
        return int(self.node["tune"].get("trials", 20)) - done - len(working)

    def _begin(self) -> Run:
        trial = self.optuna.ask(self.known)
        plan = Plan({}, (), (setting_of(trial.params),), (), (self.seed,))
        job = planned(plan, self.study.fixed, self.study.config_dir)[0].job
        trial.set_user_attr("folder", job.folder)
        if job not in self.jobs:
            self.jobs.append(job)
            write_jobs(self.folder, self.jobs)
        output = f"output={self.folder / job.folder}"
        flags = ["--config-dir", self.study.config_dir] if self.study.config_dir else []
        log = (self.folder / f"{job.folder}.log").open("ab")
        with log:
            process = subprocess.Popen(
                [*COMMAND, *flags, *job.overrides, output], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip
        return Run(trial, job, process)

    def _look(self, one: Run) -> bool:
        """Report what is new, cut what is behind; whether the run has ended."""
        code = one.process.poll()
        self._report(one)
        if code is None:
            if not one.cut and one.trial.should_prune():
                one.cut = True
                os.kill(one.process.pid, signal.SIGTERM)
            return False
        if asked_to_stop():
            return True  # it is gone on with next time
        self._tell(one, code)
        return True

    def _report(self, one: Run) -> None:
        rows = RunFolder(self.folder / one.job.folder).metrics
        for row in list(rows)[one.rows :]:
            one.rows += 1
            if (value := row.get(self.node["metric"])) is not None:
                one.trial.report(float(value), int(row["step"]))

    def _tell(self, one: Run, code: int) -> None:
        number, text = one.trial.number, ", ".join(_texts(one.job))
        value = self._value(one) if code == 0 else None
        if one.cut and code:
            self.optuna.tell(one.trial, state=self.states.PRUNED)
            tell(f"trial {number} cut: {text}")
        elif value is None:
            one.trial.set_user_attr("failed", code)
            self.optuna.tell(one.trial, state=self.states.FAIL)
            log = self.folder / f"{one.job.folder}.log"
            tell(f"trial {number} failed ({code}): {text} (log: {log})")
        else:
            self.optuna.tell(one.trial, value)
            tell(f"trial {number} {self.node['metric']} {value:.4f}: {text}")

    def _value(self, one: Run) -> float | None:
        value = read_json(self.folder / one.job.folder / "summary.json").get(self.node["metric"])
        return None if value is None else float(value)

    def end(self) -> int:
        """Say what was best, and write the report."""
        trials = self.optuna.get_trials(deepcopy=False)
        if not any(trial.state == self.states.COMPLETE for trial in trials):
            print("no trial came to an end", file=sys.stderr)
            return 1
        best = self.optuna.best_trial
        found = {"value": best.value, "setting": setting_of(best.params), "trials": len(trials)}
        write_json(self.folder / "best.json", found)
        done = [s for s in standings(self.folder, self.jobs) if s.state == "done"]
        path = report(self.folder, self.node["report"]) if done else None
        overrides = " ".join(f"{k}={v}" for k, v in found["setting"].items())
        print(f"best of {len(trials)}: {self.node['metric']} {best.value:.4f} with {overrides}")
        print("(one seed: run it, and its rivals, under several before you believe it)")
        print(f"report: {path}")
        return 0


def _texts(job: Job) -> list[str]:
    return [f"{key}={value}" for key, value in job.setting.items()]
