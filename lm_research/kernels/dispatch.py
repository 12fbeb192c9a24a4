"""Which backend serves a call, and why.

``reference`` is readable PyTorch, ``torch`` is the path of ``torch.nn`` itself (oneDNN, cuDNN),
``triton`` is one fused kernel a scan. Nothing has been timed on a GPU yet, so ``auto`` takes a
fused kernel only where ``torch`` cannot serve the call at all.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from lm_research.kernels.limits import SHARED, largest_head

Backend = Literal["auto", "reference", "torch", "triton"]
ScanBackend = Literal["auto", "reference", "triton"]
Precision = Literal["ieee", "tf32x3", "tf32"]
Cell = Literal["rnn", "lstm", "gru"]

COUNTS: dict[Cell, int] = {"rnn": 1, "lstm": 4, "gru": 3}
INSTALLED = find_spec("triton") is not None
KINDS = {torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class Choice:
    """A backend and the reason for it."""

    backend: Literal["reference", "torch", "triton"]
    reason: str


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on any device."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def explain(
    cell: Cell,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    hidden_size: int,
    num_heads: int = 1,
    beyond_torch: bool = False,
    backend: Backend = "auto",
    precision: Precision = "tf32x3",
) -> Choice:
    """Which backend would serve a layer, and why.

    Args:
        cell: ``rnn``, ``lstm`` or ``gru``.
        device: where the input is.
        dtype: of the input.
        hidden_size: H of all heads together.
        num_heads: heads of the recurrent weight.
        beyond_torch: whether the call asks for what ``torch.nn`` does not know: resets, heads,
            state dropout, zoneout.
        backend: what was asked for.
        precision: of float32 products in a fused kernel.

    Raises:
        RuntimeError: ``backend`` was asked for by name and cannot serve the call.
    """
    beyond = beyond_torch or num_heads > 1
    if backend == "auto" and not beyond:
        return Choice("torch", "torch.nn serves it, and no faster path has been measured")
    sizes = hidden_size, hidden_size // num_heads
    obstacle = _obstacle(cell, torch.device(device), dtype, sizes, precision)
    if backend == "triton" and obstacle:
        raise RuntimeError(f"backend='triton' cannot serve this call: {obstacle}; use 'auto'")
    if backend == "torch" and beyond:
        raise RuntimeError(
            "backend='torch' knows neither num_heads, reset_mask, state_dropout nor zoneout; use "
            "'auto' or 'reference'"
        )
    if backend != "auto":
        return Choice(backend, "asked for by name")
    if obstacle:
        return Choice("reference", f"torch.nn cannot serve it, and no fused kernel: {obstacle}")
    return Choice("triton", "torch.nn cannot serve it; one fused kernel walks over all steps")


def scan_backend(
    cell: Cell, gates: Tensor, weight: Tensor, backend: ScanBackend, precision: Precision
) -> Choice:
    """:func:`explain` for a scan over given gates, which ``torch.nn`` has no function for."""
    return explain(
        cell,
        device=gates.device,
        dtype=gates.dtype,
        hidden_size=gates.shape[-1] // COUNTS[cell],
        num_heads=gates.shape[-1] // COUNTS[cell] // weight.shape[1],
        beyond_torch=True,
        backend=backend,
        precision=precision,
    )


def unavailable(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why no fused kernel of any size runs there, or None."""
    if not INSTALLED:
        return "triton is not installed"
    if interpreted():
        return None if dtype.is_floating_point else f"{dtype} is not a floating type"
    if device.type != "cuda":
        return f"fused kernels run on GPUs, not on {device.type}"
    if dtype not in KINDS and dtype != torch.float32:
        return f"{dtype} is not among float16, bfloat16, float32"
    return None


def _obstacle(
    cell: Cell,
    device: torch.device,
    dtype: torch.dtype,
    sizes: tuple[int, int],
    precision: Precision,
) -> str | None:
    """Why no fused kernel serves it, or None."""
    if (reason := unavailable(device, dtype)) or interpreted():
        return reason
    kind, target = KINDS.get(dtype, precision), _target(device)
    aligned = all(size % 16 == 0 for size in sizes)
    largest = largest_head(cell, kind, target, aligned)
    if sizes[1] > largest:
        return f"{sizes[1]} units a head do not fit: at most {largest} in {kind} on {target}"
    return None


def _target(device: torch.device) -> str:
    """The chip whose limits hold: the newest of the table that the device reaches."""
    if torch.version.hip:
        return "gfx942"
    major, minor = torch.cuda.get_device_capability(device)
    known = sorted(int(name[3:]) for name in SHARED if name.startswith("sm_"))
    reached = [number for number in known if number <= 10 * major + minor]
    return f"sm_{reached[-1]}" if reached else "older than sm_80"
