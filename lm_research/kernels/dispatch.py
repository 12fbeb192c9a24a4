"""Which backend serves a call, and why.

``reference`` is readable PyTorch, ``torch`` is the path of ``torch.nn`` itself (oneDNN, cuDNN),
``triton`` is one fused kernel a scan, ``cpu`` a scan that numba compiles. Where ``torch`` can serve
the call, ``auto`` takes a fused kernel if it was faster when both were timed on this very device
(:mod:`.measured`); nothing has been timed on a GPU yet. On a CPU it goes by cell and size
(:func:`on_cpu`). Where ``torch`` cannot serve it, it takes a fused kernel or scan if one fits.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor

from lm_research.kernels import measured
from lm_research.kernels.checks import check_name
from lm_research.kernels.limits import largest_head
from lm_research.kernels.measured import Kind, Measured, Pair, around
from lm_research.kernels.obstacles import (
    KINDS,
    Cell,
    Precision,
    Wanted,
    cpu_obstacle,
    form_for,
    interpreted,
    target_of,
)
from lm_research.kernels.tracing import constant
from lm_research.kernels.walk import Walk

Backend = Literal[
    "auto",
    "reference",
    "torch",
    "triton",
    "triton:single",
    "triton:registers",
    "triton:spread",
    "triton:polled",
    "triton:wavefront",
    "cpu",
]
ScanBackend = Literal[
    "auto",
    "reference",
    "triton",
    "triton:single",
    "triton:registers",
    "triton:spread",
    "triton:polled",
    "cpu",
]
BACKENDS: tuple[str, ...] = get_args(Backend)
COUNTS: dict[Cell, int] = {
    "rnn": 1,
    "lstm": 4,
    "gru": 3,
    "layer_norm_rnn": 1,
    "layer_norm_lstm": 4,
    "layer_norm_gru": 3,
}
"""Gates of a cell."""
FORMS = ("single", "registers", "spread", "polled", "wavefront")
"""Forms of fused kernels: one program a batch tile, head and direction (``single``), the same with
U in registers (``registers``), several programs that exchange states (``spread``), these with U in
registers and states that are polled (``polled``), and all layers at once (``wavefront``)."""
GLUON = ("registers", "polled")
"""Forms that know neither state dropout, zoneout nor recompute, and read a first step ahead."""
TIMED = {"tf32x3": "fp32", "tf32": "tf32"}
"""What a fused kernel's float32 products are called in the measured times; ``ieee`` has none."""
MARGIN = 1.02
"""So many times faster than torch.nn has a fused kernel to be: what a timing is off by."""


@dataclass(frozen=True)
class Choice:
    """A backend and the reason for it; of a fused kernel, its form (one of :data:`FORMS`)."""

    backend: Literal["reference", "torch", "triton", "cpu"]
    reason: str
    form: str | None = None


FEWEST_STEPS = {"both": 16, "forward": 32, "forward of one row": 64}
"""Below so many a compiled scan on a CPU is not worth packing its weight for."""
STEPS_OF_ONE_ROW = 8
"""Forward, of one row, below H / 8: a step reads the whole weight, packing costs several steps."""
MANY_STEPS = 1 << 20
BY_NAME = Choice("torch", "asked for by name")
ALONE = Choice("torch", "torch.nn alone takes proj_size, and packed, unbatched and empty inputs")
ONE_OPERATOR = Choice(
    "torch",
    "torch.nn serves it, and no compiled scan: torch.nn's LSTM is one operator on a CPU, slower "
    "only where inputs are rows of a short table",
)
UNTIMED = Choice(
    "torch",
    "torch.nn serves it; two directions, recompute, proj_size, inputs without a batch: not timed",
)


