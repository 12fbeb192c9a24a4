"""``debug=replay``: the step at which a run diverged, repeated under a magnifying glass.

A run is a function of its configuration, so the step comes about again: training continues from the
last checkpoint before it, without writing anything, and at the step every module's output and every
gradient is looked at.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from lm_research.callbacks.checkpoint import restore_generators
from lm_research.callbacks.divergence import FOLDER, lower, taken_back
from lm_research.cli.assembly import assemble
from lm_research.cli.tell import safe
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.run_identity import config_hash, difference_table
from lm_research.vectorizers.tables import bring_up_to_date, rows_of

Config = dict[str, Any]
ROWS = 40
"""Lines of the table at most; what is not finite comes first."""


class ReplayError(Exception):
    """There is nothing to replay: says why, and the fix."""


@dataclass(frozen=True)
class Seen:
    """The largest magnitude of a tensor, in the order in which they came about."""

    name: str
    kind: str
    largest: float
    finite: bool


class Lens(pl.Callback):
    """Looks at all modules and gradients of step ``step``, and ends there."""

    def __init__(self, step: int, generators: dict[str, Any] | None, rate: float) -> None:
        self.step, self.generators, self.rate = step, generators, rate
        self.seen: list[Seen] = []
        self.loss = float("nan")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Generators and, after rollbacks, the learning rate as they were in the run."""
        if self.generators is not None:
            restore_generators(self.generators)
        for config in trainer.lr_scheduler_configs if self.rate != 1 else []:
            lower(config.scheduler, self.rate)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """From here on outputs are looked at."""
        if batch_idx + 1 != self.step:
            return
        bring_up_to_date(pl_module)
        self._look("weights before", pl_module.named_parameters())
        for name, module in pl_module.named_modules():
            module.register_forward_hook(self._hook(name or type(module).__name__))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Gradients and weights after the step; then the end."""
        if batch_idx + 1 != self.step:
            return
        self.loss = float(outputs["loss"])
        bring_up_to_date(pl_module)
        gradients = ((n, p.grad) for n, p in pl_module.named_parameters() if p.grad is not None)
        self._look("gradient", gradients)
        self._look("weights after", pl_module.named_parameters())
        trainer.should_stop = True

    def _hook(self, name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            found = output if isinstance(output, tuple) else (output,)
            tensors = [t for t in found if isinstance(t, Tensor) and t.is_floating_point()]
            self._look("output", [(name, t) for t in tensors])

        return hook

    def _look(self, kind: str, tensors: Any) -> None:
        for name, tensor in tensors:
            value = tensor.detach()
            if value.is_sparse:
                _, value = rows_of(value)
            largest = float(value.abs().max()) if value.numel() else 0.0
            self.seen.append(Seen(name, kind, largest, bool(value.isfinite().all())))


def replay(config: Config, output: str | Path) -> None:
    """Repeat the last step at which the run in ``output`` diverged, and print what was seen.

    Raises:
        ReplayError: the folder holds another run, or none that diverged.
    """
    from lm_research.cli.fitting import averaging, make_trainer, trainer_options
    from lm_research.cli.transfer import unfreezing

    folder = RunFolder(output)
    own = {key: value for key, value in config.items() if key != "debug"}
    if own["trainer"]["devices"] > 1:
        raise ReplayError(
            "debug=replay is for runs of one process, not for trainer.devices above 1"
        )
    step = _step(folder, own)
    path, generators = _before(folder, step)
    assembly = assemble(own, folder.path)
    rate = _factor(own) ** len(taken_back(folder.path))
    lens = Lens(step, generators, rate)
    opening = unfreezing(own, assembly.model, assembly.steps)  # type: ignore[arg-type]
    options = trainer_options(own, folder.path)
    trainer = make_trainer(options, [*averaging(own), *opening, lens])
    trainer.fit(assembly.model, datamodule=assembly.data, ckpt_path=path, weights_only=True)  # type: ignore[arg-type]
    _print(lens, path)


def _factor(config: Config) -> float:
    return float(config["callbacks"].get("divergence", {}).get("factor", 1.0))


def _step(folder: RunFolder, config: Config) -> int:
    stored = folder.config
    if config_hash(stored) != config_hash(config):
        raise ReplayError(
            f"{folder.path}: holds another run. What differs (there -> now):\n"
            f"{difference_table(stored, config)}\nGive the command of that run, with debug=replay."
        )
    kept = sorted((folder.path / FOLDER).glob("step-*.pt"))
    if not kept:
        raise ReplayError(f"{folder.path}: no step diverged (divergence/ holds no batch)")
    return int(_loaded(kept[-1])["step"])


def _before(folder: RunFolder, step: int) -> tuple[Path | None, dict[str, Any] | None]:
    """The last checkpoint before ``step`` and its random generators; nothing if there is none."""
    store = CheckpointStore(folder.checkpoints)
    for entry, fault in store.whole():
        if fault is None and entry.step < step:
            path = folder.checkpoints / entry.file
            states = [s for s in _loaded(path)["callbacks"].values() if "generators" in s]
            return path, states[0]["generators"]
    return None, None


def _loaded(file: Path) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the library raises whatever a damaged file leads it to
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ReplayError(f"{file}: damaged ({line}); move it away to replay without it") from error
    return saved


def _print(lens: Lens, path: Path | None) -> None:
    start = f"from {path.name}" if path else "from the start"
    title = f"step {lens.step}, {start}: train/loss_nats {lens.loss:.6g}"
    table = Table("", "of", "largest", "finite", title=title, title_justify="left")
    broken = [seen for seen in lens.seen if not seen.finite]
    sound = sorted((s for s in lens.seen if s.finite), key=lambda s: -s.largest)
    for seen in [*broken, *sound][:ROWS]:
        verdict = "yes" if seen.finite else "[red]NO"
        table.add_row(seen.kind, Text(safe(seen.name)), f"{seen.largest:.4g}", verdict)
    Console().print(table)
    if broken:
        print(f"first that is not finite: {broken[0].kind} of {broken[0].name}")
    else:
        print(f"all is finite; the largest is {sound[0].kind} of {sound[0].name}")
