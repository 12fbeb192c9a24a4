"""One point's weights and inputs, and what must come out: torch.nn in float64.

A contender is right if y, dx and dU agree with float64 on some rows of the batch. The gradient of
y is zero in all other rows, so that dU is made by the same rows alone. Heads are compared with a
dense layer whose recurrent matrix is block-diagonal, given gates with one whose W is the identity.

Shapes: B batch, T time, I input size, G gates x hidden size, H hidden size, N heads of D units.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kernel_suite.cases import relative_error
from kernel_suite.points import TORCH, Point

PLAIN = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
LIMITS = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 2e-2}
"""Relative errors; tf32 has fp16's ten bits of mantissa."""

BUFFERS, ONE_IS_ENOUGH = 3, 2**28
"""Inputs that take turns; one alone if it has more bytes than any cache by far."""

ROWS = 6


@dataclass
class Layer:
    """Weights as torch.nn has them, the recurrent one by heads: (G, I), (G, D), (G), (G)."""

    w_GI: Tensor
    u_GD: Tensor
    b_ih_G: Tensor
    b_hh_G: Tensor


class Problem:
    """Weights, as many inputs as buffers rotate, and float64's answer to the first of them."""

    def __init__(self, point: Point, device: str) -> None:
        self.point, self.device = point, device
        self.generator = torch.Generator(device).manual_seed(0)
        self.layers = [self._layer(index) for index in range(point.layers)]
        shape = (point.batch, point.steps)
        first = self._normal(*shape, point.input_size)
        more = range(0 if first.nbytes > ONE_IS_ENOUGH else BUFFERS - 1)
        self.inputs = [first, *(self._normal(*first.shape) for _ in more)]
        self.towards = [self._normal(*shape, point.hidden) for _ in self.inputs]
        spread = torch.linspace(0, point.batch - 1, min(ROWS, point.batch), device=device)
        self.rows = spread.long().unique()

    def _normal(self, *shape: int) -> Tensor:
        drawn = torch.empty(shape, dtype=TORCH[self.point.dtype], device=self.device)
        return drawn.normal_(generator=self.generator)

    def _layer(self, index: int) -> Layer:
        """Uniform within 1 / sqrt(D), as torch.nn draws them; no W and no biases for a scan."""
        point, bound = self.point, self.point.head_size**-0.5
        rows, width = point.gates * point.hidden, point.hidden
        shapes = [(rows, width), (rows, point.head_size), (rows,), (rows,)]
        dtype = TORCH[point.dtype]
        parts = [torch.empty(s, dtype=dtype, device=self.device) for s in shapes]
        for part in parts:
            part.uniform_(-bound, bound, generator=self.generator)
        if point.accounting == "scan":
            parts[0] = torch.eye(rows, dtype=dtype, device=self.device)
            parts[2:] = [part.zero_() for part in parts[2:]]
        return Layer(*parts)

    def masked(self) -> Tensor:
        """The first gradient of y, zero in all rows but those compared."""
        mask = torch.zeros_like(self.towards[0])
        mask[self.rows] = self.towards[0][self.rows]
        return mask

    def expected(self) -> dict[str, Tensor]:
        """y, and with gradients dx and the first layer's dU (G, D), of the compared rows."""
        layer = self._exact()
        x = self.inputs[0][self.rows].double().requires_grad_()
        y, _ = layer(x)
        if self.point.mode == "forward":
            return {"y": y.detach()}
        towards = self.towards[0][self.rows].double()
        dx, du = torch.autograd.grad(y, [x, layer.weight_hh_l0], towards)
        return {"y": y.detach(), "dx": dx, "du": self._blocks(du)}

    def _exact(self) -> nn.RNNBase:
        point = self.point
        sizes = (point.input_size, point.hidden, point.layers)
        layer = PLAIN[point.cell](*sizes, batch_first=True, device=self.device).double()
        weights = {}
        for index, own in enumerate(self.layers):
            parts = (own.w_GI, self._dense(own.u_GD), own.b_ih_G, own.b_hh_G)
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            pairs = zip(names, parts, strict=True)
            weights.update({f"{name}_l{index}": part for name, part in pairs})
        layer.load_state_dict(weights)
        return layer

    def _dense(self, u_GD: Tensor) -> Tensor:
        heads = u_GD.view(self.point.gates, self.point.heads, self.point.head_size, -1)
        return torch.cat([torch.block_diag(*gate) for gate in heads])

    def _blocks(self, du_GH: Tensor) -> Tensor:
        point = self.point
        parts = du_GH.view(point.gates, point.heads, point.head_size, point.heads, -1)
        return parts.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2).flatten(0, 2)


def worst(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest relative error; NaN if any is."""
    errors = [relative_error(found[name], value) for name, value in expected.items()]
    return float("nan") if any(e != e for e in errors) else max(errors)