def explain(
    cell: Cell,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    hidden_size: int,
    num_heads: int = 1,
    num_layers: int = 1,
    batch: int = 16,
    steps: int = 512,
    training: bool = True,
    timed: bool = True,
    beyond_torch: bool = False,
    table_rows: bool = False,
    masks: bool = False,
    backend: Backend = "auto",
    precision: Precision = "tf32x3",
) -> Choice:
    """Which backend would serve a layer, and why.

    Args:
        cell: ``rnn``, ``lstm``, ``gru``, or one of these with ``layer_norm_`` in front.
        device: where the input is.
        dtype: of the input.
        hidden_size: H of all heads together.
        num_heads: heads of the recurrent weight.
        num_layers: layers of the stack.
        batch: rows of the input. Timings depend on it, on ``steps`` and on ``training``.
        steps: of the input.
        training: whether gradients will be asked for.
        timed: False for a layer of a kind that is not among the timed ones: of two directions,
            with a projection, or one that recomputes its gates. Its layers are no wavefront.
        beyond_torch: whether the call asks for what ``torch.nn`` does not know: resets, heads,
            state dropout, zoneout.
        table_rows: whether inputs are rows of a short table (:class:`TableRows`).
        masks: whether state dropout or zoneout is among that.
        backend: what was asked for.
        precision: of float32 products in a fused kernel.

    Raises:
        RuntimeError: ``backend`` was asked for by name and cannot serve the call.
        ValueError: it is no backend's name.
    """
    check_name("backend", backend, BACKENDS)
    beyond = beyond_torch or num_heads > 1 or cell.startswith("layer_norm")
    if backend == "auto" and not beyond:
        where = device if isinstance(device, torch.device) else torch.device(device)
        if where.type == "cpu":
            return on_cpu(cell, dtype, hidden_size, (batch, steps), training, table_rows)
        if not timed:
            return UNTIMED
        mode = "both" if training else "forward"
        asked = (where, cell, mode, num_layers, hidden_size, dtype, precision, _tf32())
        batches, lengths = _timed_sizes(asked)
        steps = min(steps, lengths[-1]) if lengths else steps
        return _faster(asked, around(batches, batch), around(lengths, steps))
    if backend == "torch" and beyond:
        raise RuntimeError(
            "backend='torch' knows neither num_heads, reset_mask, state_dropout, zoneout nor layer "
            "normalization; use 'auto' or 'reference'"
        )
    if backend in ("reference", "torch"):
        return Choice(backend, "asked for by name")
    head, layers = hidden_size // num_heads, num_layers if timed else 1
    where = torch.device(device)
    wanted = (cell, where, dtype, hidden_size, head, precision, masks, layers)
    if backend == "cpu" or (where.type == "cpu" and backend == "auto" and not interpreted()):
        obstacle = cpu_obstacle(Wanted(*wanted))
        if obstacle and backend == "cpu":
            raise RuntimeError(f"backend='cpu' cannot serve this call: {obstacle}; use 'auto'")
        if not obstacle:
            told = "torch.nn cannot serve it; a compiled scan walks over all steps"
            return Choice("cpu", "asked for by name" if backend == "cpu" else told, "cpu")
    form, obstacle = _form(wanted, backend.partition(":")[2])
    if backend != "auto":
        if obstacle:
            raise RuntimeError(
                f"backend='{backend}' cannot serve this call: {obstacle}; use 'auto'"
            )
        return Choice("triton", "asked for by name", form)
    if obstacle:
        return Choice("reference", f"torch.nn cannot serve it, and no fused kernel: {obstacle}")
    return Choice("triton", "torch.nn cannot serve it; one fused scan walks over all steps", form)


def _tf32() -> bool:
    """Whether torch.nn takes products of float32 in TF32 on NVIDIA's chips."""
    return torch.backends.cudnn.rnn.fp32_precision == "tf32"  # type: ignore[attr-defined]


class _Asked(NamedTuple):
    """What is known of a layer that torch.nn can serve, too, beside its batch and steps."""

    device: torch.device
    cell: Cell
    mode: str
    layers: int
    hidden: int
    dtype: torch.dtype
    precision: Precision
    tf32: bool

    def kinds(self) -> tuple[Kind, Kind]:
        """What the fused kernel's times, and torch.nn's, are found under."""
        half = KINDS.get(self.dtype)
        ours = half or TIMED.get(self.precision, self.precision)
        theirs = half or ("tf32" if self.tf32 else "fp32")
        fused, plain = (Kind(self.cell, t, self.mode, self.layers, 1) for t in (ours, theirs))
        return fused, plain


# torch.compile takes the next three for constants, so that they may read files and remember; what
# lies between them in `explain` is traced, and guards go by the timed sizes around the input's. It
# hands plain tuples over whole, but none with names.


@constant
def _form(wanted: tuple, named: str) -> tuple[str | None, str | None]:
    """:func:`form_for`; every call of a layer asks for it twice."""
    return _known_form(wanted, named, interpreted())


@constant
def _timed_sizes(asked: tuple) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Batches and numbers of steps, ascending; none where no fused kernel is to be had."""
    return _timed(_Asked(*asked))[1:]


@constant
def _faster(asked: tuple, batch: Pair | None, steps: Pair | None) -> Choice:
    """``torch`` or ``triton``, whichever was faster on that device at sizes around the input's."""
    return _fastest(_Asked(*asked), batch, steps)


