"""Whether a model is being written down as a graph rather than run."""

import torch


def is_traced() -> bool:
    """True inside ``torch.jit.trace``: what Python branches on or counts would be fixed."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined]
