"""A study's jobs, given to a launcher of Hydra's until none is left that this command may run.

Every launcher is driven the same way: a round of jobs goes in, and the jobs' folders say what came
of it. So a worker that is killed, a launcher that gives up and another command on the same study
are one thing: jobs that are not done yet, and that nobody holds.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.types import HydraContext, RunMode
from omegaconf import MISSING, DictConfig, OmegaConf

from lm_research.cli.own_process import asked_to_stop
from lm_research.cli.tell import tell
from lm_research.config.compose import loader, register_studies
from lm_research.config.problems import ConfigError
from lm_research.studies.jobs import Job, Planned
from lm_research.studies.states import GO_ON, Standing, standings

_options: Any = ConfigStore.instance()
"""This process's own: a launcher that sets Hydra's singletons to those it was sent drops it."""
Task = Callable[[DictConfig], str]
POLL_S = 1.0
PLANNED = "planned"
"""The one node that a job is given beside Hydra's own: its configuration, as JSON."""
MOST_CRASHES = 3
"""Rounds of a launcher in a row that end by an error without a single job done."""


class LauncherError(Exception):
    """Hydra's launcher ends with errors, and no job gets done."""


class Rounds:
    """Args: ``folder`` of the study, what is ``planned``, the overrides that all jobs share, and
    whether failed ones are tried once more."""

    def __init__(
        self,
        folder: Path,
        planned: Sequence[Planned],
        fixed: Sequence[str],
        config_dir: str | None,
        retry: bool,
    ) -> None:
        self.folder, self.retry = folder, retry
        self.jobs = [one.job for one in planned]
        self.tickets = {one.job.folder: Ticket(one) for one in planned}
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
        except ConfigError:  # it would be as wrong the next time
            raise
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
            config = _for_jobs(config)
            HydraConfig.instance().set_config(config)
            planned = PlannedLoader(hydra.config_loader.config_search_path)
            context = HydraContext(planned, Callbacks(config))
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=task, config=config
            )
            first, self.launched = self.launched, self.launched + len(jobs)
            with _without_options():
                returned = launcher.launch([[self.tickets[job.folder]] for job in jobs], first)
            return [str(one.return_value) for one in returned]

    def _places(self) -> list[str]:
        quoted = str(self.folder).replace("\\", "\\\\").replace("'", "\\'")
        return [f"hydra.run.dir='{quoted}'", f"hydra.sweep.dir='{quoted}'"]


def _for_jobs(config: DictConfig) -> DictConfig:
    """Of what was composed, what a launcher and a job of it look at; a job brings its own part.

    It is sent with every job twice, and copied there five times, so its size counts.
    """
    lean = OmegaConf.masked_copy(config, "hydra")
    OmegaConf.set_readonly(lean, False)
    OmegaConf.set_struct(lean, False)
    lean.hydra.help = lean.hydra.hydra_help = lean.hydra.sweeper = lean.hydra.env = MISSING
    lean.hydra.runtime.choices, lean.hydra.runtime.config_sources = {}, []
    return lean


@contextmanager
def _without_options() -> Iterator[None]:
    """Leave what Hydra knows of the options of conf/ out of what is sent with each job.

    A launcher sends all of Hydra's singletons, of which these are nine tenths; a run that composes
    something makes its own.
    """
    kinds = (GlobalHydra, ConfigStore, HydraConfig)
    kept = {kind: Singleton._instances.pop(kind, None) for kind in kinds}
    try:
        yield
    finally:
        Singleton._instances |= {kind: one for kind, one in kept.items() if one is not None}


class Ticket(str):
    """The name of a job's folder, which is all that a launcher is told of it; brings the job along.

    So each worker is sent its own job, and not the whole study with each.
    """

    planned: Planned

    def __new__(cls, planned: Planned) -> "Ticket":
        """Name it by the folder of ``planned``."""
        ticket = super().__new__(cls, planned.job.folder)
        ticket.planned = planned
        return ticket

    def __getnewargs__(self) -> tuple[Planned]:  # type: ignore[override]
        return (self.planned,)


class PlannedLoader(ConfigLoaderImpl):
    """Gives a launcher the configurations that were composed when the study was planned.

    Composing each once more where it runs costs as much as a small run's data.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of what it has read of conf/: it composes no more where it is sent."""
        return {}

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """The configuration of a :class:`Ticket`'s job, with Hydra's own part from the study's."""
        (ticket,) = sweep_overrides
        assert isinstance(ticket, Ticket)
        job = ticket.planned.job
        Singleton._instances[ConfigStore] = _options
        config: Any = OmegaConf.masked_copy(master_config, "hydra")  # a deep one
        # As one text: Hydra copies what it is given, node by node, several times.
        config[PLANNED] = json.dumps(ticket.planned.config)
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.sweep.subdir = job.folder
        own = [text for text in job.overrides if not text.startswith("output=")]
        place = f"output={Path(master_config.hydra.sweep.dir) / job.folder}"
        config.hydra.overrides.task = [*own, place]
        return config
