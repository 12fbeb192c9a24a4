"""float64's answer to long scans that is not our own loop over steps: torch.nn given the gates.

Its input is the gates and W the identity. A loop of ours takes minutes for 16,384 steps on a GPU,
where torch.nn (cuDNN) has one call.

Shapes: B batch, T time, G gates x hidden size, H hidden size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from kernel_suite.cases import Case

PLAIN = {"rnn": nn.RNN, "rnn_relu": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def serves(case: Case) -> bool:
    """Whether torch.nn has all that the case asks for."""
    masked = case.lengths or case.resets != "none"
    return case.heads == case.layers == 1 and not (masked or case.reverse)


def answer(case: Case, tensors: list[Tensor], towards: list[Tensor]) -> list[Tensor]:
    """Outputs and the gradients of the inputs, as ``cases.results`` has them, in float64."""
    given = [t.detach().double().requires_grad_() for t in tensors]
    gates, weight, h0, *rest = given
    layer: Any = _layer(case, gates, weight)
    leaves = [gates, layer.weight_hh_l0, h0, *rest]
    state = tuple(part[None] for part in (h0, *rest)) if case.kind == "lstm" else h0[None]
    if case.kind == "gru":  # b' is an inner bias of n alone
        with torch.no_grad():
            layer.bias_hh_l0[2 * case.hidden :] = rest[0]
        leaves[3] = layer.bias_hh_l0
    y, last = layer(gates, state)
    outputs = [y, *(part[0] for part in (last if case.kind == "lstm" else (last,)))]
    gradients = list(torch.autograd.grad(outputs, leaves, [d.double() for d in towards]))
    if case.kind == "gru":
        gradients[3] = gradients[3][2 * case.hidden :]
    return [t.detach() for t in (*outputs, *gradients)]


def _layer(case: Case, gates: Tensor, weight: Tensor) -> nn.RNNBase:
    """A layer whose W hands the gates through."""
    width = gates.shape[-1]
    more = {"nonlinearity": "relu"} if case.cell == "rnn_relu" else {}
    layer: Any = PLAIN[case.cell](width, case.hidden, batch_first=True, **more).to(gates)
    zero = torch.zeros_like(layer.bias_ih_l0)
    parts = {"weight_ih_l0": torch.eye(width).to(gates), "weight_hh_l0": weight.detach()}
    layer.load_state_dict({**parts, "bias_ih_l0": zero, "bias_hh_l0": zero})
    return layer
