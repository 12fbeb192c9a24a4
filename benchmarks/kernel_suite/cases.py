"""One comparison of a fused scan with the float64 reference: outputs, states, every gradient.

Shapes: B batch, T time, G gates x hidden size, H hidden size, D head size.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kernel_suite import stacks
from lm_research.kernels import gru_scan, lstm_scan, rnn_scan
from lm_research.kernels.checks import real_resets
from lm_research.kernels.reference import recurrent

GATES = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LIMITS = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 2e-2}
"""Largest relative error of a tensor, |found - expected| / |expected| over all its elements."""

MARGINS = {"fp32": 1e-3, "fp16": 0.05, "bf16": 0.25}
"""ReLU has no derivative at 0, and rounding decides on which side of it a value falls: so far from
it are its arguments kept, several times what rounding moves them."""

OUTPUTS = {"rnn": ("y", "h"), "lstm": ("y", "h", "c"), "gru": ("y", "h")}
INPUTS = {
    "rnn": ("gates", "weight", "h0"),
    "lstm": ("gates", "weight", "h0", "c0"),
    "gru": ("gates", "weight", "h0", "bias_n"),
}


@dataclass(frozen=True)
class Case:
    """Shape and options; ``resets``: none, some (3 in 10 steps) or each (row b at step b mod T).

    Several ``layers`` are a wavefront. ``form`` of the kernels: dispatch chooses if empty.
    """

    cell: str
    dtype: str
    batch: int
    steps: int
    hidden: int
    heads: int = 1
    reverse: bool = False
    lengths: bool = False
    resets: str = "none"
    layers: int = 1
    form: str = ""

    @property
    def backend(self) -> str:
        return f"triton:{self.form}" if self.form else "triton"

    @property
    def kind(self) -> str:
        """The cell without its nonlinearity."""
        return self.cell.removesuffix("_relu")

    @property
    def names(self) -> list[str]:
        given = INPUTS if self.layers == 1 else stacks.INPUTS
        return [*OUTPUTS[self.kind], *(f"d{name}" for name in given[self.kind])]

    @property
    def label(self) -> str:
        more = [f"N={self.heads}"] if self.heads > 1 else []
        more += [f"L={self.layers}"] if self.layers > 1 else []
        more += [self.form] if self.form else []
        more += ["reverse"] if self.reverse else []
        more += ["lengths"] if self.lengths else []
        more += [f"resets: {self.resets}"] if self.resets != "none" else []
        return " ".join([f"B={self.batch} T={self.steps} H={self.hidden}", *more])


def inputs_of(case: Case, device: str, seed: int = 0) -> tuple[list[Tensor], dict]:
    """Tensors in the case's type, drawn on the CPU so that they are the same on any device."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return drawn.to(DTYPES[case.dtype]).to(device)

    size, rows = case.hidden // case.heads, GATES[case.cell] * case.hidden
    if case.layers > 1:
        tensors = stacks.stacked_inputs(case, draw, GATES[case.cell])
        return tensors, _placed(options_of(case, generator), device)
    tensors = [draw(case.batch, case.steps, rows), draw(rows, size) / size**0.5]
    tensors.append(draw(case.batch, case.hidden))
    if case.kind == "lstm":
        tensors.append(draw(case.batch, case.hidden))
    if case.kind == "gru":
        tensors.append(draw(case.hidden))
    options = _placed(options_of(case, generator), device)
    if case.cell == "rnn_relu":
        tensors[0] = off_the_kink(tensors, options, MARGINS[case.dtype])
    return tensors, options


def _placed(options: dict, device: str) -> dict:
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in options.items()}


def off_the_kink(tensors: list[Tensor], options: dict, margin: float) -> Tensor:
    """Gates moved just so far that a_t + U h_{t-1} is nowhere near 0."""
    gates, weight, h = (tensors[0].clone(), *(t.double() for t in tensors[1:3]))
    lengths = options.get("lengths")
    reset = real_resets(options.get("reset_mask"), lengths)
    steps = range(gates.shape[1])
    for t in reversed(steps) if options["reverse"] else steps:
        seen = h if reset is None else h.masked_fill(reset[:, t, None], 0)
        product = recurrent(seen, weight)[:, 0]
        a = gates[:, t].double() + product
        moved = torch.where(a < 0, -1.0, 1.0) * a.abs().clamp(min=margin) - product
        gates[:, t] = torch.where(a.abs() < margin, moved.to(gates.dtype), gates[:, t])
        new = (gates[:, t].double() + product).relu()
        h = new if lengths is None else torch.where((t < lengths)[:, None], new, seen)
    return gates


def options_of(case: Case, generator: torch.Generator) -> dict:
    """Lengths from 1 to T, both among them; resets as the case says."""
    options: dict = {"reverse": case.reverse}
    if case.lengths:
        lengths = torch.randint(1, case.steps + 1, (case.batch,), generator=generator)
        lengths[0], lengths[-1] = case.steps, 1
        options["lengths"] = lengths
    if case.resets == "some":
        options["reset_mask"] = torch.rand(case.batch, case.steps, generator=generator) < 0.3
    if case.resets == "each":
        rows, steps = torch.arange(case.batch)[:, None], torch.arange(case.steps)
        options["reset_mask"] = rows % case.steps == steps
    return options


def scan(case: Case, tensors: list[Tensor], options: dict, backend: str) -> list[Tensor]:
    """y and the last state's parts."""
    if case.layers > 1:
        return stacks.stacked_scan(case, tensors, options, backend)
    gates, weight, h0, *rest = tensors
    options = {**options, "backend": backend}
    if case.kind == "lstm":
        y, state = lstm_scan(gates, weight, (h0, rest[0]), **options)
        return [y, *state]
    if case.kind == "gru":
        return list(gru_scan(gates, weight, h0, bias_n=rest[0], **options))
    kind = "relu" if case.cell == "rnn_relu" else "tanh"
    return list(rnn_scan(gates, weight, h0, nonlinearity=kind, **options))


