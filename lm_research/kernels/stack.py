"""A stack of recurrent layers: its walk over layers and directions, which all cells share.

Shapes: B batch, T time, I input size, H hidden size, N heads, R directions, L layers x directions.
"""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from lm_research.kernels import dispatch
from lm_research.kernels.checks import (
    autocast,
    check_device,
    check_masks,
    check_name,
    check_type,
    checked_lengths,
    real_resets,
    real_steps,
    resets_against_time,
)
from lm_research.kernels.dispatch import Backend, Choice
from lm_research.kernels.namesake import Namesake
from lm_research.kernels.obstacles import Precision
from lm_research.kernels.one_step import is_one_step, one_step
from lm_research.kernels.padded import uneven
from lm_research.kernels.parameters import check_probabilities
from lm_research.kernels.table_rows import Inputs, TableRows

PROJECTED = (
    "proj_size is served by backend='torch' alone, with one head, without reset_mask, "
    "state_dropout and zoneout"
)


class RecurrentStack(Namesake, ABC):
    """A ``torch.nn`` layer's parameters, and the backend that a call is served by."""

    def __init__(
        self,
        *args: Any,
        num_heads: int = 1,
        recurrent_bias: bool = True,
        state_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        recompute: bool = False,
        backend: Backend = "auto",
        precision: Precision = "tf32x3",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, num_heads=num_heads, recurrent_bias=recurrent_bias, **kwargs)
        check_name("backend", backend, get_args(Backend))
        check_name("precision", precision, get_args(Precision))
        self.backend, self.precision = backend, precision
        self.state_dropout, self.recompute = state_dropout, recompute
        pair = tuple(zoneout) if isinstance(zoneout, (tuple, list)) else (zoneout, zoneout)
        self.zoneout = cast(tuple[float, float], pair)
        check_probabilities(state_dropout, self.zoneout)
        if self.proj_size and (self._beyond() or backend not in ("auto", "torch")):
            raise ValueError(PROJECTED)

    def _beyond(self) -> bool:
        """Whether a call without resets asks for what ``torch.nn`` does not know."""
        dropped = self.training and self.state_dropout > 0
        return self.num_heads > 1 or dropped or any(self.zoneout)

    def choice(
        self, x: Tensor, beyond: bool = False, packed: bool = False, table_rows: bool = False
    ) -> Choice:
        """The backend for input ``x``, or a vector for one of no certain size.

        Args:
            x: the input; of a packed one its data.
            beyond: with resets.
            packed: whether it is.
            table_rows: whether they are those of a short table (:class:`TableRows`).
        """
        beyond = beyond or self._beyond()
        if self.proj_size and beyond:
            raise RuntimeError(PROJECTED)
        if self.backend == "torch" and not beyond:
            return dispatch.BY_NAME
        # torch.nn alone takes these
        plain = packed or x.dim() not in (1, 3) or x.numel() == 0 < x.dim() - 1
        if x.is_cpu and self.backend == "auto" and not beyond:
            if plain or self.proj_size:
                return dispatch.ALONE
            if self.cell == "lstm" and not table_rows:  # whatever its type and size
                return dispatch.ONE_OPERATOR
            dtype = torch.get_autocast_dtype("cpu") if autocast(x) else x.dtype
            rows, steps = (0, 1) if self.batch_first else (1, 0)
            size = (x.shape[rows], x.shape[steps]) if x.dim() == 3 else None
            training = torch.is_grad_enabled()
            return dispatch.on_cpu(self.cell, dtype, self.hidden_size, size, training, table_rows)
        untimed = plain or self.bidirectional or self.recompute or self.proj_size > 0
        sizes = {}
        if x.dim() == 3:
            names = ("batch", "steps") if self.batch_first else ("steps", "batch")
            sizes = dict(zip(names, x.shape[:2], strict=True))
        return dispatch.explain(
            self.cell,
            device=x.device,
            dtype=torch.get_autocast_dtype(x.device.type) if autocast(x) else x.dtype,
            hidden_size=self.hidden_size,
            num_heads=self.num_heads,
            num_layers=self.num_layers,
            **sizes,
            training=torch.is_grad_enabled(),
            timed=not untimed,
            beyond_torch=beyond,
            table_rows=table_rows,
            masks=any(self.zoneout) or (self.training and self.state_dropout > 0),
            backend=self.backend,
            precision=self.precision,
        )

    def forward(
        self,
        input: Inputs | PackedSequence,
        hx: Any = None,
        *,
        lengths: Tensor | None = None,
        reset_mask: Tensor | None = None,
    ) -> Any:
        """Run the layers.

        Args:
            input: (T, B, I), (B, T, I) if ``batch_first``, or (T, I); packed for ``torch`` alone;
                or what is still to be looked up in a table, its ids (T, B) or (B, T).
            hx: the state before the first step, as ``torch.nn`` has it; zeros if not given.
            lengths: (B), int64, at least 1 and at most T: real steps of every row. Outputs beyond
                are zero, the returned state is the one after the last real step.
            reset_mask: laid out as the input, (T, B) or (B, T), bool: a new document begins at
                step t, so nothing passes from before it (nor, in reverse, from it to before).

        Raises:
            RuntimeError: sizes, types or devices do not fit.
        """
        if isinstance(input, TableRows):
            return self._of_rows(input, hx, lengths, reset_mask)
        packed = isinstance(input, PackedSequence)
        x = cast(Tensor, input.data if packed else input)
        by_name = self.backend.startswith(("reference", "triton", "cpu"))
        if by_name:
            self._check_input(x, hx)
        choice = self.choice(x, reset_mask is not None, packed)
        if choice.backend == "torch" and lengths is None:
            if not packed and is_one_step(self, x):
                self._check_input(x, hx)
                x_BTI = x if self.batch_first else x.transpose(0, 1)
                return one_step(self, x, self._states(x_BTI, hx))
            return self.plain().forward(input, hx)  # checks its input itself
        if not by_name:
            self._check_input(x, hx)
        if packed or x.dim() != 3 or x.numel() == 0:
            raise RuntimeError(
                "packed, unbatched and empty inputs are served by backend='torch' without lengths, "
                "reset_mask, num_heads, state_dropout and zoneout; give a batch, and lengths in "
                "place of packing"
            )
        return self._walk(x, hx, lengths, reset_mask, choice)

    def _of_rows(
        self, rows: TableRows, hx: Any, lengths: Tensor | None, reset_mask: Tensor | None
    ) -> Any:
        """Where a compiled scan takes W x by the table's rows; elsewhere they are looked up."""
        x = rows.stand_in()
        choice = self.choice(x, reset_mask is not None, table_rows=True)
        if choice.backend != "cpu" or not rows.are_few(self.cell):
            return self(rows.vectors(), hx, lengths=lengths, reset_mask=reset_mask)
        self._check_input(x, hx)
        return self._walk(rows, hx, lengths, reset_mask, choice)

    def _walk(
        self,
        x: Inputs,
        hx: Any,
        lengths: Tensor | None,
        reset_mask: Tensor | None,
        choice: Choice,
    ) -> Any:
        """By the backend that was chosen; ``torch`` serves rows of unequal length here."""
        x_BTI = x if self.batch_first else x.transpose(0, 1)
        states = self._states(x_BTI, hx)
        if reset_mask is not None and not self.batch_first:
            reset_mask = reset_mask.t()
        like = x_BTI if isinstance(x_BTI, Tensor) else x_BTI.ids_BT
        if lengths is not None:
            lengths = checked_lengths(lengths, *like.shape[:2])
            if choice.backend != "torch" or like.is_cpu:  # packing on a GPU wants them on the CPU
                lengths = lengths.to(like.device)
        check_masks(like, None, reset_mask)
        if choice.backend == "torch":
            given = cast(Tensor, x_BTI), hx, states, cast(Tensor, lengths)
            y_BTH, after = uneven(self.plain(), *given)
        elif choice.form == "wavefront":
            y_BTH, after = self._wavefront(cast(Tensor, x_BTI), states, lengths, reset_mask)
        else:
            scan = f"triton:{choice.form}" if choice.backend == "triton" else choice.backend
            y_BTH, after = self._layers(x_BTI, states, lengths, reset_mask, scan)
        return (y_BTH if self.batch_first else y_BTH.transpose(0, 1).contiguous()), after

    def _check_input(self, x: Tensor, hx: Any) -> None:
        """Types and devices, in the words of ``torch.nn``."""
        states = () if hx is None else (hx,) if isinstance(hx, Tensor) else tuple(hx)
        weight = cast(Tensor, self.weight_ih_l0)
        check_device("parameter", weight, x)
        if x.dtype != weight.dtype and not autocast(x):
            raise ValueError(
                f"RNN input dtype ({x.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: model.to({x.dtype})"
            )
        for state in states:
            check_device("hidden", state, x)
            check_type("hidden", state, x)

    def _states(self, x_BTI: Inputs, hx: Any) -> tuple[Tensor, ...]:
        """The initial states, checked as ``torch.nn`` checks them, each (L, B, H)."""
        x_BTI = x_BTI if isinstance(x_BTI, Tensor) else x_BTI.stand_in()
        if x_BTI.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, "
                f"got {x_BTI.shape[-1]}"
            )
        layers = self.num_layers * (2 if self.bidirectional else 1)
        count = 2 if self.mode == "LSTM" else 1
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)[:count]
        shapes = [(layers, x_BTI.shape[0], size) for size in sizes]
        if hx is None:
            return tuple(map(x_BTI.new_zeros, shapes))
        given = tuple(hx) if self.mode == "LSTM" else (hx,)
        if len(given) != count:
            raise RuntimeError(f"Expected {count} hidden states, h and c, got {len(given)}")
        for part, shape in zip(given, shapes, strict=True):
            if tuple(part.shape) != shape:
                raise RuntimeError(f"Expected hidden size {shape}, got {list(part.shape)}")
        return given

    def _layers(
        self,
        x_BTI: Inputs,
        states: tuple[Tensor, ...],
        lengths: Tensor | None,
        reset_BT: Tensor | None,
        backend: Any,
    ) -> tuple[Tensor, Any]:
        count = 2 if self.bidirectional else 1
        x_BTI = _without_padding(x_BTI, lengths)
        common: dict[str, Any] = {
            "lengths": lengths,
            "reset_mask": self._resets(reset_BT, lengths),
            "bidirectional": self.bidirectional,
            "recompute": self.recompute,
            "backend": backend,
            "precision": self.precision,
        }
        after: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x_BTI = F.dropout(cast(Tensor, x_BTI), self.dropout, self.training)
            own = slice(layer * count, (layer + 1) * count)
            before = tuple(part[own].transpose(0, 1).flatten(1) for part in states)
            options = {**common, **self._masks(x_BTI, before[0])}
            x_BTI, last = self._run(x_BTI, before, layer, options)
            after.append(tuple(p.unflatten(1, (count, -1)).transpose(0, 1) for p in last))
        parts = zip(*after, strict=True)
        joined = tuple(p[0].contiguous() if len(p) == 1 else torch.cat(p) for p in parts)
        return cast(Tensor, x_BTI), joined if self.mode == "LSTM" else joined[0]

    def _wavefront(
        self,
        x_BTI: Tensor,
        states: tuple[Tensor, ...],
        lengths: Tensor | None,
        reset_BT: Tensor | None,
    ) -> tuple[Tensor, Any]:
        """All layers in one launch."""
        from lm_research.kernels.wavefront import wavefront

        w, u, bias, bias_n = zip(*map(self._weights, range(self.num_layers)), strict=True)
        y_BTH, after = wavefront(
            self.cell,
            cast(Tensor, _without_padding(x_BTI, lengths)),
            w,
            u,
            bias,
            bias_n,
            states,
            dropout=self.dropout if self.training else 0.0,
            lengths=lengths,
            reset_mask=reset_BT,
            relu=self.mode == "RNN_RELU",
        )
        return y_BTH, after if self.mode == "LSTM" else after[0]

    def _resets(self, reset_BT: Tensor | None, lengths_B: Tensor | None) -> Tensor | None:
        """(2, B, T) for two directions: each its own."""
        reset_BT = real_resets(reset_BT, lengths_B)
        back_BT = resets_against_time(reset_BT)
        if reset_BT is None or back_BT is None or not self.bidirectional:
            return reset_BT
        return torch.stack([reset_BT, back_BT])

    def _masks(self, x_BTI: Inputs, h0_BH: Tensor) -> dict[str, Any]:
        """State dropout's and zoneout's part of a layer's options, drawn anew."""
        masks: dict[str, Any] = {}
        if self.training and self.state_dropout:
            masks["dropout_mask"] = F.dropout(torch.ones_like(h0_BH), self.state_dropout)
        shape = (*x_BTI.shape[:2], h0_BH.shape[1])
        for name, p in zip(("zoneout_h", "zoneout_c"), self.zoneout, strict=True):
            if p and (name == "zoneout_h" or self.mode == "LSTM"):
                drawn = torch.empty(shape, dtype=torch.bool, device=x_BTI.device)
                masks[name] = drawn.bernoulli_(p) if self.training else p
        return masks

    def _run(
        self, x_BTI: Inputs, before: tuple[Tensor, ...], layer: int, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A layer; to recompute, its gates W x are made again from x when the gradient needs them.

        What the scan itself gave is kept, so it does not run twice.
        """
        again = (
            self.recompute and not self.mode.startswith("RNN") and options["backend"] != "reference"
        )
        if not (again and torch.is_grad_enabled()):
            return self._scan(x_BTI, before, layer, options)
        from lm_research.kernels import ops

        keep = partial(create_selective_checkpoint_contexts, [ops.operator(self.cell)])
        return checkpoint(
            self._scan, x_BTI, before, layer, options, use_reentrant=False, context_fn=keep
        )

    @abstractmethod
    def _scan(
        self, x_BTI: Inputs, before: tuple[Tensor, ...], layer: int, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A layer in all its directions, states (B, R x H): y and the state after it."""

    def extra_repr(self) -> str:
        """As ``torch.nn`` prints it, with what is beyond."""
        usual = {"num_heads": 1, "state_dropout": 0, "zoneout": (0, 0), "recompute": False}
        more = [f", {k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v]
        return f"{self._plain[0].extra_repr()}{''.join(more)}, backend={self.backend}"


def _without_padding(x_BTI: Inputs, lengths_B: Tensor | None) -> Inputs:
    """Zeros beyond a row's length: W's gradient is theirs times 0, which of NaN would be NaN."""
    if lengths_B is None or not isinstance(x_BTI, Tensor):
        return x_BTI
    return x_BTI.masked_fill(~real_steps(lengths_B, x_BTI.shape[1])[..., None], 0)
