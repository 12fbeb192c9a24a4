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
    batch, steps, width = gates.shape
    _expect("gates' last size", width % count, 0, f"a multiple of {count}, got {width}")
    hidden = width // count
    fits = weight.dim() == 2 and weight.shape[0] == width and hidden % weight.shape[1] == 0
    if not fits:
        raise RuntimeError(
            f"Expected weight size ({width}, D) with D a divisor of {hidden}, "
            f"got {list(weight.shape)}"
        )
    for name, state in zip(("h0", "c0"), states, strict=False):
        _size(name, state, (batch, hidden))
        _device(name, state, gates)
    _device("weight", weight, gates)
    if lengths is not None:
        _size("lengths", lengths, (batch,))
        _expect("lengths' type", lengths.dtype, torch.int64, "torch.int64")
        _device("lengths", lengths, gates)
    if reset_mask is not None:
        _size("reset_mask", reset_mask, (batch, steps))
        _expect("reset_mask's type", reset_mask.dtype, torch.bool, "torch.bool")
        _device("reset_mask", reset_mask, gates)


def check_bias(bias_n: Tensor | None, gates: Tensor) -> None:
    """The GRU's recurrent bias of n is (H).

    Raises:
        RuntimeError: it is not, or on another device.
    """
    if bias_n is not None:
        _size("bias_n", bias_n, (gates.shape[-1] // 3,))
        _device("bias_n", bias_n, gates)


def real_resets(reset_mask: Tensor | None, lengths: Tensor | None) -> Tensor | None:
    """Resets of real steps: beyond a row's length nothing happens to its state."""
    if reset_mask is None or lengths is None:
        return reset_mask
    steps = torch.arange(reset_mask.shape[1], device=reset_mask.device)
    return reset_mask & (steps < lengths[:, None])


def _size(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise RuntimeError(f"Expected {name} size {expected}, got {list(tensor.shape)}")


def _device(name: str, tensor: Tensor, gates: Tensor) -> None:
    if tensor.device != gates.device:
        raise RuntimeError(
            f"Input and {name} tensors are not at the same device, found input tensor at "
            f"{gates.device} and {name} tensor at {tensor.device}"
        )


def _expect(name: str, found: object, expected: object, words: str) -> None:
    if found != expected:
        raise RuntimeError(f"Expected {name} to be {words}")
