"""A study's jobs, given to a launcher of Hydra's until none is left that this command may run.

Every launcher is driven the same way: a round of jobs goes in, and the jobs' folders say what came
of it. So a worker that is killed, a launcher that gives up and another command on the same study
are one thing: jobs that are not done yet, and that nobody holds.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from lm_research.cli.own_process import asked_to_stop
from lm_research.cli.tell import tell
from lm_research.config.compose import loader, register_studies
from lm_research.studies.jobs import Job
from lm_research.studies.states import GO_ON, Standing, standings

Task = Callable[[DictConfig], str]
POLL_S = 1.0
MOST_CRASHES = 3
"""Rounds of a launcher in a row that end by an error without a single job done."""


class LauncherError(Exception):
    """Hydra's launcher ends with errors, and no job gets done."""


class Rounds:
    """Args: ``folder`` of the study, its ``jobs``, the overrides that they share, and whether
    failed ones are tried once more."""

    def __init__(
        self,
        folder: Path,
        jobs: Sequence[Job],
        fixed: Sequence[str],
        config_dir: str | None,
        retry: bool,
    ) -> None:
        self.folder, self.jobs, self.retry = folder, list(jobs), retry
        self.fixed, self.config_dir = list(fixed), config_dir
        self.tried: set[str] = set()
        self.launched = self.crashes = 0

    def run(self, task: Task) -> None:
        """Work until every job is done, or failed, or has had its attempt here.

        Raises:
            LauncherError: the launcher fails again and again.
        """
        waiting = False
        while not asked_to_stop():
            found = standings(self.folder, self.jobs)
            if ready := [s.job for s in found if self._may_run(s)]:
                self._round(task, ready)
                waiting = False
            elif busy := [s for s in found if s.state == "running"]:
                if not waiting:
                    tell(f"waiting for {len(busy)} of the jobs, which another process runs")
                waiting = True
                time.sleep(POLL_S)
            else:
                return

    def _may_run(self, standing: Standing) -> bool:
        if standing.job.identity in self.tried:
            return False
        return standing.state in GO_ON or (self.retry and standing.state == "failed")

    def _round(self, task: Task, jobs: list[Job]) -> None:
        done = self._count_done()
        try:
            said = self._launch(task, jobs)
        except Exception as error:  # a worker was killed, a queue refused: the folders know more
            self._crashed(error, progress=self._count_done() > done)
            return
        self.crashes = 0
        here = {job.identity for job, word in zip(jobs, said, strict=True) if word != "elsewhere"}
        self.tried |= here

    def _count_done(self) -> int:
        return sum(s.state == "done" for s in standings(self.folder, self.jobs))

    def _crashed(self, error: Exception, progress: bool) -> None:
        self.crashes = 0 if progress else self.crashes + 1
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if self.crashes >= MOST_CRASHES:
            raise LauncherError(f"the launcher ended {self.crashes} times, no job done: {line}")
        tell(f"the launcher ended ({line}); going on with what is not done")
        time.sleep(POLL_S)  # runs whose parent is gone are saving

    def _launch(self, task: Task, jobs: list[Job]) -> list[str]:
        """One word a job: what :func:`lm_research.cli.attempt.attempt` returned."""
        register_studies()
        with loader(self.config_dir):
            hydra: Any = GlobalHydra.instance().hydra
            config = hydra.compose_config(
                "config", [*self.fixed, *self._places()], RunMode.MULTIRUN, True
            )
            HydraConfig.instance().set_config(config)
            from hydra._internal.callbacks import Callbacks

            context = HydraContext(hydra.config_loader, Callbacks(config))
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=task, config=config
            )
            first, self.launched = self.launched, self.launched + len(jobs)
            returned = launcher.launch([_overrides(job) for job in jobs], first)
            return [str(one.return_value) for one in returned]

    def _places(self) -> list[str]:
        quoted = str(self.folder).replace("\\", "\\\\").replace("'", "\\'")
        return [f"hydra.run.dir='{quoted}'", f"hydra.sweep.dir='{quoted}'"]


def _overrides(job: Job) -> list[str]:
    own = [text for text in job.overrides if not text.startswith(("hydra.", "hydra/"))]
    return [*own, f"hydra.sweep.subdir='{job.folder}'"]
