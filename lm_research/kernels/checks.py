"""What a scan's arguments must be, said in the words of ``torch.nn``'s own errors."""

from collections.abc import Sequence
from difflib import get_close_matches

import torch
from torch import Tensor

from lm_research.kernels.direct import is_watched
from lm_research.kernels.walk import Walk


def check_scan(
    gates: Tensor, weight: Tensor, count: int, states: tuple[Tensor, ...], walk: Walk
) -> None:
    """Sizes, types and devices; ``count`` gates of R directions.

    Raises:
        RuntimeError: naming the argument, what was expected and what was got.
        ValueError: both ``reverse`` and two directions.
    """
    if walk.reverse and walk.directions == 2:
        raise ValueError("reverse is for one direction; bidirectional walks both ways")
    if gates.dim() != 3:
        raise RuntimeError(f"gates must have 3 dimensions (B, T, {count} H), got {gates.dim()}")
    batch, _, width = gates.shape
    count *= walk.directions
    _expect("gates' last size", width % count, 0, f"a multiple of {count}, got {width}")
    hidden = width // count
    fits = weight.dim() == 2 and weight.shape[0] == width and hidden % weight.shape[1] == 0
    if not fits:
        raise RuntimeError(
            f"Expected weight size ({width}, D) with D a divisor of {hidden}, "
            f"got {list(weight.shape)}"
        )
    _expect("gates' type", gates.is_floating_point(), True, f"floating, got {gates.dtype}")
    for name, state in zip(("h0", "c0"), states, strict=False):
        check_size(name, state, (batch, walk.directions * hidden), gates)
        check_type(name, state, gates)
    check_device("weight", weight, gates)
    check_type("weight", weight, gates)
    _check_walk(gates, walk.directions * hidden, walk)


def _check_walk(gates: Tensor, width: int, walk: Walk) -> None:
    check_masks(gates, walk.lengths_B, walk.reset_BT, walk.directions)
    batch, steps, _ = gates.shape
    if walk.dropout_BH is not None:
        check_size("dropout_mask", walk.dropout_BH, (batch, width), gates)
    for name, zoneout in (("zoneout_h", walk.zoneout_h), ("zoneout_c", walk.zoneout_c)):
        if isinstance(zoneout, Tensor):
            check_size(name, zoneout, (batch, steps, width), gates)
            _expect(f"{name}'s type", zoneout.dtype, torch.bool, "torch.bool")
        elif zoneout is not None and not 0 <= zoneout <= 1:
            raise RuntimeError(f"Expected {name} to be a share between 0 and 1, got {zoneout}")


def check_masks(
    like: Tensor, lengths: Tensor | None, reset_mask: Tensor | None, directions: int = 1
) -> None:
    """``lengths`` is (B), int64, and ``reset_mask`` (B, T), bool, for an input (B, T, ...).

    Raises:
        RuntimeError: one is not, or on another device.
    """
    batch, steps = like.shape[:2]
    if lengths is not None:
        check_size("lengths", lengths, (batch,), like)
        _expect("lengths' type", lengths.dtype, torch.int64, "torch.int64")
    if reset_mask is not None:
        shape = (batch, steps) if directions == 1 else (directions, batch, steps)
        check_size("reset_mask", reset_mask, shape, like)
        _expect("reset_mask's type", reset_mask.dtype, torch.bool, "torch.bool")


def check_bias(bias_n: Tensor | None, h0: Tensor) -> None:
    """The GRU's recurrent bias of n is (R x H), one for every unit of the state (B, R x H).

    Raises:
        RuntimeError: it is not, or on another device.
    """
    if bias_n is not None:
        check_size("bias_n", bias_n, (h0.shape[1],), h0)
        check_type("bias_n", bias_n, h0)


def checked_lengths(lengths: Tensor, batch: int, steps: int) -> Tensor:
    """``lengths`` (B) from 1 to T, as int64; values on a GPU are not looked at, nor in a graph.

    Raises:
        TypeError: it is no tensor.
        RuntimeError: its size or type do not fit, or a value is out of range.
    """
    if not isinstance(lengths, Tensor):
        raise TypeError(f"lengths must be a Tensor (B) of torch.int64, got {type(lengths)}")
    if tuple(lengths.shape) != (batch,):
        raise RuntimeError(f"Expected lengths size ({batch},), got {list(lengths.shape)}")
    whole = not (lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool)
    _expect("lengths' type", whole, True, f"torch.int64, got {lengths.dtype}")
    if lengths.is_cpu and lengths.numel() and not is_watched((lengths,)):
        _check_range(lengths, steps)
    return lengths.long()


def _check_range(lengths: Tensor, steps: int) -> None:
    least, most = (int(value) for value in lengths.aminmax())
    if least < 1 or most > steps:
        raise RuntimeError(
            f"Expected lengths from 1 to T={steps}, got lengths from {least} to {most}"
        )


def check_name(what: str, given: str, known: Sequence[str]) -> None:
    """``given`` is among ``known``.

    Raises:
        ValueError: it is not; says which are, and what may have been meant.
    """
    if given not in known:
        close = get_close_matches(str(given), known, 1)
        meant = f"; did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"Unknown {what} '{given}': one of {', '.join(known)}{meant}")


def real_steps(lengths_B: Tensor, steps: int) -> Tensor:
    """(B, T), bool: which of so many steps are within their row's length."""
    return torch.arange(steps, device=lengths_B.device) < lengths_B[:, None]


def real_resets(reset_mask: Tensor | None, lengths: Tensor | None) -> Tensor | None:
    """Resets of real steps: beyond a row's length nothing happens to its state."""
    if reset_mask is None or lengths is None:
        return reset_mask
    return reset_mask & real_steps(lengths, reset_mask.shape[-1])


def resets_against_time(reset_BT: Tensor | None) -> Tensor | None:
    """Against time the border before step t is met between t and t - 1: one step later."""
    if reset_BT is None:
        return None
    return torch.cat([reset_BT[:, 1:], torch.zeros_like(reset_BT[:, :1])], 1)


def check_size(name: str, tensor: Tensor, expected: tuple[int, ...], like: Tensor) -> None:
    """``tensor`` has the size ``expected`` and lies where ``like`` does.

    Raises:
        RuntimeError: it has not, or does not.
    """
    if tuple(tensor.shape) != expected:
        raise RuntimeError(f"Expected {name} size {expected}, got {list(tensor.shape)}")
    check_device(name, tensor, like)


def check_device(name: str, tensor: Tensor, like: Tensor) -> None:
    """``tensor`` lies where ``like`` does.

    Raises:
        RuntimeError: it does not.
    """
    if tensor.device != like.device:
        raise RuntimeError(
            f"Input and {name} tensors are not at the same device, found input tensor at "
            f"{like.device} and {name} tensor at {tensor.device}"
        )


def check_type(name: str, tensor: Tensor, like: Tensor) -> None:
    """``tensor`` has ``like``'s type, unless autocast gives them one.

    Raises:
        RuntimeError: it has not.
    """
    if tensor.dtype != like.dtype and not autocast(like):
        raise RuntimeError(
            f"Input and {name} tensors are not the same dtype, found input tensor with "
            f"{like.dtype} and {name} tensor with {tensor.dtype}"
        )


def autocast(x: Tensor) -> bool:
    """Whether autocast is on where ``x`` lies."""
    device = x.device.type
    known = device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)
    return known and torch.is_autocast_enabled(device)


def _expect(name: str, found: object, expected: object, words: str) -> None:
    if found != expected:
        raise RuntimeError(f"Expected {name} to be {words}")