def directions(case: Case, device: str) -> list[Tensor]:
    """A random gradient of each output, in the case's type; drawn on the CPU."""
    generator = torch.Generator().manual_seed(1)
    layers = () if case.layers == 1 else (case.layers,)
    state = (*layers, case.batch, case.hidden)
    shapes = [(case.batch, case.steps, case.hidden), state, state][: len(OUTPUTS[case.kind])]
    drawn = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    return [d.to(DTYPES[case.dtype]).to(device) for d in drawn]


def results(
    case: Case,
    tensors: list[Tensor],
    options: dict,
    backend: str,
    towards: list[Tensor] | None = None,
) -> list[Tensor]:
    """Outputs, then the gradients of the inputs for one random direction of all outputs.

    Args:
        towards: that direction (:func:`directions`), where it has been drawn.
    """
    given = [t.detach().requires_grad_() for t in tensors]
    outputs = scan(case, given, options, backend)
    towards = towards or directions(case, str(tensors[0].device))
    gradients = torch.autograd.grad(
        outputs, given, [d.to(o) for d, o in zip(towards, outputs, strict=True)]
    )
    return [t.detach() for t in (*outputs, *gradients)]


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Over the whole tensor; NaN where NaN is found, so that no comparison with it holds."""
    expected = expected.to(found.device).double()
    difference = (found.double() - expected).norm().item()
    size = expected.norm().item()
    return difference / size if size else difference


def errors_of(case: Case, device: str) -> dict[str, float]:
    """Relative error of every tensor of the fused scan against the reference in float64."""
    tensors, options = inputs_of(case, device)
    found = results(case, tensors, options, case.backend)
    return errors_between(case, found, answer(case, tensors, options))


def answer(
    case: Case, tensors: list[Tensor], options: dict, towards: list[Tensor] | None = None
) -> list[Tensor]:
    """What ``results`` should be: the reference in float64."""
    return results(case, [t.double() for t in tensors], options, "reference", towards)


def errors_between(case: Case, found: list[Tensor], expected: list[Tensor]) -> dict[str, float]:
    """Relative errors by the tensors' names."""
    triples = zip(case.names, found, expected, strict=True)
    return {name: relative_error(a, b) for name, a, b in triples}


def holds(case: Case, errors: dict[str, float]) -> bool:
    return all(error <= LIMITS[case.dtype] for error in errors.values())


def _of_every_cell(shapes: list[Case]) -> list[Case]:
    """In every type; a tensor of one element in float32 alone.

    One number of 16 bits says nothing of a kernel: PyTorch's own autograd in bfloat16 gives 1 - y^2
    with an error of 7e-2 at y = 0.97.
    """
    return [
        replace(shape, cell=cell, dtype=dtype)
        for cell in GATES
        for dtype in LIMITS
        for shape in shapes
        if dtype == "fp32" or shape.batch * shape.steps * shape.hidden > 1
    ]


def small_cases() -> list[Case]:
    """Odd shapes, lengths, resets, heads, both directions; for the interpreter, and for a GPU."""
    return _of_every_cell(
        [
            Case("", "", 1, 1, 1),
            Case("", "", 1, 1, 16),
            Case("", "", 17, 2, 20, reverse=True),
            Case("", "", 3, 7, 24, lengths=True, resets="some"),
            Case("", "", 3, 7, 24, lengths=True, resets="some", reverse=True),
            Case("", "", 2, 63, 8),
            Case("", "", 5, 3, 64),
            Case("", "", 2, 3, 33, lengths=True),
            Case("", "", 6, 6, 8, resets="each"),
            Case("", "", 3, 4, 30, heads=3, lengths=True, resets="some", reverse=True),
        ]
    )


def wavefront_cases(device: str) -> list[Case]:
    """Layers in one launch: small ones in the interpreter, 16 bits on a GPU."""
    if device == "cpu":
        types, shapes = ["fp32"], [(2, 2, 3, 128), (3, 3, 2, 128)]
    else:
        types, shapes = ["fp16", "bf16"], [(2, 16, 64, 512), (2, 130, 33, 256), (4, 5, 65, 128)]
    return [
        Case(cell, dtype, *shape, layers=layers, lengths=True, resets="some")
        for cell in INPUTS
        for dtype in types
        for layers, *shape in shapes
    ]


def gluon_cases() -> list[Case]:
    """Heads of one processor with U in registers, and of several whose states are polled: few rows
    and many, odd sizes, rows for several launches."""
    small = [(64, 200, 64), (33, 65, 48)]
    large = [(9, 65, 256), (16, 64, 512), (130, 33, 768), (16, 128, 1024), (5, 7, 1000)]
    forms = [("registers", shape) for shape in small] + [("polled", shape) for shape in large]
    return [
        Case(cell, dtype, *shape, reverse=reverse, lengths=True, resets="some", form=form)
        for cell in GATES
        for form, shape in forms
        for dtype in (("fp16", "bf16") if form == "registers" else LIMITS)
        for reverse in (False, True)
    ]


def large_cases() -> list[Case]:
    """What only a GPU is fast enough for: several tiles, long rows, every size of a head."""
    return _of_every_cell(
        [
            Case("", "", 64, 200, 64),
            Case("", "", 130, 65, 128, lengths=True, resets="some"),
            Case("", "", 33, 130, 100, reverse=True, lengths=True),
            Case("", "", 16, 128, 256),
            Case("", "", 48, 64, 192, heads=3, resets="some", reverse=True),
            Case("", "", 16, 64, 768, heads=12),
        ]
    )
