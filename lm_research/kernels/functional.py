"""The scans for people who write their own layers: gates in, states out.

``gates`` are the inputs' share, W x_t + b + b' (the GRU's b' of n apart), as one product for all
steps makes it. The recurrent weight may be block-diagonal: (gates x H, D), H / D heads of D units.

Shapes: B batch, T time, H hidden size, D head size.
"""

import torch
from torch import Tensor

from lm_research.kernels import reference
from lm_research.kernels.checks import check_bias, check_scan, real_resets
from lm_research.kernels.dispatch import Precision, ScanBackend, scan_backend
from lm_research.kernels.walk import Walk

States = Tensor | tuple[Tensor, Tensor]


def rnn_scan(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
    lengths: Tensor | None = None,
    reset_mask: Tensor | None = None,
    reverse: bool = False,
    backend: ScanBackend = "auto",
    precision: Precision = "tf32x3",
) -> tuple[Tensor, Tensor]:
    """h_t = f(gates_t + U h_{t-1}), f being ``tanh`` or ``relu``.

    Args:
        gates: (B, T, H).
        weight: U, (H, D).
        h0: (B, H), zeros if not given; gradients flow to it.
        lengths: (B), int64: row b has ``lengths[b]`` real steps; beyond them y is zero and the
            state stays as it is.
        reset_mask: (B, T), bool: the state is cleared before step t.
        reverse: walk against time, from the last (real) step to the first.
        backend: ``reference``, ``triton``, or ``auto`` for what :func:`explain` says.
        precision: of float32 products in ``triton``: ``tf32x3`` (float32's accuracy on tensor
            cores), ``tf32`` (three digits), ``ieee`` (no tensor cores).

    Returns:
        y (B, T, H) and the last state (B, H).

    Raises:
        RuntimeError: sizes, types or devices do not fit.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"Unknown nonlinearity '{nonlinearity}': 'tanh' or 'relu'")
    h0 = _zeros(gates, 1) if h0 is None else h0
    check_scan(gates, weight, 1, (h0,), lengths, reset_mask)
    weight, reset = weight.to(gates.dtype), real_resets(reset_mask, lengths)
    walk = Walk(lengths, reset, reverse, precision=precision)
    if scan_backend("rnn", gates, weight, backend, precision).backend == "reference":
        return reference.rnn_scan(gates, weight, h0, walk, nonlinearity)
    from lm_research.kernels import ops

    relu = nonlinearity == "relu"
    return ops.rnn_scan(gates, weight, h0, relu, *walk.flat())


def lstm_scan(
    gates: Tensor,
    weight: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    lengths: Tensor | None = None,
    reset_mask: Tensor | None = None,
    reverse: bool = False,
    backend: ScanBackend = "auto",
    precision: Precision = "tf32x3",
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The LSTM's recurrence over gates (B, T, 4 H) in the order i, f, g, o; weight (4 H, D).

    ``state`` is (h0, c0), each (B, H). Returns y (B, T, H) and (h, c). Otherwise as
    :func:`rnn_scan`.
    """
    h0, c0 = state if state is not None else (_zeros(gates, 4), _zeros(gates, 4))
    check_scan(gates, weight, 4, (h0, c0), lengths, reset_mask)
    weight, reset = weight.to(gates.dtype), real_resets(reset_mask, lengths)
    walk = Walk(lengths, reset, reverse, precision=precision)
    if scan_backend("lstm", gates, weight, backend, precision).backend == "reference":
        y, h, c = reference.lstm_scan(gates, weight, h0, c0, walk)
        return y, (h, c)
    from lm_research.kernels import ops

    save = _needs_gradient(gates, weight, h0, c0)
    y, h, c, *_ = ops.lstm_scan(gates, weight, h0, c0, save, *walk.flat())
    return y, (h, c)


def gru_scan(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor | None = None,
    *,
    bias_n: Tensor | None = None,
    lengths: Tensor | None = None,
    reset_mask: Tensor | None = None,
    reverse: bool = False,
    backend: ScanBackend = "auto",
    precision: Precision = "tf32x3",
) -> tuple[Tensor, Tensor]:
    """The GRU's recurrence over gates (B, T, 3 H) in the order r, z, n; weight (3 H, D).

    ``bias_n`` (H) is the recurrent bias of n, which stands inside r * (U h + b'). Otherwise as
    :func:`rnn_scan`.
    """
    h0 = _zeros(gates, 3) if h0 is None else h0
    check_scan(gates, weight, 3, (h0,), lengths, reset_mask)
    check_bias(bias_n, gates)
    weight, reset = weight.to(gates.dtype), real_resets(reset_mask, lengths)
    walk = Walk(lengths, reset, reverse, precision=precision)
    if scan_backend("gru", gates, weight, backend, precision).backend == "reference":
        return reference.gru_scan(gates, weight, h0, bias_n, walk)
    from lm_research.kernels import ops

    bias_n = gates.new_zeros(h0.shape[1]) if bias_n is None else bias_n.to(gates.dtype)
    save = _needs_gradient(gates, weight, bias_n, h0)
    y, h, _ = ops.gru_scan(gates, weight, h0, bias_n, save, *walk.flat())
    return y, h


def _zeros(gates: Tensor, count: int) -> Tensor:
    return gates.new_zeros(gates.shape[0], gates.shape[-1] // count)


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
