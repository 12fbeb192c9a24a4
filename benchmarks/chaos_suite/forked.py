"""Runs in processes that begin where the imports have ended: half of a small run's life is imports.

A server that has imported what runs need forks a process for each; it is told the arguments of the
command, and where to be. The process leads a session of its own, like a command.
"""

import atexit
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["lm_research.cli.train", "lm_research.cli.fitting", "lm_research.cli.pairs", "wandb"]
)


class Forked:
    """What of :class:`subprocess.Popen` a trial asks for."""

    def __init__(self, arguments: list[str], moment: dict[str, Any], cwd: Path, said: Path) -> None:
        """Begin.

        Args:
            arguments: of the command.
            moment: what :mod:`chaos_suite.moments` is told; empty: nothing.
            cwd: where the run starts.
            said: a file for what it prints.
        """
        self.args, self.said = arguments, said
        work = (arguments, json.dumps(moment), str(cwd), str(said))
        self.process = _SERVER.Process(target=_begin, args=work)
        self.process.start()

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise TimeoutError(f"{self.args} has not ended after {timeout} s")
        return self.process.exitcode

    def communicate(self, timeout: float) -> tuple[str, str]:
        self.wait(timeout)
        told = self.said.read_text(errors="replace") if self.said.exists() else ""
        self.said.unlink(missing_ok=True)
        return told, ""

    def send_signal(self, signal: int) -> None:
        if self.process.pid is not None:
            os.kill(self.process.pid, signal)


def _begin(arguments: list[str], moment: str, cwd: str, said: str) -> None:
    os.setsid()
    os.chdir(cwd)
    file = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from chaos_suite import moments
    from lm_research.cli.main import main

    moments.prepare(json.loads(moment))
    sys.argv = ["lm-research"]
    try:
        main(arguments)
    finally:
        atexit._run_exitfuncs()  # a process of multiprocessing ends without them
