"""Rows of different length inside one batch.

Shapes: B batch, T time, S steps of history and window together, C channels.
"""

import torch
from torch import Tensor

from lm_research.kernels.tracing import is_traced


def check_lengths(lengths_B: Tensor, x_BTD: Tensor) -> None:
    """Refuse lengths that do not fit the window ``x_BTD``.

    The values are looked at on the CPU only: on an accelerator that would wait for the device.

    Raises:
        ValueError: unless ``lengths_B`` has one entry a row, each between 1 and T.
    """
    if is_traced():  # a graph that is written out takes what it is given
        return
    batch, steps = x_BTD.shape[:2]
    if lengths_B.shape != (batch,):
        raise ValueError(
            f"lengths has shape {tuple(lengths_B.shape)}; give one length a row: ({batch},)"
        )
    if lengths_B.device.type == "cpu" and not ((lengths_B >= 1) & (lengths_B <= steps)).all():
        raise ValueError(f"lengths is {lengths_B.tolist()}; each must lie within [1, {steps}]")


def zero_padding(y_BTH: Tensor, lengths_B: Tensor) -> Tensor:
    """``y_BTH`` with zeros in row b from step ``lengths_B[b]`` on."""
    steps_T = torch.arange(y_BTH.shape[1], device=y_BTH.device)
    padded_BT = steps_T >= lengths_B.to(y_BTH.device)[:, None]
    return y_BTH.masked_fill(padded_BT[..., None], 0.0)


def windows(x_BSC: Tensor, starts_B: Tensor, size: int) -> Tensor:
    """Row b's steps ``starts_B[b] .. starts_B[b] + size - 1``; shape (B, size, C)."""
    steps_BW = starts_B.to(x_BSC.device)[:, None] + torch.arange(size, device=x_BSC.device)
    return x_BSC.gather(1, steps_BW[..., None].expand(-1, -1, x_BSC.shape[2]))


def last_steps(x_BSC: Tensor, kept: int, lengths_B: Tensor | None) -> Tensor:
    """The ``kept`` steps before the end of each row; shape (B, kept, C).

    Args:
        x_BSC: ``kept`` steps of history, then the window.
        lengths_B: int64, real steps of each row's window; None: all of them.
    """
    if lengths_B is not None:
        return windows(x_BSC, lengths_B, kept)
    # A copy, since a view would keep the whole window alive (and save it in a checkpoint).
    return x_BSC[:, x_BSC.shape[1] - kept :].clone()