def on_cpu(
    cell: Cell,
    dtype: torch.dtype,
    hidden: int,
    size: tuple[int, int] | None,
    training: bool,
    table_rows: bool = False,
) -> Choice:
    """What serves a layer on a CPU that ``torch.nn`` can serve, too; calls may be short there.

    Compiled scans of the GRU and of the Elman network are slower than torch.nn's for few steps,
    the more so without gradients and with one row, which are left to it; torch.nn's LSTM is one
    operator of oneDNN, which a compiled scan is faster than if it takes W x by the rows of a table.

    Args:
        size: rows and steps of the input; None: many of both.
        training: whether gradients will be asked for.
        table_rows: whether inputs are rows of a short table.
    """
    batch, steps = size or (2, MANY_STEPS)
    alone = batch == 1 and not training
    mode = "both" if training else "forward of one row" if alone else "forward"
    few = steps < FEWEST_STEPS[mode] or (alone and steps < hidden // STEPS_OF_ONE_ROW)
    short = True if few else False  # noqa: SIM210  # `bool` would be a symbol to torch.compile
    return _on_cpu(cell, dtype, hidden, short, bool(table_rows))


@constant
def _on_cpu(cell: Cell, dtype: torch.dtype, hidden: int, short: bool, table_rows: bool) -> Choice:
    return _compiled_or_torch(cell, dtype, hidden, short, table_rows)


@lru_cache(256)
def _compiled_or_torch(
    cell: Cell, dtype: torch.dtype, hidden: int, short: bool, table_rows: bool
) -> Choice:
    if cell == "lstm" and not table_rows:
        return ONE_OPERATOR
    obstacle = cpu_obstacle(Wanted(cell, torch.device("cpu"), dtype, hidden, hidden, "ieee"))
    if short and not obstacle:
        obstacle = "so few steps are not worth packing the weight for"
    if obstacle:
        return Choice("torch", f"torch.nn serves it, and no compiled scan: {obstacle}")
    theirs = "operator where inputs are rows of a short table" if cell == "lstm" else "steps"
    return Choice("cpu", f"a compiled scan is faster than torch.nn's {theirs}", "cpu")


@lru_cache(4096)
def _known_form(wanted: tuple, named: str, _: bool) -> tuple[str | None, str | None]:
    return form_for(Wanted(*wanted), named)


@lru_cache(4096)
def _timed(asked: _Asked) -> tuple[str | None, tuple[int, ...], tuple[int, ...]]:
    """Why torch.nn is not measured against a fused kernel, or None; batches; steps."""
    where, size = asked.device, asked.hidden
    wanted = Wanted(asked.cell, where, asked.dtype, size, size, asked.precision)
    obstacle = form_for(wanted)[1]
    if obstacle or interpreted():
        return f"no fused kernel: {obstacle or 'the interpreter is for tests'}", (), ()
    found = measured.of_device(device_name(where))
    if found is None:
        return f"no timing on {device_name(where)}", (), ()
    _, batches, lengths = found.axes(*asked.kinds())
    return None, batches, lengths


@lru_cache(4096)
def _fastest(asked: _Asked, batch: Pair | None, steps: Pair | None) -> Choice:
    obstacle = _timed(asked)[0]
    if obstacle:
        return Choice("torch", f"torch.nn serves it; {obstacle}")
    name = device_name(asked.device)
    found, kinds = cast(Measured, measured.of_device(name)), asked.kinds()
    hidden = around(found.axes(*kinds)[0], asked.hidden)
    # a kernel for sizes that are no multiples of 16 is another one
    if hidden and hidden[0] < hidden[1] and asked.hidden % 16:
        hidden = None
    ratio = found.ratio(*kinds, hidden, batch, steps) if hidden and batch and steps else None
    where = f"on {name}, {found.date} ({found.name})"
    if ratio is None:
        size = f"H={asked.hidden} with such a batch and so many steps"
        told = f"{asked.cell} in {kinds[0].dtype}, {asked.mode}, {asked.layers} layers, {size}"
        return Choice("torch", f"torch.nn serves it; {told}: not timed {where}")
    said = (
        f"the fused kernel ({ratio.form}) is timed {ratio.value:.2f} times as fast as torch.nn at "
        f"{ratio.at} {where}"
    )
    if ratio.value < MARGIN:
        return Choice("torch", f"torch.nn serves it; {said}")
    return Choice("triton", said, ratio.form)


def device_name(device: torch.device) -> str:
    """What a device's times are filed under."""
    return torch.cuda.get_device_name(device)


def scan_backend(
    cell: Cell,
    gates: Tensor,
    weight: Tensor,
    backend: ScanBackend,
    precision: Precision,
    masks: bool = False,
    directions: int = 1,
) -> Choice:
    """:func:`explain` for a scan over given gates, which ``torch.nn`` has no function for."""
    hidden = gates.shape[-1] // COUNTS[cell] // directions
    return explain(
        cell,
        device=gates.device,
        dtype=gates.dtype,
        hidden_size=hidden,
        num_heads=hidden // weight.shape[1],
        beyond_torch=True,
        masks=masks,
        backend=backend,
        precision=precision,
    )


def can_recompute(
    cell: Cell, gates: Tensor, weight: Tensor, precision: Precision, masks: bool
) -> bool:
    """Whether U fits straight and turned, as recomputing gates in the backward scan needs it."""
    if not gates.is_cuda or interpreted():
        return True
    size, kind = weight.shape[1], KINDS.get(gates.dtype, precision)
    target = target_of(gates.device)
    most = largest_head(cell, kind, target, size % 16 == 0, masks=masks, recompute=True)
    return size <= most


def in_form(walk: Walk, form: str | None) -> Walk:
    """``walk`` by kernels of ``form``.

    Raises:
        RuntimeError: that form does not know what the walk asks for.
    """
    zoneout = walk.zoneout_h is not None or walk.zoneout_c is not None
    if form in GLUON and (zoneout or walk.dropout_BH is not None or walk.recompute):
        raise RuntimeError(
            "kernels with U in registers know neither state dropout, zoneout nor recompute: use "
            "backend='triton'"
        )
    return replace(walk, form=form or "single")
