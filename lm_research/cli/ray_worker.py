"""A job in a worker of Ray's: handed on to a process that Ray has no threads in.

A worker of Ray's is full of threads, so that no run may be forked from it, and Ray asks it to stop
by raising KeyboardInterrupt. Each worker therefore keeps one process beside it, of loky's, which
stands where a worker of joblib's would: it forks the runs, passes signals on to them, and ends
with its parent.
"""

import os
import signal
import socket
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_S = 0.2
_beside: dict[str, Any] = {}
"""The process of this worker, once it is there: ``executor`` and ``pid``."""


class NotSharedError(Exception):
    """This machine does not see the study's folders."""


def work(payload: bytes, here: str, study: str, environment: dict[str, str]) -> bytes:
    """One job, in the process beside this one.

    Args:
        payload: arguments of the joblib launcher's ``execute_job``, pickled.
        here: the command's working folder.
        study: the folder of the study.
        environment: variables of the command.

    Returns:
        Hydra's JobReturn, pickled.

    Raises:
        NotSharedError: this machine lacks a folder.
        Exception: the process was lost.
    """
    for folder in (here, study):
        if not Path(folder).is_dir():
            host = socket.gethostname()
            raise NotSharedError(f"{host} has no {folder}: Ray's machines need shared folders")
    executor, pid = _process()
    variables = {**environment, VISIBLE: os.environ.get(VISIBLE)}
    future = executor.submit(_job, payload, here, variables)
    asked = False
    while True:
        try:
            wait([future], POLL_S)
            if future.done():
                return bytes(future.result())
        except KeyboardInterrupt:  # Ray's way to cancel, said again until the task has ended
            if not asked:
                os.kill(pid, signal.SIGTERM)
            asked = True
        except Exception:
            _beside.clear()  # it is gone: the next job gets a new one
            raise


def _process() -> tuple[Any, int]:
    if not _beside:
        from joblib.externals.loky import ProcessPoolExecutor

        from lm_research.cli.own_process import die_with_parent

        watching = partial(die_with_parent, os.getpid())
        executor = ProcessPoolExecutor(max_workers=1, timeout=None, initializer=watching)
        _beside.update(executor=executor, pid=executor.submit(os.getpid).result())
    return _beside["executor"], _beside["pid"]


def _job(payload: bytes, here: str, variables: dict[str, str | None]) -> bytes:
    """In the process beside the worker."""
    os.chdir(here)
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    from hydra_plugins.hydra_joblib_launcher._core import execute_job

    return bytes(cloudpickle.dumps(execute_job(**cloudpickle.loads(payload))))
