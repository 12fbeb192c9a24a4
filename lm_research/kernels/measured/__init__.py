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
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
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


class Measured:
    """The times on one device, read from ``path``."""

    def __init__(self, path: Path) -> None:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["columns"] != list(COLUMNS):
            raise RuntimeError(f"{path} has other columns than this version reads: write it anew")
        self.name, self.device, self.date = path.name, found["device"], found["date"]
        self._rows = found["rows"]

    @cached_property
    def _times(self) -> dict[Kind, dict[Size, Times]]:
        times: dict[Kind, dict[Size, Times]] = {}
        for row in self._rows:
            times.setdefault(Kind(*row[:5]), {})[Size(*row[5:8])] = Times(*row[8:])
        return times

    def ratio(self, fused: Kind, plain: Kind, size: Size) -> Ratio | None:
        """The least that it is at ``size`` (see the module); None if that was not timed.

        Args:
            fused: what the fused kernel is.
            plain: what torch.nn's layer is; float32 products may be taken in another way.
        """
        ours, theirs = self._times.get(fused, {}), self._times.get(plain, {})
        corners = _corners(ours.keys() & theirs.keys(), size)
        ratios = []
        for low, high in corners:
            torch_ms = theirs[low].torch_ms if low in theirs else None
            if torch_ms is None or high not in ours:
                return None
            ratios.append((torch_ms / ours[high].fused_ms, ours[high].form))
        if not ratios:
            return None
        return Ratio(min(ratios)[0], ratios[-1][1], _told(corners))


def _corners(sizes: Iterable[Size], wanted: Size) -> list[tuple[Size, Size]]:
    """Pairs of the sizes next below and above, at the numbers of steps next below and above."""
    axes = [sorted(set(values)) for values in zip(*sizes, strict=True)]
    if not axes:
        return []
    most = axes[2][-1]
    hidden, batch = _around(axes[0], wanted.hidden), _around(axes[1], wanted.batch)
    steps = _around(axes[2], min(wanted.steps, most))
    between = hidden is not None and hidden[0] < hidden[1]
    if hidden is None or batch is None or steps is None or (between and wanted.hidden % 16):
        return []
    return [
        (Size(hidden[0], batch[0], count), Size(hidden[1], batch[1], count))
        for count in dict.fromkeys(steps)
    ]


def _around(values: list[int], wanted: int) -> tuple[int, int] | None:
    """The largest that is not above ``wanted``, and the smallest that is not below."""
    below = [value for value in values if value <= wanted]
    above = [value for value in values if value >= wanted]
    return (below[-1], above[0]) if below and above else None


def _told(corners: list[tuple[Size, Size]]) -> str:
    lowest, highest = corners[0][0], corners[-1][1]
    pairs = zip(("H", "B", "T"), lowest, highest, strict=True)
    return ", ".join(f"{n}={a}" if a == b else f"{n}={a} to {b}" for n, a, b in pairs)


@lru_cache
def of_device(device: str) -> Measured | None:
    """What was measured on the device of that very name (as PyTorch tells it); None if nothing."""
    path = FOLDER / f"{slug(device)}.json"
    found = Measured(path) if path.exists() else None
    return found if found and found.device == device else None
