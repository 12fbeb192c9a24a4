"""The output layer's loss by blocks of rows beside all logits at once: forward and backward.

Memory is the peak of a process of its own for each side, less what it held before.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.bench.case import Case, Plan, timed
from lm_research.bench.compare import same
from lm_research.kernels import linear_cross_entropy

SHAPES = [(1120, 200, 10_000), (4096, 128, 2000), (8192, 256, 50_000)]
"""Rows, features, vocabulary: a window of 32 x 35 over ten thousand words, of 64 x 64 over two
thousand pieces, and the large one."""
QUICK = [(4096, 128, 2000)]
NEAR = {"float32": 1e-4, "bfloat16": 3e-2}
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def plain(x_NH: Tensor, weight_VH: Tensor, bias_V: Tensor, targets_N: Tensor) -> Tensor:
    """The loss with all logits at once."""
    return F.cross_entropy(F.linear(x_NH, weight_VH, bias_V), targets_N)


SIDES: dict[str, Loss] = {"blocks": linear_cross_entropy, "all at once": plain}


def plans(quick: bool) -> Iterator[Plan]:
    """Every shape in both types."""
    for rows, features, vocabulary in QUICK if quick else SHAPES:
        for dtype in NEAR:
            what = {"rows": rows, "features": features, "vocabulary": vocabulary, "dtype": dtype}
            yield Plan(what, partial(case, rows, features, vocabulary, dtype))


def case(rows: int, features: int, vocabulary: int, dtype: str) -> Case:
    """Both sides on the same inputs."""
    given = inputs(rows, features, vocabulary, dtype)
    ours, theirs = (partial(both_passes, side, given) for side in SIDES.values())
    names = ["loss", "d x", "d weight", "d bias"]
    shape = [rows, features, vocabulary, dtype]
    peaks = {f"MB {name}": round(peak_of(name, shape) / 1e6, 1) for name in SIDES}
    return Case(
        sides={"ours": timed(ours), "plain": timed(theirs)},
        equal=lambda: same(ours(), theirs(), names, NEAR[dtype]),
        flops=6 * rows * features * vocabulary,
        extra=peaks,
    )


def inputs(rows: int, features: int, vocabulary: int, dtype: str) -> list[Tensor]:
    """x, weight, bias and targets."""
    torch.manual_seed(0)
    made = [
        torch.randn(rows, features),
        torch.randn(vocabulary, features) / features**0.5,
        torch.zeros(vocabulary),
    ]
    made = [tensor.to(getattr(torch, dtype)).requires_grad_() for tensor in made]
    return [*made, torch.randint(vocabulary, (rows,))]


def both_passes(side: Loss, given: list[Tensor]) -> list[Tensor]:
    """Loss, and the gradients of x, weight and bias."""
    loss = side(*given)
    return [loss.detach(), *torch.autograd.grad(loss, given[:3])]


def peak_of(side: str, shape: list[object]) -> int:
    """Bytes, in a process of its own."""
    command = [sys.executable, "-m", __name__, json.dumps([side, shape])]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_here(side: str, shape: tuple[int, int, int, str]) -> int:
    """Bytes that the side holds at most, beyond its inputs and what PyTorch holds anyway."""
    both_passes(SIDES[side], inputs(8, 8, 8, shape[3]))
    given = inputs(*shape)
    before = _most_bytes()
    both_passes(SIDES[side], given)
    return _most_bytes() - before


def _most_bytes() -> int:
    """The most memory that this process has held; ``ru_maxrss`` would begin at its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    print(peak_here(*json.loads(sys.argv[1])))
