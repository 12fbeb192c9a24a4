"""A training step with nothing between forward, backward and update.

Lightning's automatic optimization wraps every step into closures and asks each callback at eight
points, which costs a small model as much as its arithmetic (`lm-research bench loop`). On one
device, without a scaler of gradients, without accumulation, and with nobody listening at the inner
points, none of that does anything, and the plain loop gives the same weights bit for bit.

This is the one place that leans on Lightning's internals; pyproject.toml pins their version, and a
run for which the conditions do not hold goes Lightning's own way.
"""

from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loops.optimization.automatic import _AutomaticOptimization
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch.optim import Optimizer

from lm_research.tasks.bfloat16 import Bfloat16
from lm_research.tasks.clipping import ClippedTask, clip

INNER_HOOKS = (
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)


class Unprofiled(Profiler):
    """Times nothing, at no cost; Lightning's own idle profiler builds 23 contexts a step."""

    _IDLE: AbstractContextManager[None] = nullcontext()

    def start(self, action_name: str) -> None:
        """Nothing."""

    def stop(self, action_name: str) -> None:
        """Nothing."""

    def profile(self, action_name: str) -> Any:
        """The same empty context for every action."""
        return self._IDLE


class LeanOptimization(_AutomaticOptimization):
    """Forward, zero, backward, clip, update."""

    def run(self, optimizer: Optimizer, batch_idx: int, kwargs: OrderedDict) -> dict[str, Any]:
        """One step of the trainer's only optimizer; returns the detached loss."""
        trainer = self.trainer
        with trainer.precision_plugin.forward_context():
            loss: Any = trainer.lightning_module.training_step(*kwargs.values())
        optimizer.zero_grad()
        loss.backward()
        if trainer.gradient_clip_val:
            weights = [p for group in optimizer.param_groups for p in group["params"]]
            clip(weights, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
        progress = self.optim_progress.optimizer.step
        progress.increment_ready()
        optimizer.step()
        progress.increment_completed()
        return {"loss": loss.detach()}


class LeanLoop(pl.Callback):
    """Puts :class:`LeanOptimization` in place at the start of training, if the run allows it."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the counters of a resumed run: they move to the new loop."""
        if not allows(trainer, pl_module):
            return
        loop = trainer.fit_loop.epoch_loop
        lean = LeanOptimization(trainer)
        lean.optim_progress = loop.automatic_optimization.optim_progress
        loop.automatic_optimization = lean
        loop._build_kwargs = _step_arguments  # type: ignore[method-assign]


def _step_arguments(kwargs: OrderedDict, batch: Any, batch_idx: int) -> OrderedDict:
    """Lightning's own reads the signature of ``training_step`` anew at every step."""
    return OrderedDict(batch=batch, batch_idx=batch_idx)


def allows(trainer: pl.Trainer, module: pl.LightningModule) -> bool:
    """Whether the plain loop does all that Lightning's would."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    base = ClippedTask if isinstance(module, ClippedTask) else pl.LightningModule
    listeners = [*((one, pl.Callback) for one in callbacks), (module, base)]
    own_hooks = (*INNER_HOOKS, "backward", "optimizer_step", "configure_gradient_clipping")
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) in (Precision, Bfloat16)
        and trainer.accumulate_grad_batches == 1
        and len(trainer.optimizers) == 1
        and not any(_overrides(one, base, own_hooks) for one, base in listeners)
    )


def _overrides(listener: Any, base: type, hooks: tuple[str, ...]) -> bool:
    return any(
        getattr(type(listener), hook) is not getattr(base, hook)
        for hook in hooks
        if hasattr(base, hook)
    )
