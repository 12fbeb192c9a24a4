"""A module on the parameters of a ``torch.nn`` recurrent layer, which it can stand in for.

Shapes: G gates x H, H hidden size, L layers x directions.
"""

from collections.abc import Callable
from operator import is_
from typing import Any, cast

import torch
from torch import Tensor, nn

from lm_research.kernels.obstacles import Cell
from lm_research.kernels.parameters import of_heads, remove_recurrent_bias, summed

Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""W, U, the gates' bias, and the GRU's b' of n."""


class Namesake(nn.Module):
    """The parameters of a ``torch.nn`` layer, under its names.

    Not a subclass of its namesake, which torch.compile refuses to trace: it holds one, on the same
    parameters, for what ``torch`` serves.

    Args:
        *args, **kwargs: as the ``torch.nn`` layer takes them.
        num_heads: block-diagonal heads; ``weight_hh`` is then (G, H / heads).
        recurrent_bias: whether b' is there to be trained; else a constant zero, not saved.
    """

    cell: Cell
    namesake: Callable[..., nn.RNNBase]

    def __init__(
        self, *args: Any, num_heads: int = 1, recurrent_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__()
        plain = type(self).namesake(*args, **kwargs)
        if not recurrent_bias:
            remove_recurrent_bias(plain)
        self.input_size, self.hidden_size = plain.input_size, plain.hidden_size
        self.num_layers, self.bidirectional = plain.num_layers, plain.bidirectional
        self.bias, self.batch_first, self.dropout = plain.bias, plain.batch_first, plain.dropout
        self.mode, self.proj_size = plain.mode, plain.proj_size
        if num_heads < 1 or plain.hidden_size % num_heads:
            raise ValueError(
                f"num_heads must divide hidden_size={plain.hidden_size}, got {num_heads}"
            )
        self.num_heads = num_heads
        for name, weight in plain.named_parameters():
            own = of_heads(weight, num_heads) if name.startswith("weight_hh") else weight
            self.register_parameter(name, own)
        for name, zeros in plain.named_buffers():
            self.register_buffer(name, zeros, persistent=False)
        self._plain = [plain]  # in a list, so that it is no submodule

    def plain(self) -> nn.RNNBase:
        """The ``torch.nn`` layer on our weights as they are now, loaded, swapped or made anew."""
        layer = self._plain[0]
        theirs = layer._parameters
        if not all(map(is_, map(self._parameters.get, theirs), theirs.values())):
            for name in theirs:  # what a parametrization makes is an attribute, no parameter
                theirs[name] = getattr(self, name)
        if self._buffers:
            layer._buffers.update(self._buffers)
        if layer.training != self.training:
            layer.train(self.training)
        return layer

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """After a move cuDNN wants the weights in one piece of memory again.

        References of the ``torch.nn`` layer's own would keep tensors from being swapped.
        """
        self._plain[0]._flat_weight_refs = []
        super()._apply(fn, recurse)
        self._clear_biases()
        if self.num_heads == 1:
            self.plain()._init_flat_weights()
        return self

    def flatten_parameters(self) -> None:
        """As ``torch.nn`` has it: in one piece of memory, where cuDNN reads them."""
        if self.num_heads == 1:
            self.plain().flatten_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew, as ``torch.nn`` draws them: uniformly, up to 1 / sqrt(H)."""
        bound = self.hidden_size**-0.5
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def _clear_biases(self) -> None:
        """A b' that is no parameter is zero, also where ``to_empty`` has made room for it."""
        for name, bias in self._buffers.items():
            if bias is not None and name in self._plain[0]._flat_weights_names:
                self._buffers[name] = torch.zeros_like(bias)

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """As ``torch.nn`` has it: of each layer and direction W, U and biases."""
        return [[getattr(self, name) for name in names] for names in self._plain[0]._all_weights]

    def _weights(self, layer: int) -> Weights:
        """A layer's, those of its directions below each other."""
        w, u, b, b_hh = self.parts(layer)
        return w, u, summed(b, b_hh), None

    def parts(self, layer: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """W, U and the two biases of a layer, those of its directions below each other."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(self._part(f"{name}_l{layer}") for name in names)  # type: ignore[return-value]

    def _part(self, name: str) -> Tensor | None:
        part = getattr(self, name, None)
        if part is None or not self.bidirectional:
            return part
        return torch.cat([part, cast(Tensor, getattr(self, f"{name}_reverse"))])
