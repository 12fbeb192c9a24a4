"""What a scan's arguments must be, said in the words of ``torch.nn``'s own errors."""

import torch
from torch import Tensor


def check_scan(
    gates: Tensor,
    weight: Tensor,
    count: int,
    states: tuple[Tensor, ...],
    lengths: Tensor | None,
    reset_mask: Tensor | None,
) -> None:
    """Sizes, types and devices.

    Raises:
        RuntimeError: naming the argument, what was expected and what was got.
    """
    if gates.dim() != 3:
        raise RuntimeError(f"gates must have 3 dimensions (B, T, {count} H), got {gates.dim()}")
    batch, _, width = gates.shape
    _expect("gates' last size", width % count, 0, f"a multiple of {count}, got {width}")
    hidden = width // count
    fits = weight.dim() == 2 and weight.shape[0] == width and hidden % weight.shape[1] == 0
    if not fits:
        raise RuntimeError(
            f"Expected weight size ({width}, D) with D a divisor of {hidden}, "
            f"got {list(weight.shape)}"
        )
    for name, state in zip(("h0", "c0"), states, strict=False):
        check_size(name, state, (batch, hidden), gates)
    _device("weight", weight, gates)
    check_masks(gates, lengths, reset_mask)


def check_masks(like: Tensor, lengths: Tensor | None, reset_mask: Tensor | None) -> None:
    """``lengths`` is (B), int64, and ``reset_mask`` (B, T), bool, for an input (B, T, ...).

    Raises:
        RuntimeError: one is not, or on another device.
    """
    batch, steps = like.shape[:2]
    if lengths is not None:
        check_size("lengths", lengths, (batch,), like)
        _expect("lengths' type", lengths.dtype, torch.int64, "torch.int64")
    if reset_mask is not None:
        check_size("reset_mask", reset_mask, (batch, steps), like)
        _expect("reset_mask's type", reset_mask.dtype, torch.bool, "torch.bool")


def check_bias(bias_n: Tensor | None, gates: Tensor) -> None:
    """The GRU's recurrent bias of n is (H).

    Raises:
        RuntimeError: it is not, or on another device.
    """
    if bias_n is not None:
        check_size("bias_n", bias_n, (gates.shape[-1] // 3,), gates)


def real_resets(reset_mask: Tensor | None, lengths: Tensor | None) -> Tensor | None:
    """Resets of real steps: beyond a row's length nothing happens to its state."""
    if reset_mask is None or lengths is None:
        return reset_mask
    steps = torch.arange(reset_mask.shape[1], device=reset_mask.device)
    return reset_mask & (steps < lengths[:, None])


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
    _device(name, tensor, like)


def _device(name: str, tensor: Tensor, gates: Tensor) -> None:
    if tensor.device != gates.device:
        raise RuntimeError(
            f"Input and {name} tensors are not at the same device, found input tensor at "
            f"{gates.device} and {name} tensor at {tensor.device}"
        )


def _expect(name: str, found: object, expected: object, words: str) -> None:
    if found != expected:
        raise RuntimeError(f"Expected {name} to be {words}")
