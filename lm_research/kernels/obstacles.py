"""What keeps a form of fused kernels from serving a call; needs no Triton."""

import os
import platform
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, cast

import torch

from lm_research.kernels.fused.polled.plan import Scan
from lm_research.kernels.fused.polled.plan import obstacle as polled_obstacle
from lm_research.kernels.fused.registers.limits import largest_head as largest_in_registers
from lm_research.kernels.fused.spread.plan import obstacle as spread_obstacle
from lm_research.kernels.fused.spread.plan import processors_of
from lm_research.kernels.limits import SHARED, largest_head

Precision = Literal["ieee", "tf32x3", "tf32"]
Cell = Literal["rnn", "lstm", "gru", "layer_norm_rnn", "layer_norm_lstm", "layer_norm_gru"]

INSTALLED = find_spec("triton") is not None
COMPILER = find_spec("numba") is not None
FUSED_MULTIPLY_ADD = platform.machine() not in (
    "x86_64",
    "AMD64",
) or torch.backends.cpu.get_cpu_capability().startswith("AVX")
KINDS = {torch.float16: "fp16", torch.bfloat16: "bf16"}


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on any device."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def sees_gpu() -> bool:
    """Whether torch has a GPU to run on."""
    return torch.cuda.is_available()


def unavailable(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why no fused kernel of any size runs there, or None."""
    if not INSTALLED:
        return "triton is not installed"
    if interpreted():
        return None if dtype.is_floating_point else f"{dtype} is not a floating type"
    if device.type != "cuda":
        return f"fused kernels run on GPUs, not on {device.type}"
    if not sees_gpu():
        return "torch sees no GPU here"
    if dtype not in KINDS and dtype != torch.float32:
        return f"{dtype} is not among float16, bfloat16, float32"
    return None


@dataclass(frozen=True)
class Wanted:
    """What kernels are asked to serve.

    Attributes:
        cell: of the layer.
        device: where its input is.
        dtype: of its input.
        hidden: H of all heads together.
        head: D of one.
        precision: of float32 products.
        masks: whether there is state dropout or zoneout.
        layers: that may walk at once.
    """

    cell: Cell
    device: torch.device
    dtype: torch.dtype
    hidden: int
    head: int
    precision: Precision
    masks: bool = False
    layers: int = 1

    @property
    def kind(self) -> str:
        """Type of the inputs, or for float32 how its products are taken."""
        return KINDS.get(self.dtype, self.precision)

    @property
    def aligned(self) -> bool:
        """Whether the sizes are multiples of 16, which Triton compiles for specially."""
        return self.hidden % 16 == 0 and self.head % 16 == 0


def form_for(wanted: Wanted, named: str = "") -> tuple[str | None, str | None]:
    """The form of kernels that serves it, and None; or None, and why there is no such form.

    Of a form that was not asked for by name: one processor if it holds a head, else several.
    """
    reasons = []
    for form in [named] if named else ["single", "spread"]:
        reason = unavailable(wanted.device, wanted.dtype) or OBSTACLES[form](wanted)
        if reason is None:
            return form, None
        reasons.append(reason)
    return None, "; ".join(dict.fromkeys(reasons))


def single_obstacle(wanted: Wanted) -> str | None:
    """Why no kernel with a program a head serves it, or None."""
    if interpreted():
        return None
    target = target_of(wanted.device)
    largest = largest_head(wanted.cell, wanted.kind, target, wanted.aligned, masks=wanted.masks)
    if wanted.head > largest:
        return (
            f"{wanted.head} units a head do not fit: at most {largest} in {wanted.kind} on {target}"
        )
    return None


def gluon_obstacle(wanted: Wanted) -> str | None:
    """Why no kernel with U in registers serves it, however large it is, or None."""
    if interpreted() or torch.version.hip:
        return "kernels with U in registers are for NVIDIA's GPUs, and are not interpreted"
    if wanted.masks:
        return "kernels with U in registers know neither state dropout nor zoneout"
    if wanted.cell.startswith("layer_norm"):
        return "layer normalization is not in the kernels with U in registers"
    return None


def registers_obstacle(wanted: Wanted) -> str | None:
    """Why no kernel of one processor with U in registers serves it, or None."""
    if reason := gluon_obstacle(wanted):
        return reason
    if wanted.dtype not in KINDS:
        return f"one processor holds U in registers in 16 bits, not in {wanted.dtype}"
    kind, target = wanted.kind, target_of(wanted.device)
    largest = largest_in_registers(wanted.cell, kind, target, wanted.aligned)
    if wanted.head > largest:
        return (
            f"registers hold heads of {largest} units in {kind} on {target}, not of {wanted.head}"
        )
    return None


def cpu_obstacle(wanted: Wanted) -> str | None:
    """Why no scan that numba compiles for the CPU serves it, or None."""
    if wanted.device.type != "cpu":
        return f"they run on CPUs, not on {wanted.device.type}"
    if not COMPILER:
        return "numba is not installed: pip install 'lm-research[fast]'"
    if not FUSED_MULTIPLY_ADD:
        return "the processor has no AVX2"
    if wanted.dtype not in (torch.float32, torch.bfloat16):
        return f"they are for float32 and bfloat16, not for {wanted.dtype}"
    if wanted.hidden != wanted.head or wanted.masks or wanted.cell.startswith("layer_norm"):
        return "they know neither heads, state dropout, zoneout nor layer normalization"
    return None


def several_obstacle(wanted: Wanted) -> str | None:
    """Why no scan over several processors serves it, or None."""
    if wanted.cell.startswith("layer_norm"):
        return "layer normalization is not in the scans over several processors"
    kind = "bf16" if interpreted() else wanted.kind  # no limit of a type's holds there
    processors = processors_of(wanted.device)
    return spread_obstacle(cast(Any, wanted.cell), kind, wanted.head, processors, 1)


def several_polled_obstacle(wanted: Wanted) -> str | None:
    """Why no scan over several processors with U in registers serves it, or None."""
    if reason := gluon_obstacle(wanted):
        return reason
    cell: Any = wanted.cell
    scan = Scan(cell, "forward", wanted.kind, wanted.head, wanted.aligned)
    return polled_obstacle(scan, processors_of(wanted.device))


def wavefront_obstacle(wanted: Wanted) -> str | None:
    """Why layers cannot walk in one launch, or None."""
    if wanted.layers == 1:
        return "a wavefront takes several layers, in one direction, with recompute=False"
    if wanted.hidden != wanted.head or wanted.masks or wanted.cell.startswith("layer_norm"):
        return "a wavefront knows neither heads, state dropout, zoneout nor layer normalization"
    kind = "bf16" if interpreted() else wanted.kind
    processors = processors_of(wanted.device)
    return spread_obstacle(cast(Any, wanted.cell), kind, wanted.head, processors, wanted.layers)


OBSTACLES = {
    "single": single_obstacle,
    "registers": registers_obstacle,
    "spread": several_obstacle,
    "polled": several_polled_obstacle,
    "wavefront": wavefront_obstacle,
}


def target_of(device: torch.device) -> str:
    """The chip whose limits hold: the newest of the table that the device reaches."""
    if torch.version.hip:
        return "gfx942"
    major, minor = torch.cuda.get_device_capability(device)
    known = sorted(int(name[3:]) for name in SHARED if name.startswith("sm_"))
    reached = [number for number in known if number <= 10 * major + minor]
    return f"sm_{reached[-1]}" if reached else "older than sm_80"
