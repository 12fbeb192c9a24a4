"""Which kernels a call launched: the proof of the path that cuDNN chose.

Names of cuDNN's kernels are no interface, so the number of launches is judged first: one or more a
time step is the path that launches every step, whatever its kernels are called. Has never run on a
GPU.
"""

from collections import Counter
from collections.abc import Callable

import torch

EVERY_STEP = "every step"


def kernels_of(call: Callable[[], object], device: str) -> Counter[str]:
    """Launches of one call by kernel name; empty on a CPU."""
    if device != "cuda":
        return Counter()
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        call()
        torch.cuda.synchronize()
    on_device = [e for e in seen.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    moved = ("memcpy", "memset")
    return Counter(e.name for e in on_device if not e.name.lower().startswith(moved))


def path_of(kernels: Counter[str], steps: int, layers: int) -> str:
    """``every step``, ``persistent`` (said by a name), ``few launches``, or nothing for a CPU."""
    if not kernels:
        return ""
    if kernels.total() >= steps * layers:
        return EVERY_STEP
    persistent = any("persist" in name.lower() for name in kernels)
    return "persistent" if persistent else "few launches"


def described(kernels: Counter[str], names: int = 3, width: int = 60) -> str:
    """The most launched, short enough for a table."""
    return "; ".join(f"{count}x {name[:width]}" for name, count in kernels.most_common(names))
