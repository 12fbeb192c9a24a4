"""A run that ends itself at a chosen moment: half-way through a file, in an evaluation, in W&B.

    prepare({"place": "half a checkpoint", "call": 3, "signal": 9})
    prepare({"count": "counts.json"})

The first sends itself the signal in the third call of a place; the second counts the calls, so that
a moment can be drawn among them.
"""

import atexit
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

Call = Callable[..., Any]


def half_a_file(proper: Call, die: Callable[[], None], checkpoint: Any, file: Any) -> None:
    """torch.save: half of the bytes reach the disk."""
    whole = io.BytesIO()
    proper(checkpoint, whole)
    file.write(whole.getvalue()[: whole.tell() // 2])
    file.flush()
    die()
    file.write(whole.getvalue()[whole.tell() // 2 :])


def half_a_write(proper: Call, die: Callable[[], None], descriptor: int, data: Any) -> int:
    """os.write, which rows and small files go through."""
    proper(descriptor, bytes(data)[: len(data) // 2])
    die()
    proper(descriptor, bytes(data)[len(data) // 2 :])
    return len(data)


def before(proper: Call, die: Callable[[], None], *arguments: Any, **named: Any) -> Any:
    die()
    return proper(*arguments, **named)


def after(proper: Call, die: Callable[[], None], *arguments: Any, **named: Any) -> Any:
    result = proper(*arguments, **named)
    die()
    return result


def places() -> dict[str, tuple[Any, str, Call]]:
    """Name -> owner, attribute, and how a call of it is interrupted."""
    import torch
    import wandb

    from lm_research.metrics.next_token import NextTokenScores
    from lm_research.tasks import classifying, generation, writing

    return {
        "half a checkpoint": (torch, "save", half_a_file),
        "half a write": (os, "write", half_a_write),
        "before a rename": (os, "replace", before),
        "after a rename": (os, "replace", after),
        "before a sync": (os, "fsync", before),
        "an evaluation": (NextTokenScores, "update", before),
        "an evaluation of classes": (classifying, "_log_probabilities", before),
        "a translation": (writing, "search", before),
        "a sample": (generation, "choose", before),
        "W&B's start": (wandb, "init", before),
        "W&B's log": (wandb.Run, "log", before),
        "after W&B's log": (wandb.Run, "log", after),
        "W&B's end": (wandb.Run, "finish", before),
    }


def interrupt(place: str, call: int, signal: int) -> None:
    """Send this process ``signal`` in the call number ``call`` of ``place``."""
    owner, name, how = places()[place]
    proper, calls = getattr(owner, name), Counter[str]()

    def call_it(*arguments: Any, **named: Any) -> Any:
        calls[place] += 1
        if calls[place] != call:
            return proper(*arguments, **named)
        return how(proper, lambda: os.kill(os.getpid(), signal), *arguments, **named)

    setattr(owner, name, call_it)


def count(file: str) -> None:
    """Leave in ``file`` how often each place was called."""
    calls: Counter[str] = Counter()

    def counted(place: str, proper: Call) -> Call:
        def call_it(*arguments: Any, **named: Any) -> Any:
            calls[place] += 1
            return proper(*arguments, **named)

        return call_it

    for place, (owner, name, _) in places().items():
        setattr(owner, name, counted(place, getattr(owner, name)))
    atexit.register(lambda: open(file, "w").write(json.dumps(calls)))  # noqa: SIM115


def prepare(wanted: dict[str, Any]) -> None:
    """Count, or interrupt; nothing of either where nothing is wanted."""
    if "count" in wanted:
        count(wanted["count"])
    elif wanted:
        interrupt(**wanted)
