"""The most probable tokens one by one, the state kept, beside a bare loop over ``torch.nn``.

A step reads all weights for a few rows: with one row it is as fast as memory is, not the processor.

Shapes: B streams, T tokens.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lm_research.bench.case import Case, Plan, timed
from lm_research.bench.founding_model import ours
from lm_research.bench.founding_torch import Bare
from lm_research.bench.founding_worker import Shape

VOCABULARY, LENGTH = 256, 50
HIDDEN, STREAMS = (128, 512), (1, 64)


def plans(quick: bool) -> Iterator[Plan]:
    """Cells, sizes, and one stream or many; two layers."""
    for cell in ("lstm", "gru", "rnn"):
        for hidden in HIDDEN[:1] if quick else HIDDEN:
            for streams in STREAMS:
                what = {"cell": cell, "hidden": hidden, "streams": streams}
                yield Plan(what, partial(case, cell, hidden, streams))


def case(cell: str, hidden: int, streams: int) -> Case:
    """The same weights, the same first tokens."""
    shape = Shape(cell, streams, LENGTH, hidden, hidden, VOCABULARY, layers=2)
    task = ours(shape).eval()
    bare = Bare(shape, {k: v.numpy() for k, v in task.state_dict().items()})
    bare.layers.eval()
    first_B = torch.arange(streams) % VOCABULARY
    sides = {"ours": partial(by_task, task, first_B), "torch": partial(by_hand, bare, first_B)}

    def equal() -> None:
        found = [side() for side in sides.values()]
        assert torch.equal(*found), "the sides write different tokens"

    return Case(
        sides={name: timed(side) for name, side in sides.items()},
        equal=equal,
        extra={"tokens a round": streams * LENGTH},
    )


def by_task(task: Any, ids_B: Tensor) -> Tensor:
    """ids_BT."""
    stream, found = task.start(len(ids_B)), []
    for _ in range(LENGTH):
        log_p_BTV, stream = task.advance(ids_B[:, None], stream)
        ids_B = log_p_BTV[:, -1].argmax(-1)
        found.append(ids_B)
    return torch.stack(found, 1)


@torch.inference_mode()
def by_hand(bare: Bare, ids_B: Tensor) -> Tensor:
    """ids_BT."""
    state, found = None, []
    for _ in range(LENGTH):
        y_BTH, state = bare.layers(bare.embedding(ids_B[:, None]), state)
        ids_B = bare.linear(y_BTH[:, -1]).argmax(-1)
        found.append(ids_B)
    return torch.stack(found, 1)
