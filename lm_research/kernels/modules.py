"""``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` with more to them: a drop-in, and beyond.

Each class is its ``torch.nn`` namesake: same constructor, parameters and results; a checkpoint of
one loads into the other. Beyond it: ``lengths`` without packing, ``reset_mask``, block-diagonal
heads, a choice of backend.

Shapes: B batch, T time, I input size, H hidden size, N heads, L layers x directions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lm_research.kernels.checks import resets_against_time
from lm_research.kernels.dispatch import Backend, Cell, Choice, Precision, explain
from lm_research.kernels.functional import gru_scan, lstm_scan, rnn_scan


class _Fused(nn.Module, ABC):
    """What the three share: the walk over layers and directions.

    Not a subclass of its namesake, which torch.compile refuses to trace: it holds one, on the same
    parameters, for what ``torch`` serves.
    """

    cell: Cell
    namesake: Callable[..., nn.RNNBase]

    def __init__(
        self,
        *args: Any,
        num_heads: int = 1,
        recurrent_bias: bool = True,
        backend: Backend = "auto",
        precision: Precision = "tf32x3",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        plain = type(self).namesake(*args, **kwargs)
        if not recurrent_bias:
            _remove_recurrent_bias(plain)
        self.input_size, self.hidden_size = plain.input_size, plain.hidden_size
        self.num_layers, self.bidirectional = plain.num_layers, plain.bidirectional
        self.bias, self.batch_first, self.dropout = plain.bias, plain.batch_first, plain.dropout
        self.mode, self.proj_size = plain.mode, plain.proj_size
        if num_heads < 1 or plain.hidden_size % num_heads:
            raise ValueError(
                f"num_heads must divide hidden_size={plain.hidden_size}, got {num_heads}"
            )
        if plain.proj_size and (num_heads > 1 or backend not in ("auto", "torch")):
            raise ValueError("proj_size is served by backend='torch' alone, with one head")
        self.num_heads, self.backend, self.precision = num_heads, backend, precision
        for name, weight in plain.named_parameters():
            own = self._of_heads(weight) if name.startswith("weight_hh") else weight
            self.register_parameter(name, own)
        for name, zeros in plain.named_buffers():
            self.register_buffer(name, zeros, persistent=False)
        self._plain = [plain]  # in a list, so that it is no submodule

    def _of_heads(self, weight: nn.Parameter) -> nn.Parameter:
        """Every head's own recurrent matrix, drawn as ``torch.nn`` draws its weights."""
        if self.num_heads == 1:
            return weight
        size = self.hidden_size // self.num_heads
        fewer = nn.Parameter(weight.new_empty(len(weight), size))
        bound = self.hidden_size**-0.5
        nn.init.uniform_(fewer, -bound, bound)
        return fewer

    def plain(self) -> nn.RNNBase:
        """The ``torch.nn`` layer on the parameters as they are now (loading may replace them)."""
        layer = self._plain[0]
        for ours, theirs in (
            (self._parameters, layer._parameters),
            (self._buffers, layer._buffers),
        ):
            changed = [name for name, own in ours.items() if theirs[name] is not own]
            for name in changed:
                setattr(layer, name, ours[name])
        if layer.training != self.training:
            layer.train(self.training)
        return layer

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """After a move cuDNN wants the weights in one piece of memory again."""
        super()._apply(fn, recurse)
        if self.num_heads == 1:
            self.plain().flatten_parameters()
        return self

    def choice(self, x: Tensor, beyond: bool = False) -> Choice:
        """The backend for input ``x``; ``beyond``: with resets."""
        dtype = torch.get_autocast_dtype(x.device.type) if _autocast(x) else x.dtype
        return explain(
            self.cell,
            device=x.device,
            dtype=dtype,
            hidden_size=self.hidden_size,
            num_heads=self.num_heads,
            beyond_torch=beyond,
            backend=self.backend,
            precision=self.precision,
        )

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        *,
        lengths: Tensor | None = None,
        reset_mask: Tensor | None = None,
    ) -> Any:
        """Run the layers.

        Args:
            input: (T, B, I), (B, T, I) if ``batch_first``, or (T, I); packed for ``torch`` alone.
            hx: the state before the first step, as ``torch.nn`` has it; zeros if not given.
            lengths: (B), int64, at least 1 and at most T: real steps of every row. Outputs beyond
                are zero, the returned state is the one after the last real step.
            reset_mask: laid out as the input, (T, B) or (B, T), bool: a new document begins at
                step t, so nothing passes from before it (nor, in reverse, from it to before).

        Raises:
            RuntimeError: sizes, types or devices do not fit.
        """
        packed = isinstance(input, PackedSequence)
        x = input.data if packed else cast(Tensor, input)
        chosen = self.choice(x, reset_mask is not None).backend
        plain = packed or x.dim() != 3 or x.numel() == 0
        if plain and (chosen != "torch" or lengths is not None):
            raise RuntimeError(
                "packed, unbatched and empty inputs are served by backend='torch' without lengths, "
                "reset_mask and num_heads; give a batch, and lengths in place of packing"
            )
        if chosen == "torch" and lengths is None:
            return self.plain()(input, hx)
        x_BTI = x if self.batch_first else x.transpose(0, 1)
        states = self._states(x_BTI, hx)
        if reset_mask is not None and not self.batch_first:
            reset_mask = reset_mask.t()
        if chosen == "torch":
            y_BTH, after = self._packed(x_BTI, hx, cast(Tensor, lengths))
        else:
            scan = "reference" if chosen == "reference" else "triton"
            y_BTH, after = self._layers(x_BTI, states, lengths, reset_mask, scan)
        return (y_BTH if self.batch_first else y_BTH.transpose(0, 1)), after

    def _states(self, x_BTI: Tensor, hx: Any) -> tuple[Tensor, ...]:
        """The initial states, checked as ``torch.nn`` checks them, each (L, B, H)."""
        if x_BTI.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, "
                f"got {x_BTI.shape[-1]}"
            )
        layers = self.num_layers * (2 if self.bidirectional else 1)
        count = 2 if self.cell == "lstm" else 1
        shape = (layers, x_BTI.shape[0], self.hidden_size)
        if hx is None:
            return tuple(x_BTI.new_zeros(shape) for _ in range(count))
        given = tuple(hx) if self.cell == "lstm" else (hx,)
        for part in given:
            if tuple(part.shape) != shape:
                raise RuntimeError(f"Expected hidden size {shape}, got {list(part.shape)}")
        return given

    def _packed(self, x_BTI: Tensor, hx: Any, lengths_B: Tensor) -> tuple[Tensor, Any]:
        packed = nn.utils.rnn.pack_padded_sequence(
            x_BTI, lengths_B.cpu(), batch_first=True, enforce_sorted=False
        )
        packed_y, after = self.plain()(packed, hx)
        steps = x_BTI.shape[1]
        y_BTH, _ = nn.utils.rnn.pad_packed_sequence(packed_y, True, total_length=steps)
        return y_BTH, after

    def _layers(
        self,
        x_BTI: Tensor,
        states: tuple[Tensor, ...],
        lengths: Tensor | None,
        reset_BT: Tensor | None,
        backend: Any,
    ) -> tuple[Tensor, Any]:
        directions = 2 if self.bidirectional else 1
        after: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x_BTI = F.dropout(x_BTI, self.dropout, self.training)
            outputs = []
            for direction in range(directions):
                index = layer * directions + direction
                before = tuple(part[index] for part in states)
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                options = {
                    "lengths": lengths,
                    "reset_mask": resets_against_time(reset_BT) if direction else reset_BT,
                    "reverse": bool(direction),
                    "backend": backend,
                    "precision": self.precision,
                }
                y_BTH, last = self._scan(x_BTI, before, suffix, options)
                outputs.append(y_BTH)
                after.append(last)
            x_BTI = torch.cat(outputs, -1) if directions == 2 else outputs[0]
        stacked = tuple(torch.stack(parts) for parts in zip(*after, strict=True))
        return x_BTI, stacked if self.cell == "lstm" else stacked[0]

    @abstractmethod
    def _scan(
        self, x_BTI: Tensor, before: tuple[Tensor, ...], suffix: str, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One layer in one direction: y and the state after it."""

    def _parts(self, suffix: str) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """W, U and the two biases of a layer and direction."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(getattr(self, name + suffix, None) for name in names)  # type: ignore[return-value]

    def extra_repr(self) -> str:
        """As ``torch.nn`` prints it, with what is beyond."""
        more = f", num_heads={self.num_heads}" if self.num_heads > 1 else ""
        return f"{self._plain[0].extra_repr()}{more}, backend={self.backend}"


def _remove_recurrent_bias(layer: nn.RNNBase) -> None:
    """Make b' a constant zero: neither a parameter nor part of the saved state."""
    for name, bias in list(layer.named_parameters()):
        if name.startswith("bias_hh"):
            delattr(layer, name)
            layer.register_buffer(name, torch.zeros_like(bias, requires_grad=False), False)
            setattr(layer, name, getattr(layer, name))  # tells torch.nn's list of weights


def _autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return one if other is None or one is None else one + other


class FusedRNN(_Fused):
    """``nn.RNN`` (Elman 1990): h_t = f(W x_t + b + U h_{t-1} + b'), f being tanh or relu.

    Args:
        *args, **kwargs: as ``nn.RNN`` takes them.
        num_heads: N block-diagonal heads; ``weight_hh`` is then (H, H / N).
        recurrent_bias: whether b' is there to be trained; without it a layer has the one bias of
            the textbook, and b' is a constant zero.
        backend: ``auto``, ``reference``, ``torch``, ``triton``.
        precision: of float32 products in ``triton``: ``tf32x3``, ``tf32``, ``ieee``.
    """

    cell: Cell = "rnn"
    namesake = nn.RNN

    @property
    def nonlinearity(self) -> str:
        """``tanh`` or ``relu``."""
        return "relu" if self.mode == "RNN_RELU" else "tanh"

    def _scan(
        self, x_BTI: Tensor, before: tuple[Tensor, ...], suffix: str, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        w, u, b, b_hh = self._parts(suffix)
        gates = F.linear(x_BTI, w, _sum(b, b_hh))
        y, h = rnn_scan(gates, u, before[0], nonlinearity=self.nonlinearity, **options)
        return y, (h,)


class FusedLSTM(_Fused):
    """``nn.LSTM`` (Hochreiter and Schmidhuber 1997). Arguments as in :class:`FusedRNN`."""

    cell: Cell = "lstm"
    namesake = nn.LSTM

    def _scan(
        self, x_BTI: Tensor, before: tuple[Tensor, ...], suffix: str, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        w, u, b, b_hh = self._parts(suffix)
        gates = F.linear(x_BTI, w, _sum(b, b_hh))
        return lstm_scan(gates, u, (before[0], before[1]), **options)


class FusedGRU(_Fused):
    """``nn.GRU`` (Cho et al. 2014). Arguments as in :class:`FusedRNN`."""

    cell: Cell = "gru"
    namesake = nn.GRU

    def _scan(
        self, x_BTI: Tensor, before: tuple[Tensor, ...], suffix: str, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        w, u, b, b_hh = self._parts(suffix)
        bias, bias_n = b, None
        if b is not None and b_hh is not None:
            outer = 2 * self.hidden_size
            bias, bias_n = b + F.pad(b_hh[:outer], (0, self.hidden_size)), b_hh[outer:]
        gates = F.linear(x_BTI, w, bias)
        y, h = gru_scan(gates, u, before[0], bias_n=bias_n, **options)
        return y, (h,)
