"""Jobs as tasks of Ray's, for ``hydra/launcher=ray``: this is the side of the command.

RAY_ADDRESS says which cluster; without it Ray is started for this command, on this machine, and
ended with it. Its ports are open to the network (Ray turns the loopback address into the
machine's); a token guards them, which Ray from 2.60 on asks for by itself. Ray's dashboard and its
statistics of usage are off. The other side is ``ray_worker.py``.

A worker or a machine that is lost costs its own job; the others are waited for, and then the round
ends with the error, as with any launcher (``sweep_rounds.py``).
"""

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import mkdtemp
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus

from lm_research.callbacks.stop_signals import SIGNALS
from lm_research.cli.own_process import asked_to_stop, sparing
from lm_research.cli.ray_worker import work
from lm_research.cli.tell import tell
from lm_research.config.problems import ConfigError, Problem

ADDRESS = "RAY_ADDRESS"
POLL_S = 0.2
OBJECT_STORE_BYTES = 100_000_000
"""Least that Ray accepts, about: jobs are told by a few kilobytes."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
FORWARDED = ("LM_RESEARCH_", "OMP_NUM_THREADS", "WANDB_MODE", "WANDB_BASE_URL")
"""Variables that a worker on another machine is given, by their beginnings. No keys."""
Numbered = tuple[int, list[str]]


def launch(
    shared: dict[str, Any], jobs: Sequence[Numbered], cpus: float, gpus: float, at_once: int
) -> list[JobReturn]:
    """Run ``jobs``.

    Args:
        shared: what Hydra gives every job.
        jobs: number and overrides.
        cpus, gpus: that a job takes.
        at_once: so many at a time; -1: as many as there is room for.

    Returns:
        A result a job, in order; of those that were asked to stop, "interrupted".

    Raises:
        ConfigError: this machine has not what a job wants.
        ray.exceptions.RayError: workers were lost, or Ray itself.
    """
    place = str(shared["config"].hydra.sweep.dir)
    given = {**shared, "singleton_state": Singleton.get_state()}
    environment = {k: v for k, v in os.environ.items() if k.startswith(FORWARDED)}
    with _cluster() as ray:
        _check_room(ray, {"CPU": cpus, "GPU": gpus})
        remote = ray.remote(work).options(num_cpus=cpus, num_gpus=gpus, max_retries=0)

        def submit(job: Numbered) -> Any:
            payload = cloudpickle.dumps({**given, "idx": job[0], "overrides": job[1]})
            return remote.remote(payload, os.getcwd(), place, environment)

        return _Round(ray, submit, jobs).run(at_once if at_once > 0 else len(jobs))


class _Round:
    """Jobs that are with Ray, and what came of them."""

    def __init__(self, ray: Any, submit: Callable[[Numbered], Any], jobs: Sequence[Numbered]):
        self.ray, self.submit, self.jobs = ray, submit, jobs
        self.left = list(range(len(jobs)))
        self.waiting: dict[Any, int] = {}
        self.found: dict[int, JobReturn] = {}
        self.lost: Exception | None = None

    def run(self, at_once: int) -> list[JobReturn]:
        """Until all have ended, or those that had begun when somebody asked to stop."""
        told = False
        while self.waiting or (self.left and not asked_to_stop()):
            while self.left and len(self.waiting) < at_once and not asked_to_stop():
                number = self.left.pop(0)
                self.waiting[self.submit(self.jobs[number])] = number
            ended, _ = self.ray.wait(list(self.waiting), timeout=POLL_S)
            for reference in ended:
                self._take(reference)
            if asked_to_stop() and not told:
                told = True
                for reference in self.waiting:
                    self.ray.cancel(reference)  # as Ctrl-C: its run saves and ends
        if self.lost is not None and not asked_to_stop():
            raise self.lost
        return [self.found.get(number, _stopped()) for number in range(len(self.jobs))]

    def _take(self, reference: Any) -> None:
        number = self.waiting.pop(reference)
        try:
            self.found[number] = cloudpickle.loads(self.ray.get(reference))
        except self.ray.exceptions.TaskCancelledError:
            self.found[number] = _stopped()
        except Exception as error:  # lost, or its machine lacks what a job needs
            self.lost = self.lost or error


def _stopped() -> JobReturn:
    return JobReturn(status=JobStatus.COMPLETED, _return_value="interrupted")


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, connected to the cluster or to one of its own."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    own = None if os.environ.get(ADDRESS) else mkdtemp(prefix="lm-research-ray-", dir="/tmp")
    try:
        with _signals_kept(), sparing():
            if own is None:
                ray.init(address="auto", **common)
            else:
                ray.init(**_local(own), **common)
        yield ray
    finally:
        ray.shutdown()
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


def _local(place: str) -> dict[str, Any]:
    """One machine's Ray.

    Args:
        place: for its sockets and logs. The names of sockets are short: not a folder deep below.
    """
    return {
        "address": "local",
        "num_cpus": len(os.sched_getaffinity(0)),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "_temp_dir": place,
    }


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray puts a handler of its own for SIGTERM in the place of ours."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_room(ray: Any, wanted: dict[str, float]) -> None:
    """A job that fits on no machine would wait for ever.

    Where a cluster grows by itself, a machine may come yet: that is told, and waited for.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for kind, count in wanted.items():
        most = max((machine.get(kind, 0.0) for machine in machines), default=0.0)
        if count <= most:
            continue
        field, allowed = f"hydra.launcher.num_{kind.lower()}s", f"at most {most:g}"
        if os.environ.get(ADDRESS):
            tell(f"{field}={count:g}: no machine of the cluster has so many yet ({allowed})")
        else:
            message = "this machine has not so many"
            raise ConfigError([Problem(field, message, f"{count:g}", allowed)])
