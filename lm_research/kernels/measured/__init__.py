"""Times of torch.nn's and of the fused layers, by device: where a fused one is faster.

One JSON a device, ``SLUG_OF_ITS_NAME.json``, written from a benchmark's CSV by ``python
benchmarks/kernels.py table`` and read when a layer is first called there. None is here yet: nothing
has been timed on a GPU.

Sizes between timed ones: torch.nn's time at the smaller hidden size and batch over the fused one's
at the larger. If times grow with size that is the least that the ratio can be (and a fused kernel
pads both). Times grow in proportion to steps: of the two nearest timed numbers of steps the worse
ratio counts, of more steps than were timed that of the most. Any other size counts as not timed.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
COLUMNS = (
    "cell", "dtype", "mode", "layers", "heads", "hidden", "batch", "steps",
    "torch_ms", "fused_ms", "form",
)  # fmt: skip
"""``dtype``: fp16, bf16, fp32 or tf32 (float32 tensors, TF32 products). ``mode``: forward, or both
it and the gradient. ``torch_ms`` is null where torch.nn has no such layer. ``form``: of the fused
kernel that was the fastest."""


class Kind(NamedTuple):
    """What no timing is carried over from one to another of."""

    cell: str
    dtype: str
    mode: str
    layers: int
    heads: int


class Size(NamedTuple):
    """What timings of neighbours say something about."""

    hidden: int
    batch: int
    steps: int


class Times(NamedTuple):
    """Milliseconds of a call, and the fused kernel's form."""

    torch_ms: float | None
    fused_ms: float
    form: str


@dataclass(frozen=True)
class Ratio:
    """How many times faster than torch.nn a fused kernel of ``form`` is, as timed around ``at``."""

    value: float
    form: str
    at: str


def slug(device: str) -> str:
    """A device's name as that of a file."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


Pair = tuple[int, int]


class Measured:
    """The times on one device, read from ``path``."""

    def __init__(self, path: Path) -> None:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["columns"] != list(COLUMNS):
            raise RuntimeError(f"{path} has other columns than this version reads: write it anew")
        self.name, self.device, self.date = path.name, found["device"], found["date"]
        self._times: dict[Kind, dict[Size, Times]] = {}
        for row in found["rows"]:
            self._times.setdefault(Kind(*row[:5]), {})[Size(*row[5:8])] = Times(*row[8:])

    def axes(self, fused: Kind, plain: Kind) -> tuple[tuple[int, ...], ...]:
        """Hidden sizes, batches and numbers of steps at which both were timed, each ascending."""
        sizes = self._times.get(fused, {}).keys() & self._times.get(plain, {}).keys()
        return tuple(tuple(sorted(set(axis))) for axis in zip(*sizes, strict=True)) or ((), (), ())

    def ratio(
        self, fused: Kind, plain: Kind, hidden: Pair, batch: Pair, steps: Pair
    ) -> Ratio | None:
        """The least that it is between the sizes of each pair (see the module), if timed.

        Args:
            fused: what the fused kernel is.
            plain: what torch.nn's layer is; float32 products may be taken in another way.
            hidden: timed sizes next below and above (:func:`around`).
            batch: the same of rows.
            steps: the same of steps.
        """
        ratios = []
        for count in steps:
            theirs = self._times[plain].get(Size(hidden[0], batch[0], count))
            ours = self._times[fused].get(Size(hidden[1], batch[1], count))
            if theirs is None or theirs.torch_ms is None or ours is None:
                return None
            ratios.append((theirs.torch_ms / ours.fused_ms, ours.form))
        return Ratio(min(ratios)[0], ratios[-1][1], _told(hidden, batch, steps))


def around(axis: tuple[int, ...], wanted: int) -> Pair | None:
    """The largest of the ascending ``axis`` that is not above, the smallest that is not below."""
    for low, high in zip(axis, (*axis[1:], axis[-1]), strict=True) if axis else ():
        if low == wanted:
            return low, low
        if low < wanted < high:
            return low, high
    return None


def _told(*pairs: Pair) -> str:
    named = zip(("H", "B", "T"), pairs, strict=True)
    return ", ".join(f"{n}={a}" if a == b else f"{n}={a} to {b}" for n, (a, b) in named)


@lru_cache
def of_device(device: str) -> Measured | None:
    """What was measured on the device of that very name (as PyTorch tells it); None if nothing."""
    path = FOLDER / f"{slug(device)}.json"
    found = Measured(path) if path.exists() else None
    return found if found and found.device == device else None
