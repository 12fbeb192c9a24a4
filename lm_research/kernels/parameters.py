"""Parameters of recurrent layers, beyond what ``torch.nn`` makes of them."""

import torch
from torch import Tensor, nn


def check_probabilities(state_dropout: float, zoneout: tuple[float, float]) -> None:
    """Of dropping, or keeping, a unit.

    Raises:
        ValueError: one is not from 0 to below 1.
    """
    for name, p in (("state_dropout", state_dropout), *(("zoneout", p) for p in zoneout)):
        if not 0 <= p < 1:
            raise ValueError(f"{name} is {p}; it must be at least 0 and less than 1")


def of_heads(weight_GH: nn.Parameter, num_heads: int) -> nn.Parameter:
    """Every head's own recurrent matrix, (G, H / heads), drawn as ``torch.nn`` draws its weights.

    With one head the weight itself.
    """
    if num_heads == 1:
        return weight_GH
    hidden = weight_GH.shape[1]
    fewer = nn.Parameter(weight_GH.new_empty(len(weight_GH), hidden // num_heads))
    bound = hidden**-0.5
    nn.init.uniform_(fewer, -bound, bound)
    return fewer


def summed(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Two biases as one; the first may be all there is, or none."""
    return one if other is None or one is None else one + other


def remove_recurrent_bias(layer: nn.RNNBase) -> None:
    """Make b' a constant zero: neither a parameter nor part of the saved state."""
    for name, bias in list(layer.named_parameters()):
        if name.startswith("bias_hh"):
            delattr(layer, name)
            layer.register_buffer(name, torch.zeros_like(bias, requires_grad=False), False)
            setattr(layer, name, getattr(layer, name))  # tells torch.nn's list of weights
