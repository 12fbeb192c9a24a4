"""minGRU and minLSTM (Feng et al. 2024, "Were RNNs All We Needed?", arXiv 2410.01201).

Gates depend on the input alone, so that a layer is one product and one diagonal scan
h_t = a_t h_{t-1} + b_t, computed in parallel over time. The candidate is g(v) >= 0, with
g(v) = v + 0.5 for v >= 0 and sigmoid(v) otherwise, as the paper's log-space form has it:

minGRU   z_t = sigmoid(W_z x_t + b_z), v_t = W_h x_t + b_h,
         h_t = (1 - z_t) h_{t-1} + z_t g(v_t);
         log a_t = -softplus(k_t), log b_t = -softplus(-k_t) + log g(v_t), k_t = W_z x_t + b_z.
minLSTM  f_t = sigmoid(W_f x_t + b_f), i_t = sigmoid(W_i x_t + b_i), v_t = W_h x_t + b_h,
         f'_t = f_t / (f_t + i_t), i'_t = i_t / (f_t + i_t), h_t = f'_t h_{t-1} + i'_t g(v_t);
         d_t = softplus(-(W_f x_t + b_f)) - softplus(-(W_i x_t + b_i)),
         log a_t = -softplus(d_t), log b_t = -softplus(-d_t) + log g(v_t).

Decays are kept as log a_t; b_t itself is scanned (:mod:`lm_research.kernels.diagonal` says why).

Shapes: B batch, T time, I input size, H hidden size, L layers x directions.
"""

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.kernels.checks import check_device, check_name, check_type, resets_against_time
from lm_research.kernels.diagonal import Backend, explain_diagonal, minimal_scan
from lm_research.kernels.dispatch import Choice


