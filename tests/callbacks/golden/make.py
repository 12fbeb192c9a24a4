"""Make the golden run of the current format, in a folder format-N beside this file.

    python tests/callbacks/golden/make.py

It is a run that was stopped half-way, and what it comes to when it goes on. A format that has been
released keeps its folder for good: a later version must still read it. So when the format changes,
raise FORMAT in lm_research/tracking/checkpoint_store.py, convert the older one where checkpoints
are read, and run this; run it, too, when a new field of the configuration is needed and no release
has been made since the folder was.
"""

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

from lm_research.callbacks.checkpoint import Checkpoint
from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli.job import run
from lm_research.config.compose import compose
from lm_research.tracking.checkpoint_store import FORMAT

HERE = Path(__file__).parent
STOPPED_AT = 8
OVERRIDES = [
    "data=files",
    "data.paths=[text.txt]",
    "data.document=paragraph",
    "text=character",
    "model=lstm",
    "model.dropout=0.1",
    "budget=smoke",
    "budget.num_layers=2",
    "budget.train_tokens=1024",
    "budget.batch_size=4",
    "budget.window=16",
    "budget.hidden_size=8",
    "averaging=ema",
    "averaging.decay=0.9",
    "scheduler=cosine",
    "optimizer.lr=0.02",
    "callbacks=quiet",
    "callbacks.evaluation.times=1",
    "callbacks.samples.length=5",
    "callbacks.metrics.every=3",
    "tracking=disabled",
    "trainer=cpu",
    "cache=cache",
    "output=run",
]
OF_THIS_MACHINE = shutil.ignore_patterns("environment.json", "*.diff", "error.txt", ".lock")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        lines = [f"Sentence {i} has the number {i * i % 97}, and ends here." for i in range(120)]
        Path("text.txt").write_text("\n\n".join(lines), encoding="utf-8")
        config = compose(OVERRIDES).config
        stopped(config)
        status = json.loads(Path("run/status.json").read_text())
        Path("run/status.json").write_text(json.dumps(status | {"host": "here", "pid": 1}))
        target = HERE / f"format-{FORMAT}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree("run", target / "run", ignore=OF_THIS_MACHINE)
        shutil.copy("text.txt", target)
        run(config, "run")
        (target / "expected.json").write_text(json.dumps(outcome(Path("run")), indent=1) + "\n")


def stopped(config: dict) -> None:
    """The run up to a signal after step :data:`STOPPED_AT`."""
    proper = Checkpoint.on_train_batch_end

    def at_step(self, trainer, module, outputs, batch, batch_idx):
        if batch_idx + 1 == STOPPED_AT:
            os.kill(os.getpid(), signal.SIGTERM)
        proper(self, trainer, module, outputs, batch, batch_idx)

    Checkpoint.on_train_batch_end = at_step  # type: ignore[method-assign]
    try:
        run(config, "run")
    except Stopped:
        return
    finally:
        Checkpoint.on_train_batch_end = proper  # type: ignore[method-assign]
    raise RuntimeError("the run was to be stopped")


def outcome(folder: Path) -> dict[str, float]:
    """The numbers that a run that went on must come to."""
    summary = json.loads((folder / "summary.json").read_text())
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    losses = {f"loss at {r['step']}": r["train/loss_nats"] for r in rows if "train/loss_nats" in r}
    return {"val/bits_per_byte": summary["val/bits_per_byte"], **losses}


if __name__ == "__main__":
    main()
