"""What keeps a form of fused kernels from serving a call; needs no Triton."""

import os
from importlib.util import find_spec
from typing import Any, Literal, cast

import torch

from lm_research.kernels.fused.registers.limits import largest_head as largest_in_registers
from lm_research.kernels.fused.spread.plan import obstacle as spread_obstacle
from lm_research.kernels.fused.spread.plan import processors_of
from lm_research.kernels.limits import SHARED, largest_head

Precision = Literal["ieee", "tf32x3", "tf32"]
Cell = Literal["rnn", "lstm", "gru", "layer_norm_rnn", "layer_norm_lstm", "layer_norm_gru"]

INSTALLED = find_spec("triton") is not None
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


def form_for(
    cell: Cell,
    device: torch.device,
    dtype: torch.dtype,
    sizes: tuple[int, int],
    precision: Precision,
    masks: bool = False,
    layers: int = 1,
    named: str = "",
) -> tuple[str | None, str | None]:
    """The form of kernels that serves it, and None; or None, and why there is no such form.

    Of a form that was not asked for by name: one processor if it holds a head, else several.
    """
    reasons = []
    for form in [named] if named else ["single", "spread"]:
        reason = OBSTACLES[form](cell, device, dtype, sizes, precision, masks, layers)
        if reason is None:
            return form, None
        reasons.append(reason)
    return None, "; ".join(dict.fromkeys(reasons))


def single_obstacle(
    cell: Cell,
    device: torch.device,
    dtype: torch.dtype,
    sizes: tuple[int, int],
    precision: Precision,
    masks: bool,
    layers: int,
) -> str | None:
    """Why no kernel with a program a head serves it, or None."""
    if (reason := unavailable(device, dtype)) or interpreted():
        return reason
    kind, target = KINDS.get(dtype, precision), target_of(device)
    aligned = all(size % 16 == 0 for size in sizes)
    largest = largest_head(cell, kind, target, aligned, masks=masks)
    if sizes[1] > largest:
        return f"{sizes[1]} units a head do not fit: at most {largest} in {kind} on {target}"
    return None


def registers_obstacle(
    cell: Cell,
    device: torch.device,
    dtype: torch.dtype,
    sizes: tuple[int, int],
    precision: Precision,
    masks: bool,
    layers: int,
) -> str | None:
    """Why no kernel with U in registers serves it, or None."""
    if reason := unavailable(device, dtype):
        return reason
    if interpreted() or torch.version.hip:
        return "kernels with U in registers are for NVIDIA's GPUs, and are not interpreted"
    if masks:
        return "kernels with U in registers know neither state dropout nor zoneout"
    if dtype not in KINDS:
        return f"U is held in registers in float16 and bfloat16, not in {dtype}"
    if cell.startswith("layer_norm"):
        return "layer normalization is not in the kernels with U in registers"
    kind, target = KINDS[dtype], target_of(device)
    largest = largest_in_registers(cell, kind, target, all(size % 16 == 0 for size in sizes))
    if sizes[1] > largest:
        return f"registers hold heads of {largest} units in {kind} on {target}, not of {sizes[1]}"
    return None


def several_obstacle(
    cell: Cell,
    device: torch.device,
    dtype: torch.dtype,
    sizes: tuple[int, int],
    precision: Precision,
    masks: bool,
    layers: int,
) -> str | None:
    """Why no scan over several processors serves it, or None."""
    if reason := unavailable(device, dtype):
        return reason
    if cell.startswith("layer_norm"):
        return "layer normalization is not in the scans over several processors"
    kind = KINDS.get(dtype, "tf32x3" if interpreted() else precision)
    return spread_obstacle(cast(Any, cell), kind, sizes[1], processors_of(device))


def wavefront_obstacle(
    cell: Cell,
    device: torch.device,
    dtype: torch.dtype,
    sizes: tuple[int, int],
    precision: Precision,
    masks: bool,
    layers: int,
) -> str | None:
    """Why layers cannot walk in one launch, or None."""
    if reason := unavailable(device, dtype):
        return reason
    if layers == 1:
        return "a wavefront takes several layers, in one direction, with recompute=False"
    if sizes[0] != sizes[1] or masks or cell.startswith("layer_norm"):
        return "a wavefront knows neither heads, state dropout, zoneout nor layer normalization"
    kind = "bf16" if interpreted() else KINDS.get(dtype, precision)
    return spread_obstacle(cast(Any, cell), kind, sizes[1], processors_of(device), layers)


OBSTACLES = {
    "single": single_obstacle,
    "registers": registers_obstacle,
    "spread": several_obstacle,
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
