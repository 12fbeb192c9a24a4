"""What is timed: the grid of the layers, and FlashRNN's own grid of heads.

``dtype`` is fp16, bf16, fp32 or tf32: float32 tensors whose products may be TF32. ``accounting`` is
``layer`` (W x included) or ``scan`` (the gates are given, as FlashRNN counts). ``mode`` is
``forward`` (under no_grad) or ``both`` (forward, and the gradients of input and weights).
"""

import random
from dataclasses import asdict, dataclass, fields
from itertools import product

import torch

CELLS = ("rnn", "lstm", "gru")
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
HIDDEN = (64, 128, 256, 512, 768, 1024, 2048)
BATCH = (1, 16, 32, 64, 128, 256)
STEPS = (64, 512, 1024)
DTYPES = ("fp16", "bf16", "fp32", "tf32")
LAYERS = (1, 2)
MODES = ("forward", "both")
HEADS = (48, 24, 12, 6, 3, 1)
TORCH = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
    "tf32": torch.float32,
}


@dataclass(frozen=True)
class Point:
    """One configuration, timed by every contender side by side."""

    cell: str
    hidden: int
    batch: int
    steps: int
    dtype: str
    layers: int = 1
    heads: int = 1
    accounting: str = "layer"
    mode: str = "forward"

    @property
    def gates(self) -> int:
        return GATES[self.cell]

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    @property
    def input_size(self) -> int:
        """Of x: as wide as the state, or the gates themselves."""
        return self.hidden if self.accounting == "layer" else self.gates * self.hidden

    @property
    def label(self) -> str:
        heads = f" N={self.heads}" if self.heads > 1 else ""
        scan = " scan" if self.accounting == "scan" else ""
        return (
            f"{self.cell} H={self.hidden}{heads} B={self.batch} T={self.steps} {self.dtype} "
            f"L={self.layers}{scan} {self.mode}"
        )


POINT_FIELDS = tuple(field.name for field in fields(Point))


def as_text(point: Point) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(point).items()}


def of_text(row: dict[str, str]) -> Point:
    kinds = {field.name: field.type for field in fields(Point)}
    values = {name: int(row[name]) if kinds[name] is int else row[name] for name in POINT_FIELDS}
    return Point(**values)


def layer_grid() -> list[Point]:
    axes = (CELLS, HIDDEN, BATCH, STEPS, DTYPES, LAYERS)
    return [Point(*values, mode=mode) for values in product(*axes) for mode in MODES]


def head_grid() -> list[Point]:
    """FlashRNN's README: LSTM, bf16, 768 units in heads of 16 to 768, B = 16, T = 1024."""
    kinds = product(HEADS, ("scan", "layer"), MODES)
    return [Point("lstm", 768, 16, 1024, "bf16", 1, *kind) for kind in kinds]


def quick_grid() -> list[Point]:
    """What dispatch needs most first: bf16, then fp32; LSTM, GRU, RNN side by side.

    Sizes come in a random order, the same in every run, so that a run cut short has seen all of
    them thinly. FlashRNN's own grid, which says little without FlashRNN, comes last.
    """
    sizes = list(product((64, 128, 256, 512, 1024), (1, 16, 64, 256), (64, 512), MODES))
    random.Random(0).shuffle(sizes)
    layers = [
        Point(cell, hidden, batch, steps, dtype, mode=mode)
        for dtype in ("bf16", "fp32")
        for hidden, batch, steps, mode in sizes
        for cell in ("lstm", "gru", "rnn")
    ]
    return [*layers, *head_grid()]


def dry_grid() -> list[Point]:
    """For a CPU: every kind of point, none of them large."""
    layers = [Point(cell, 16, 3, 8, "fp32", n, mode=m) for cell in CELLS for n, m in _kinds()]
    heads = [Point("lstm", 16, 3, 8, "fp32", 1, 2, kind, "both") for kind in ("scan", "layer")]
    scan = Point("gru", 16, 3, 40, "fp32", mode="both")  # torch.nn is slower: dispatch compiles
    return [*layers, *heads, scan]


def _kinds() -> list[tuple[int, str]]:
    return [(1, "forward"), (1, "both"), (2, "both")]


def full_grid() -> list[Point]:
    """The quick subset first, then the rest shuffled: a run cut short has seen all of the grid."""
    first = quick_grid()
    rest = sorted(set(layer_grid()) - set(first), key=lambda point: point.label)
    random.Random(0).shuffle(rest)
    return [*first, *rest]
