"""A whole training step of a run beside a bare loop over the same batches.

Ours is what ``lm-research train`` runs: Lightning, rows of metrics every 50 steps, the hooks of the
progress bar and of checkpoints. The bare loop is a textbook's, with the same model, optimizer,
clipping, schedule and truncated back-propagation. Both must end with the same weights, bit for bit.
Beside the ratio stands how much of our step is inside operators: what is left is all that a run
costs over its arithmetic.
"""

import copy
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn

from lm_research.bench.case import Case, Plan
from lm_research.bench.operators import Stopwatch, share_in_operators
from lm_research.callbacks.stop_signals import StopSignals
from lm_research.cli.assembly import assemble
from lm_research.cli.fitting import make_trainer
from lm_research.cli.job import quiet
from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_folder import RunFolder

BATCH, WINDOW, STEPS = 16, 32, 200
HIDDEN = (32, 256)
PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16"}
OVERRIDES = (
    "budget=smoke",
    "trainer=cpu",
    "tracking=disabled",
    "callbacks.metrics.every=50",
    "callbacks.evaluation.times=1",
    f"budget.batch_size={BATCH}",
    f"budget.window={WINDOW}",
    f"budget.train_tokens={STEPS * BATCH * WINDOW}",
)


def plans(quick: bool) -> Iterator[Plan]:
    """A small and a middling LSTM."""
    for precision, dtype in PRECISIONS.items():
        for hidden in HIDDEN[:1] if quick else HIDDEN:
            what = {"model": "lstm", "dtype": dtype, "hidden": hidden, "steps": STEPS}
            yield Plan(what, partial(case, hidden, precision))
        if quick:
            return


def case(hidden: int, precision: str) -> Case:
    """Prepares the text, and both loops over it."""
    quiet()
    sizes = f"budget.hidden_size={hidden}", f"trainer.precision={precision}"
    config = compose([*OVERRIDES, *sizes]).config
    assembly = assemble(config)
    clip, model = config["trainer"]["gradient_clip"], cast(nn.Module, assembly.model)

    def bare(module: Any) -> float:
        batches = assembly.data.train_dataloader()
        return bare_loop(module, batches, clip, precision == "bf16-mixed")

    share: dict[str, float] = {}

    def ours(module: Any, watch: Stopwatch | None = None) -> float:
        watch = watch or Stopwatch()
        run_loop(config, assembly, module, watch)
        return watch.seconds

    def equal() -> None:
        one, two = copy.deepcopy(model), copy.deepcopy(model)
        bare(one)
        ours(two)
        for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
            assert torch.equal(a, b), f"the loops differ in {name}"
        inside = share_in_operators(lambda watch: ours(copy.deepcopy(model), watch))
        share["operators' share of the step"] = round(inside, 3)

    return Case(
        sides={
            "ours": lambda: ours(copy.deepcopy(model)),
            "bare loop": lambda: bare(copy.deepcopy(model)),
        },
        equal=equal,
        extra=share,
    )


def bare_loop(module: Any, batches: Any, clip: float, cast: bool) -> float:
    """Seconds of the textbook loop."""
    optimizer = module.make_optimizer(module.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, module.schedule)
    module.train()
    state = None
    began = time.perf_counter()
    for batch in batches:
        if batch.fresh:
            state = None
        with torch.autocast("cpu", torch.bfloat16, enabled=cast, cache_enabled=False):
            y_BTH, state = module.model(module.vectorizer(batch.ids_BT), state)
            logits_NV = module.head(y_BTH.flatten(0, 1))
            loss = F.cross_entropy(logits_NV, batch.targets_BT.flatten())
        state = [
            tuple(s.detach() for s in layer) if isinstance(layer, tuple) else layer.detach()
            for layer in state
        ]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        schedule.step()
    return time.perf_counter() - began


class _Between(pl.Callback):
    """Between the first and the last hook of training, without the final evaluation."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.watch.start()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 == trainer.num_training_batches:
            self.watch.stop()


def run_loop(config: Any, assembly: Any, module: Any, watch: Stopwatch) -> None:
    """The loop as cli/fitting.py runs it, in a run folder of its own, ``watch`` over its steps."""
    with (
        tempfile.TemporaryDirectory() as folder,
        RunFolder.create(Path(folder) / "run", config) as run,
    ):
        recorder = Recorder(run)
        recorder.start()
        callbacks = [
            build(node, recorder=recorder, data=assembly.data, signals=StopSignals())
            for node in config["callbacks"].values()
        ]
        callbacks.insert(1, _Between(watch))
        make_trainer(config["trainer"], callbacks).fit(module, datamodule=assembly.data)
        recorder.finish("done")
