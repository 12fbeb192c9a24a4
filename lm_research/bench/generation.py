"""The most probable tokens one by one, the state kept, beside a bare loop over ``torch.nn``.

A step reads all weights for a few rows: with one row it is as fast as memory is, not the processor.

Shapes: B streams, T tokens.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lm_research.bench.case import Case, Plan, timed
from lm_research.bench.compare import same
from lm_research.bench.founding_model import ours
from lm_research.bench.founding_torch import Bare
from lm_research.bench.founding_worker import Shape
from lm_research.tasks.sampling import most_probable
from lm_research.tasks.streaming import stepper

VOCABULARY, LENGTH = 256, 50
HIDDEN, STREAMS = (128, 512), (1, 64)
NEAR = 1e-4
"""Of the norm, after the same tokens: which of two is more probable may hang on the last bit."""


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
    sides: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
        "ours": partial(by_task, task, first_B),
        "torch": partial(by_hand, bare, first_B),
    }

    def equal() -> None:
        given_BT = by_task(task, first_B)[0]
        found = [side(given_BT=given_BT)[1] for side in sides.values()]
        same(found[:1], found[1:], ["log p"], NEAR)

    return Case(
        sides={name: timed(side) for name, side in sides.items()},
        equal=equal,
        extra={"tokens a round": streams * LENGTH},
    )


def by_task(task: Any, ids_B: Tensor, given_BT: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """ids_BT and the last token's log_p_BV; ``given_BT`` are read in place of those written."""
    stream, step, found = task.start(len(ids_B)), stepper(task), []
    for number in range(LENGTH):
        scores_BV, stream = step(ids_B, stream)
        ids_B = most_probable(scores_BV) if given_BT is None else given_BT[:, number]
        found.append(ids_B)
    return torch.stack(found, 1), scores_BV.log_softmax(-1)


@torch.inference_mode()
def by_hand(bare: Bare, ids_B: Tensor, given_BT: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same."""
    state, found = None, []
    for step in range(LENGTH):
        y_BTH, state = bare.layers(bare.embedding(ids_B[:, None]), state)
        logits_BV = bare.linear(y_BTH[:, -1])
        ids_B = logits_BV.argmax(-1) if given_BT is None else given_BT[:, step]
        found.append(ids_B)
    return torch.stack(found, 1), logits_BV.log_softmax(-1)
