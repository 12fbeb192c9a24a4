"""The files of an exported run.

config.json         what rebuilds the model: text, vectorizer, model and task; nothing of the
                    machine that trained it
vocabulary.json     tokenizers, tag lexicon and classes, as in the run's tokenizer.json
model.safetensors   weights, or counts
tokenizer.json      the tokenizer for the library ``tokenizers``, where it can be expressed
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lm_research import __version__
from lm_research.cli.assembly import build_model
from lm_research.cli.saved import SavedRun, restore_text
from lm_research.config.problems import ConfigError, Problem, listing
from lm_research.config.schema import Text
from lm_research.config.untrusted import open_plain
from lm_research.config.validation import validate_as, validate_node
from lm_research.hub.tokenizer_files import to_tokenizers
from lm_research.tasks.classification import Classification
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.models import RunModel
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import read_json, write_json

CONFIG, VOCABULARY, WEIGHTS = "config.json", "vocabulary.json", "model.safetensors"
MODEL_TYPE = "lm_research"
FORMAT = 1
READABLE = 0o644
"""Permissions as those of the other files: the library's own are the owner's alone."""
PARTS = ("text", "vectorizer", "model", "task", "optimizer", "scheduler")
MAY_LACK = ("output_layer",)
"""Parts that a folder of before may be without."""


class PretrainedError(Exception):
    """A folder that holds no exported run to use: says what is missing, and the fix."""


def exported_config(saved: SavedRun) -> dict[str, Any]:
    """The values of config.json: no paths, no names of machines."""
    parts = {name: saved.config[name] for name in (*PARTS, *MAY_LACK) if name in saved.config}
    if "path" in parts["vectorizer"]:  # what was read from it is among the weights
        parts["vectorizer"] = {**parts["vectorizer"], "path": None}
    rules = [rule for rule in parts["text"]["cleaning"] if "path" not in rule]
    parts["text"] = {**parts["text"], "cleaning": rules}
    kind = {}
    if isinstance(saved.model, Classification):
        several = "multi_label" if saved.model.several else "single_label"
        kind = {"problem_type": f"{several}_classification"}  # as transformers calls it
    return {
        "model_type": MODEL_TYPE,
        "architectures": [saved.config["model"]["_target_"].rpartition(".")[2]],
        "format": FORMAT,
        "lm_research_version": __version__,
        "vocabulary_size": saved.tokenizer.vocabulary_size,
        **kind,
        "run": parts,
    }


def save_config(saved: SavedRun, vocabulary: Mapping[str, Any], folder: Path, **more: Any) -> None:
    """Write all but the weights; ``more`` goes to config.json."""
    write_json(folder / CONFIG, exported_config(saved) | more)
    write_json(folder / VOCABULARY, vocabulary)
    named = {"tokenizer.json": saved.tokenizer, "target_tokenizer.json": saved.target_tokenizer}
    for name, tokenizer in named.items():
        backend = None if tokenizer is None else to_tokenizers(tokenizer)
        if backend is not None:
            backend.save(str(folder / name))


def save_weights(model: RunModel, folder: Path) -> None:
    """Write the weights. Of tensors that share memory, one is written, and the others' names."""
    if isinstance(model, CountedLanguageModel):
        from safetensors.numpy import save_file as save_arrays

        arrays = {k: np.ascontiguousarray(v) for k, v in model.model.state_dict().items()}
        save_arrays(arrays, str(folder / WEIGHTS), {"format": "np"})
        (folder / WEIGHTS).chmod(READABLE)
        return
    from safetensors.torch import save_file

    first: dict[tuple[int, torch.Size], str] = {}
    kept: dict[str, Tensor] = {}
    shared: dict[str, str] = {}
    for name, value in model.state_dict().items():
        place = (value.data_ptr() if value.numel() else id(value), value.shape)
        if place in first:
            shared[name] = first[place]
        else:
            first[place], kept[name] = name, value.detach().cpu().contiguous()
    save_file(kept, str(folder / WEIGHTS), {"format": "pt", "shared": json.dumps(shared)})
    (folder / WEIGHTS).chmod(READABLE)


def load(path: str | Path, weights: bool = True) -> SavedRun:
    """What an exported folder holds; ``weights=False`` leaves the model as it was drawn.

    Raises:
        PretrainedError, ConfigError: see :class:`lm_research.hub.AutoModel`.
    """
    folder = Path(path).expanduser()
    if not (folder / CONFIG).is_file():
        raise PretrainedError(
            f"{folder}: no exported model there (config.json is missing); give a folder of "
            "`lm-research export`, on this machine"
        )
    try:
        config = _checked(folder)
        state = read_json(folder / VOCABULARY)
        tokenizer, targets, lexicon = restore_text(config, state)
        classes = state.get("classes")
        model = build_model(config, tokenizer, lexicon, classes=classes, target_tokenizer=targets)
        if weights:
            _fill(model, folder / WEIGHTS)
    except (PretrainedError, ConfigError):
        raise
    except RunFolderError as error:
        raise PretrainedError(str(error)) from error
    except Exception as error:  # whatever a stranger's file makes a library raise
        line = next(iter(str(error).splitlines()), "")
        raise PretrainedError(f"{folder}: damaged ({type(error).__name__}: {line})") from error
    return SavedRun(config, tokenizer, model, targets)


def _checked(folder: Path) -> dict[str, Any]:
    """The configuration of a folder that anybody may have made."""
    file = folder / CONFIG
    config = read_json(file)
    if config.get("model_type") != MODEL_TYPE or config.get("format") != FORMAT:
        found = f"model_type {config.get('model_type')!r}, format {config.get('format')!r}"
        raise PretrainedError(
            f"{file}: {found}; this version reads {MODEL_TYPE!r}, format {FORMAT}"
        )
    run = config.get("run")
    if not isinstance(run, dict):
        raise PretrainedError(f"{file}: `run` is missing")
    if problems := list(_problems(run, str(file))):
        raise ConfigError(problems)
    return {**run, "trainer": {"accumulate": 1}}


def _problems(run: Mapping[str, Any], file: str) -> Iterator[Problem]:
    for name in sorted({*run, *PARTS}):
        part = run.get(name)
        if name not in (*PARTS, *MAY_LACK):
            allowed = listing((*PARTS, *MAY_LACK))
            yield Problem(name, "there is no such part", None, allowed, file=file)
        elif not isinstance(part, dict):
            yield Problem(name, "must be given", None, "a mapping", file=file)
        elif name == "text":
            yield from validate_as(Text, part, file)
        else:
            yield from validate_node(name, part, name, file)


def _fill(model: RunModel, path: Path) -> None:
    if not path.is_file():
        raise PretrainedError(
            f"{path}: is missing; of a graph (TorchScript, ONNX) no model can be loaded: export "
            "with format=hugging_face or safetensors"
        )
    from safetensors import safe_open

    counted = isinstance(model, CountedLanguageModel)
    os.close(open_plain(path))  # no pipe, no device
    with safe_open(str(path), framework="np" if counted else "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        shared = json.loads((file.metadata() or {}).get("shared", "{}"))
    state |= {name: state[first] for name, first in shared.items()}
    if isinstance(model, CountedLanguageModel):
        model.model.load_state_dict(state)
        return
    model.load_state_dict(state)
    model.eval()
