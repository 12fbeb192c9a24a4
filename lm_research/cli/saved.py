"""A finished run, taken up again for evaluation or generation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm_research.cli.assembly import build_model
from lm_research.cli.calibrating import FILE as CALIBRATION
from lm_research.cli.calibrating import take_temperature
from lm_research.config.build import build
from lm_research.config.problems import ConfigError
from lm_research.config.untrusted import open_plain
from lm_research.config.validation import validate
from lm_research.data.preparation import restore_lexicon
from lm_research.tasks.classification import Classification
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.models import RunModel
from lm_research.text.tags import TagLexicon
from lm_research.text.tokenizer import Tokenizer
from lm_research.tracking.checkpoint_store import CheckpointError, CheckpointStore, require_format
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import read_json
from lm_research.tracking.run_folder import RunFolder


class SavedRunError(Exception):
    """A folder that holds no run to use: says what is missing, and the fix."""


@dataclass(frozen=True)
class SavedRun:
    """The run's configuration, tokenizer, and model with its weights, in evaluation mode."""

    config: dict[str, Any]
    tokenizer: Tokenizer
    model: RunModel
    target_tokenizer: Tokenizer | None = None
    """of targets with a vocabulary of their own"""


def load(path: str, checkpoint: str = "last") -> SavedRun:
    """Rebuild the run in folder ``path`` from what the folder holds, and nothing else.

    Raises:
        SavedRunError: the folder, its vocabulary or its checkpoint is not there, or damaged.
        ConfigError, RunFolderError: its configuration is wrong, or cannot be read.
    """
    folder = RunFolder(path)
    weights = _weights_file(folder, checkpoint)
    config = checked_config(folder)
    with _told(folder.tokenizer, "copy it again from where the run was trained"):
        state = read_json(folder.tokenizer)
        tokenizer, targets, lexicon = restore_text(config, state)
    with _told(folder.path / "config.yaml", "the model it describes cannot be built"):
        classes = state.get("classes")
        model = build_model(config, tokenizer, lexicon, classes=classes, target_tokenizer=targets)
    with _told(weights, "try checkpoint=best, or train again with another output=FOLDER"):
        _fill(model, weights)
    if isinstance(model, Classification):
        with _told(folder.path / CALIBRATION, "remove it: the classes stay, without a temperature"):
            take_temperature(model, folder.path, weights)
    return SavedRun(config, tokenizer, model, targets)


def restore_text(
    config: dict[str, Any], state: dict[str, Any]
) -> tuple[Tokenizer, Tokenizer | None, TagLexicon | None]:
    """The tokenizer, the targets' own one, and the tags of a stored vocabulary."""
    tokenizer: Tokenizer = build(config["text"]["tokenizer"])
    tokenizer.load_state_dict(state["tokenizer"])
    targets: Tokenizer | None = None
    if "target_tokenizer" in state:
        targets = build(config["text"]["tokenizer"])
        targets.load_state_dict(state["target_tokenizer"])
    return tokenizer, targets, restore_lexicon(config["text"], tokenizer, state["lexicon"])


def checked_config(folder: RunFolder) -> dict[str, Any]:
    """The configuration of a run that anybody may have made: every field as in a new one.

    Raises:
        RunFolderError: it cannot be read.
        ConfigError: with every problem.
    """
    config, file = folder.config, folder.path / "config.yaml"
    choices = config.get("choices")
    known = choices if isinstance(choices, dict) else {}
    if problems := validate(config, known, lambda field: str(file)):
        raise ConfigError(problems)
    return config


@contextmanager
def _told(file: Path, fix: str) -> Iterator[None]:
    """Whatever a stranger's file makes a library raise, told as what is wrong with the file."""
    try:
        yield
    except (SavedRunError, ConfigError, RunFolderError):
        raise
    except CheckpointError as error:
        raise SavedRunError(f"run={error}") from error
    except Exception as error:
        line = next(iter(str(error).splitlines()), "")
        told = f"{type(error).__name__}: {line}".removesuffix(": ")
        raise SavedRunError(f"{file}: damaged ({told}); {fix}") from error


def _fill(model: RunModel, weights: Path) -> None:
    if isinstance(model, CountedLanguageModel):
        with open(open_plain(weights), "rb") as file, np.load(file, allow_pickle=False) as arrays:
            model.model.load_state_dict(dict(arrays))
        return
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    require_format(saved, weights)
    model.load_state_dict(saved["state_dict"])
    model.eval()


def _weights_file(folder: RunFolder, checkpoint: str) -> Path:
    if not (folder.path / "config.yaml").is_file():
        raise SavedRunError(
            f"run={folder.path}: no run there (config.yaml is missing); run=FOLDER is what "
            "`lm-research train` printed, or its output=FOLDER"
        )
    counts = folder.checkpoints / "counts.npz"
    if counts.exists():
        return counts
    try:
        return CheckpointStore(folder.checkpoints).path(checkpoint)
    except CheckpointError as error:
        raise SavedRunError(f"run={error}") from error
