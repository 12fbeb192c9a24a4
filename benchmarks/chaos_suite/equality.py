"""Whether two finished runs are the same, bit for bit, clocks aside."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.run_identity import identity

CLOCKS = {
    "seconds",
    "speeds",
    "perf/tokens_per_s",
    "perf/train_s",
    "perf/compile_seconds",
    "perf/compiled_graphs",
}
"""Names of what a clock has measured."""
ROWS = ("metrics.jsonl", "samples.jsonl", "predictions.jsonl")
VALUES = ("summary.json", "data.json", "tokenizer.json", "classes.json", "most_frequent.json")


def difference(one: Path, other: Path) -> str | None:
    """The first thing that is not the same in two run folders, or None."""
    return next(_differences(one, other), None)


def _differences(one: Path, other: Path) -> Iterator[str]:
    states = [_json(folder / "status.json")["state"] for folder in (one, other)]
    if states != ["done", "done"]:
        yield f"ended as {states}"
        return
    for names, read in ((ROWS, _rows), (VALUES, _json)):
        for name in names:
            there = [(folder / name).exists() for folder in (one, other)]
            if there == [False, False]:  # of a task of another kind
                continue
            if at := _unequal(
                *(read(f / name) if (f / name).exists() else None for f in (one, other))
            ):
                yield f"{name} differs at {at}"
    for file in sorted([*one.glob("evaluations/*.npz"), *one.glob("checkpoints/*.npz")]):
        name = file.relative_to(one)
        if at := _unequal(_arrays(file), _arrays(other / name)):
            yield f"{name} differs at {at}"
    yield from _checkpoints(one, other)


def _checkpoints(one: Path, other: Path) -> Iterator[str]:
    stores = [CheckpointStore(folder / "checkpoints") for folder in (one, other)]
    named = [[(entry.step, entry.score) for entry in store.entries()] for store in stores]
    if named[0] != named[1]:
        yield f"checkpoints {named[0]} and {named[1]}"
        return
    for step, _ in named[0]:
        file = f"step-{step:08}.ckpt"
        if at := _unequal(*(_loaded(store.folder / file) for store in stores)):
            yield f"{file} differs at {at}"


def _loaded(file: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    own = saved["lm_research"]
    return {**saved, "lm_research": {**own, "config": identity(own["config"])}}


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _rows(file: Path) -> list[Any]:
    # A sampled text may hold separators of Unicode's, at which splitlines() would split, too.
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def _arrays(file: Path) -> dict[str, torch.Tensor]:
    with np.load(file, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(np.atleast_1d(arrays[name])) for name in arrays.files}


def _unequal(one: Any, other: Any, path: str = "") -> str | None:
    """The path of the first value that differs, or None."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(_bits(one), _bits(other))
        return None if same else path or "."
    if isinstance(one, dict) and isinstance(other, dict):
        one, other = (_timeless(values) for values in (one, other))
        if one.keys() != other.keys():
            return f"{path} (keys {sorted(map(str, one.keys() ^ other.keys()))})"
        pairs: Any = ((key, one[key], other[key]) for key in one)
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return f"{path} (lengths {len(one)} and {len(other)})"
        pairs = zip(range(len(one)), one, other, strict=True)
    else:
        return None if repr(one) == repr(other) else f"{path}: {one!r} and {other!r}"
    return next((at for key, a, b in pairs if (at := _unequal(a, b, f"{path}/{key}"))), None)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """A NaN equals itself here."""
    if not tensor.is_floating_point():
        return tensor
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _timeless(values: dict[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in values.items() if key not in CLOCKS}
