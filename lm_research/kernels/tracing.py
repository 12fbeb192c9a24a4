"""Whether a model is being written down as a graph rather than run."""

import torch


def is_traced() -> bool:
    """True inside ``torch.jit.trace``: what Python branches on or counts would be fixed."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined]


def is_recorded() -> bool:
    """True if a graph is written down that gradients may be asked of later: traced or exported."""
    return is_traced() or torch.compiler.is_exporting()
