"""What the Lightning loop and our logging add to a training step.

The same model, batches, optimizer, gradient clipping and schedule run (a) in a bare PyTorch loop
and (b) as `lm-research train` runs them: Lightning, metrics rows every 50 steps, the progress bar's
and checkpoint's hooks. Blocks of steps alternate; CPU time is counted, on one thread. Before any
timing both loops run from the same weights and must end with the same ones.

    python benchmarks/loop_overhead.py [--steps 400] [--blocks 7]
"""

import argparse
import copy
import datetime
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from lm_research.callbacks.stop_signals import StopSignals
from lm_research.cli.assembly import assemble
from lm_research.cli.fitting import make_trainer
from lm_research.cli.job import quiet
from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.tracking.environment import environment
from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_folder import RunFolder

GOAL_MS = 0.3
OVERRIDES = (
    "budget=smoke",
    "trainer=cpu",
    "tracking=disabled",
    "callbacks.metrics.every=50",
    "callbacks.evaluation.times=1",
)


def bare_loop(module, batches, clip):
    """The textbook loop, with the same truncated back-propagation."""
    optimizer = module.make_optimizer(module.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, module.schedule)
    module.train()
    state = None
    started = time.process_time()
    for batch in batches:
        if batch.fresh:
            state = None
        x_BTD = module.vectorizer(batch.ids_BT)
        y_BTH, state = module.model(x_BTD, state)
        state = [
            tuple(s.detach() for s in layer) if isinstance(layer, tuple) else layer.detach()
            for layer in state
        ]
        logits_BTV = module.head(y_BTH)
        loss = F.cross_entropy(logits_BTV.flatten(0, 1), batch.targets_BT.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        schedule.step()
    return time.process_time() - started


class _Clock:
    """CPU time between the first and the last hook of training, without the final evaluation."""

    def __init__(self, callbacks):
        import pytorch_lightning as pl

        clock = self

        class Start(pl.Callback):
            def on_train_start(self, trainer, module):
                clock.started = time.process_time()

            def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
                if batch_idx + 1 == trainer.num_training_batches:
                    clock.seconds = time.process_time() - clock.started

        self.callbacks = [callbacks[0], Start(), *callbacks[1:]]


def lightning_loop(config, assembly, module):
    """As cli/fitting.py runs it, in a run folder of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        RunFolder.create(Path(folder) / "run", config) as run,
    ):
        recorder = Recorder(run)
        recorder.start()
        callbacks = [
            build(n, recorder=recorder, data=assembly.data, signals=StopSignals())
            for n in config["callbacks"].values()
        ]
        clock = _Clock(callbacks)
        make_trainer(config["trainer"], clock.callbacks).fit(module, datamodule=assembly.data)
        recorder.finish("done")
        return clock.seconds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--blocks", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    tokens = arguments.steps * 16 * 32
    config = compose([*OVERRIDES, f"budget.train_tokens={tokens}"]).config
    assembly = assemble(config)
    clip = config["trainer"]["gradient_clip"]

    one, two = copy.deepcopy(assembly.model), copy.deepcopy(assembly.model)
    bare_loop(one, assembly.data.train_dataloader(), clip)
    lightning_loop(config, assembly, two)
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b), f"the loops differ in {name}"

    rows = []
    for _ in range(arguments.blocks):
        bare = bare_loop(copy.deepcopy(assembly.model), assembly.data.train_dataloader(), clip)
        ours = lightning_loop(config, assembly, copy.deepcopy(assembly.model))
        rows.append((bare / arguments.steps * 1e3, ours / arguments.steps * 1e3))
    differences = sorted(ours - bare for bare, ours in rows)
    result = {
        "date": datetime.date.today().isoformat(),
        "command": "OMP_NUM_THREADS=1 python benchmarks/loop_overhead.py",
        "machine": f"{environment()['cpu']['model']}, torch {torch.__version__}, one thread",
        "bare_ms": statistics.median(r[0] for r in rows),
        "ours_ms": statistics.median(r[1] for r in rows),
        "overhead_ms": statistics.median(differences),
        "overhead_ms_range": [differences[0], differences[-1]],
        "goal_ms": GOAL_MS,
        "equal_weights": True,
    }
    text = json.dumps(result, indent=1)
    print(text)
    (Path(__file__).parent / "results").mkdir(exist_ok=True)
    (Path(__file__).parent / "results/loop_overhead.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