class _Minimal(nn.Module):
    """What the two share: parameters, and the walk over layers and directions."""

    gates: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be a probability between 0 and 1, got {dropout}")
        check_name("backend", backend, get_args(Backend))
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional, self.backend = bidirectional, backend
        self._directions = 2 if bidirectional else 1
        for layer in range(num_layers):
            width = hidden_size * self._directions if layer else input_size
            for suffix in self._suffixes(layer):
                weight = torch.empty(self.gates * hidden_size, width, device=device, dtype=dtype)
                self.register_parameter(f"weight_ih{suffix}", nn.Parameter(weight))
                if bias:
                    self.register_parameter(f"bias_ih{suffix}", nn.Parameter(weight[:, 0].clone()))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def reset_parameters(self) -> None:
        """Uniform within 1 / sqrt(inputs), as ``nn.Linear``, which the paper's layers are."""
        for name, parameter in self.named_parameters():
            bound = self.get_parameter(name.replace("bias", "weight")).shape[1] ** -0.5
            nn.init.uniform_(parameter, -bound, bound)

    def choice(self, x: Tensor) -> Choice:
        """The backend for input ``x``."""
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        return explain_diagonal(device=x.device, dtype=dtype, backend=self.backend)

    def forward(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        reset_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the layers.

        Args:
            input: (T, B, I), (B, T, I) if ``batch_first``, or (T, I) without a batch.
            hx: (L, B, H), or (L, H) without a batch: the state before the first step; zeros if
                not given. It is the state itself, as a call before returned it, not g's argument.
            lengths: (B), int64, at least 1 and at most T: real steps of every row. Outputs beyond
                are zero, the returned state is the one after the last real step.
            reset_mask: laid out as the input, (T, B) or (B, T), bool: a new document begins at
                step t, so nothing passes from before it (nor, in reverse, from it to before).

        Returns:
            y, (T, B, H) or (B, T, H), twice as wide if bidirectional, and h_n (L, B, H); without
            a batch (T, H) and (L, H).

        Raises:
            RuntimeError: sizes, types or devices do not fit.
            TypeError: input or hx is no tensor.
        """
        self._check_tensors(input, hx)
        if input.dim() == 2:
            return self._unbatched(input, hx, lengths, reset_mask)
        if input.dim() != 3:
            raise RuntimeError(f"input must have 2 or 3 dimensions, got {input.dim()}")
        x_BTI = input if self.batch_first else input.transpose(0, 1)
        states = self._states(x_BTI, hx)
        if reset_mask is not None and not self.batch_first:
            reset_mask = reset_mask.t()
        y_BTH, after = self._layers(x_BTI, states, lengths, reset_mask)
        return (y_BTH if self.batch_first else y_BTH.transpose(0, 1)), after

    def _check_tensors(self, input: Tensor, hx: Tensor | None) -> None:
        """What torch.nn's layers take beside tensors is refused, with what to give instead."""
        name = type(self).__name__
        if isinstance(input, nn.utils.rnn.PackedSequence):
            raise TypeError(
                f"{name} takes no PackedSequence: give the padded input and lengths, as "
                "torch.nn.utils.rnn.pad_packed_sequence returns them"
            )
        if not isinstance(input, Tensor):
            raise TypeError(f"{name}: input must be a Tensor, got {type(input)}")
        if hx is not None and not isinstance(hx, Tensor):
            raise TypeError(f"{name}: hx must be a Tensor, the state h alone, got {type(hx)}")

    def _unbatched(
        self,
        x_TI: Tensor,
        hx: Tensor | None,
        lengths: Tensor | None,
        reset_mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        if lengths is not None or reset_mask is not None:
            raise RuntimeError("lengths and reset_mask need a batch: give input (B, T, I)")
        batch = 0 if self.batch_first else 1
        y, after = self(x_TI.unsqueeze(batch), None if hx is None else hx.unsqueeze(1))
        return y.squeeze(batch), after.squeeze(1)

    def _states(self, x_BTI: Tensor, hx: Tensor | None) -> Tensor:
        if x_BTI.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, "
                f"got {x_BTI.shape[-1]}"
            )
        shape = (self.num_layers * self._directions, x_BTI.shape[0], self.hidden_size)
        if hx is None:
            return x_BTI.new_zeros(shape)
        if tuple(hx.shape) != shape:
            raise RuntimeError(f"Expected hidden size {shape}, got {list(hx.shape)}")
        check_device("hidden", hx, x_BTI)
        check_type("hidden", hx, x_BTI)
        return hx

    def _layers(
        self,
        x_BTI: Tensor,
        states_LBH: Tensor,
        lengths: Tensor | None,
        reset_BT: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        after: list[Tensor] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x_BTI = F.dropout(x_BTI, self.dropout, self.training)
            outputs = []
            for suffix in self._suffixes(layer):
                reverse = suffix.endswith("reverse")
                y_BTH, h_BH = minimal_scan(
                    self._gates(x_BTI, suffix),
                    states_LBH[len(after)],
                    lengths=lengths,
                    reset_mask=resets_against_time(reset_BT) if reverse else reset_BT,
                    reverse=reverse,
                    backend=self.backend,
                )
                outputs.append(y_BTH)
                after.append(h_BH)
            x_BTI = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
        return x_BTI, torch.stack(after)

    def _gates(self, x_BTI: Tensor, suffix: str) -> Tensor:
        bias = getattr(self, f"bias_ih{suffix}", None)
        return F.linear(x_BTI, getattr(self, f"weight_ih{suffix}"), bias)

    def extra_repr(self) -> str:
        """As ``nn.GRU`` prints it, with the backend."""
        words = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        for name, default in defaults.items():
            if getattr(self, name) != default:
                words.append(f"{name}={getattr(self, name)}")
        return ", ".join([*words, f"backend={self.backend}"])


class MinGRU(_Minimal):
    """h_t = (1 - z_t) h_{t-1} + z_t g(v_t); the module's docstring has z_t, v_t and g.

    Called as ``nn.GRU``: ``y, h_n = layer(x, hx)``. Parameters are ``weight_ih_l0`` (2 H, I) and
    ``bias_ih_l0`` (2 H), the gate z before the candidate v, with nn.GRU's names; there is no
    recurrent weight, and ``nn.GRU``'s checkpoints do not fit.

    Args:
        input_size: I.
        hidden_size: H.
        num_layers: layers, each on the outputs of the one below.
        bias: whether the gates have one.
        batch_first: whether inputs and outputs are (B, T, ...), not (T, B, ...).
        dropout: probability between layers while training.
        bidirectional: a second scan against time, its outputs beside the first's.
        backend: ``auto``, ``reference``, ``torch``, ``triton``; see
            :func:`~lm_research.kernels.diagonal.explain_diagonal`.
        device: of the parameters.
        dtype: of the parameters.
    """

    gates = 2


class MinLSTM(_Minimal):
    """h_t = f'_t h_{t-1} + i'_t g(v_t); the module's docstring has f'_t, i'_t, v_t and g.

    The state is h alone, so it is called as ``nn.GRU``, not as ``nn.LSTM``. Parameters are
    ``weight_ih_l0`` (3 H, I) and ``bias_ih_l0`` (3 H): f, i, then the candidate. Arguments as in
    :class:`MinGRU`.
    """

    gates = 3
