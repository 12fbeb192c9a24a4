"""Start a run from the weights of a language model (``init_from``).

A new run reads the source's folder, as anybody's: its configuration is validated, its weights are
tensors and nothing else, and its checkpoint must be the one that the configuration names. A run
that goes on has all of that in its own folder and checkpoint: it does not look at the source again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from lm_research.callbacks.unfreezing import GradualUnfreezing
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.models import TrainedModel
from lm_research.tasks.transfer import (
    LayerwiseRates,
    TransferError,
    freeze,
    layer_groups,
    take_weights,
    trainable,
)
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.json_files import read_json
from lm_research.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from lm_research.cli.saved import SavedRun

Config = dict[str, Any]
SCORE = "val/bits_per_byte"


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        vocabulary: state of the tokenizer and of the tag lexicon, as in tokenizer.json.
        saved: the source; None where the run goes on from a checkpoint of its own.
    """

    vocabulary: Config
    saved: "SavedRun | None"


def start_of(config: Config, own: Path | None = None) -> Start | None:
    """What the run starts from; None of a run from scratch.

    Args:
        own: the run's folder, if it has one.

    Raises:
        TransferError: the source is not the one of the configuration, or no language model.
        SavedRunError, ConfigError, RunFolderError: it is not there, damaged, or not sound.
    """
    if config.get("init_from") is None:
        return None
    if own is not None and CheckpointStore(own / "checkpoints").entries():
        kept = read_json(RunFolder(own).tokenizer)
        kept.pop("classes", None)
        return Start(kept, None)
    from lm_research.cli.saved import load  # which builds models by the module that calls this

    checkpoint, path = config["transfer"]["checkpoint"], config["init_from"]
    _require_same_checkpoint(config, Path(path))
    saved = load(path, checkpoint)
    if not isinstance(saved.model, LanguageModeling):
        raise TransferError(f"init_from={path}: is no run of task=language_modeling")
    state = read_json(RunFolder(path).tokenizer)
    return Start({name: state.get(name) for name in ("tokenizer", "lexicon")}, saved)


def _require_same_checkpoint(config: Config, path: Path) -> None:
    asked, checkpoint = config["transfer"]["source"]["sha256"], config["transfer"]["checkpoint"]
    entry = CheckpointStore(RunFolder(path).checkpoints).entry(checkpoint)
    if entry.sha256 != asked:
        raise TransferError(
            f"init_from={path}: its {checkpoint} checkpoint ({entry.file}) is not the one that was "
            "meant when this run began: has it been trained on since?\n  fix: put it back as it "
            "was, or give another output=FOLDER"
        )


def begin(config: Config, task: Any, start: Start | None) -> None:
    """Weights, frozen layers and the rates of the others, in place; nothing from scratch."""
    if start is None:
        return
    if start.saved is not None:
        assert isinstance(start.saved.model, LanguageModeling)
        take_weights(task, start.saved.model)
    groups = layer_groups(task)
    freeze(groups, config["transfer"]["freeze"])
    if config["transfer"]["discriminative"] != 1:
        factor = float(config["transfer"]["discriminative"])
        task.make_optimizer = LayerwiseRates(task.make_optimizer, groups, factor)


def unfreezing(config: Config, task: TrainedModel, steps: int) -> list[pl.Callback]:
    """The callback that opens layers one by one, where the run asks for it.

    Args:
        steps: of the whole training.
    """
    every = (config.get("transfer") or {}).get("gradual_unfreezing")
    if every is None:
        return []
    if every == "epoch":
        every = -(-steps // int(config["task"]["epochs"]))
    return [GradualUnfreezing(trainable(layer_groups(task)), every)]


def told(config: Config, start: Start | None) -> Config:
    """For the summary: what the weights come from, and how good a language model that is."""
    if start is None or start.saved is None:
        return {}
    folder = RunFolder(config["init_from"])
    source = config["transfer"]["source"]
    found = {f"init_from/{name}": source[name] for name in ("data", "seed", "step", "sha256")}
    found["init_from/run"] = folder.path.name
    if (folder.path / "summary.json").is_file():
        score = read_json(folder.path / "summary.json").get(SCORE)
        if isinstance(score, int | float):
            found["init_from/bits_per_byte"] = score
    return found
