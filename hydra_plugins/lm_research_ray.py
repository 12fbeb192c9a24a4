"""``hydra/launcher=ray``: what Hydra has to find in a package of this name, and no more.

``lm_research/cli/ray_cluster.py`` does the work. Hydra imports this at each start, so it is light.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RayLauncher(Launcher):
    """Runs each job as a task of Ray's.

    Args:
        num_cpus, num_gpus: what a job takes for itself; Ray sets CUDA_VISIBLE_DEVICES.
        n_jobs: so many at a time; -1: as many as there is room for.
    """

    def __init__(self, num_cpus: float, num_gpus: float, n_jobs: int) -> None:
        self.num_cpus, self.num_gpus, self.n_jobs = num_cpus, num_gpus, n_jobs

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what every job is given."""
        self.hydra_context, self.task_function = hydra_context, task_function
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs; their results in order.

        Raises:
            ConfigError: no machine has what a job wants.
        """
        from lm_research.cli.ray_cluster import launch

        shared: dict[str, Any] = {
            "hydra_context": self.hydra_context,
            "task_function": self.task_function,
            "config": self.config,
        }
        jobs = [(initial_job_idx + i, list(job)) for i, job in enumerate(job_overrides)]
        return launch(shared, jobs, self.num_cpus, self.num_gpus, self.n_jobs)


@dataclass
class RayLauncherConf:
    """Its fields."""

    _target_: str = "hydra_plugins.lm_research_ray.RayLauncher"
    num_cpus: float = 1
    num_gpus: float = 0
    n_jobs: int = -1


ConfigStore.instance().store(
    group="hydra/launcher", name="ray", node=RayLauncherConf, provider="lm_research"
)
