"""``torch.compile`` of a run's model, and what it cost."""

import logging
import os
import shutil
import time
from typing import Any

import pytorch_lightning as pl

from lm_research.config.problems import ConfigError, Problem
from lm_research.tracking.recorder import Recorder

_log = logging.getLogger(__name__)
PARTS = ("model", "decoder")
"""Of a task: what reads vectors. Vectorizer, output layer and loss stay as they are."""


def check_compiler(on_cpu: bool) -> None:
    """Refuse what ``torch.compile`` would refuse in the middle of the first training step.

    Raises:
        ConfigError: on a CPU, there is no C++ compiler.
    """
    program = os.environ.get("CXX", "g++")
    if on_cpu and shutil.which(program) is None:
        told = f"needs a C++ compiler on a CPU, and there is no {program}"
        fix = "false; or install one (apt-get install g++), or name it in the variable CXX"
        raise ConfigError([Problem("trainer.compile", told, "true", fix)])


class Compilation(pl.Callback):
    """Compiles the model for training; what that took goes to the summary.

    ``perf/compile_seconds`` and ``perf/compiled_graphs`` are of the session that ended training.

    Shapes are symbols from the first graph on: with one graph a shape, which of them serves a step
    would depend on the steps before, and a run that is cut and goes on would end with other bits.
    Evaluations run uncompiled (:func:`lm_research.tasks.evaluation.evaluating`).
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.seconds, self.graphs = 0.0, 0
        self._began = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing is compiled before the first step needs it."""
        from torch._dynamo.callback import on_compile_end, on_compile_start

        on_compile_start(self._begin)
        on_compile_end(self._end)
        module: Any = pl_module
        for part in filter(None, (getattr(module, name, None) for name in PARTS)):
            part.compile(dynamic=True)
        module.compiled = True

    def _begin(self, compiled: Any) -> None:
        self._began = time.perf_counter()

    def _end(self, compiled: Any) -> None:
        self.seconds += time.perf_counter() - self._began
        self.graphs += 1

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what it cost, and look no longer."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """The same for a run that was stopped or failed."""
        self._close()

    def _close(self) -> None:
        from torch._dynamo.callback import callback_handler

        if self._begin not in callback_handler.start_callbacks:
            return
        callback_handler.remove_start_callback(self._begin)
        callback_handler.remove_end_callback(self._end)
        cost = {"perf/compile_seconds": self.seconds, "perf/compiled_graphs": self.graphs}
        self.recorder.summary(cost)
        _log.info("trainer.compile: %d graphs in %.1f s", self.graphs, self.seconds)
