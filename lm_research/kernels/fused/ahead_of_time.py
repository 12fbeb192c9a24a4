"""Compile the kernels for GPUs that are not there: do they fit, and do registers spill?

    python -m lm_research.kernels.fused.ahead_of_time [--target sm_90] [--largest]

Prints one row for each kernel that dispatch may choose, and exits with 1 if one spills registers or
does not fit. As many are compiled at once as there are processors; Triton's cache keeps them. Scans
with options (dropout, zoneout, recompute) are compiled by `--only variants`, at the largest heads.
"""

import argparse
import json
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import product

import triton.language as tl

from lm_research.kernels.fused import (
    cross_entropy,
    diagonal,
    elman,
    gru,
    launch,
    lstm,
    normalized,
)
from lm_research.kernels.fused.compiler import (
    TARGETS,
    Compiled,
    Kernel,
    Label,
    compiled,
    source_of,
)
from lm_research.kernels.fused.polled.ahead_of_time import polled
from lm_research.kernels.fused.registers.ahead_of_time import registers
from lm_research.kernels.fused.spread.ahead_of_time import spread, wavefront
from lm_research.kernels.limits import (
    CELLS,
    LAYER_NORM_CELLS,
    TYPES,
    largest_head,
    least_block,
)

MODULES = {
    "rnn": elman,
    "lstm": lstm,
    "gru": gru,
    "layer_norm_rnn": normalized.elman,
    "layer_norm_lstm": normalized.lstm,
    "layer_norm_gru": normalized.gru,
}
DIAGONAL = {"linear": diagonal.LINEAR, "min_gru": diagonal.GRU, "min_lstm": diagonal.LSTM}
FLOAT32 = re.compile(r"before_ptr|d?(gain|bias|scale|mean)(_c)?_ptr")
"""Pointers to what is kept in the accumulator's type: the LSTM's cell, all that normalizes."""
VARIANTS = {"": (False, False), "+masks": (True, False), "+recompute": (False, True),
            "+masks+recompute": (True, True)}  # fmt: skip
"""What a scan is compiled with: state dropout and zoneout; gates made anew in the backward scan."""

Provider = Callable[[str, bool], Iterator[Kernel]]


# --- scans of one program a batch tile, head and direction


def single(target: str, largest: bool) -> Iterator[Kernel]:
    """Scans as they are without options, of every head or of the largest ones."""
    return _single(CELLS, target, largest)


def layer_norm(target: str, largest: bool) -> Iterator[Kernel]:
    """The same with layer normalization."""
    return _single(LAYER_NORM_CELLS, target, largest)


def _single(cells: Iterable[str], target: str, largest: bool) -> Iterator[Kernel]:
    for cell, kind, aligned in product(cells, TYPES, (True, False)):
        most = largest_head(cell, kind, target, aligned)
        sizes = [most] if largest else [size for size in (16, 32, 64, 128, 256) if size <= most]
        for size, kernel in product(sizes if most else [], ("forward", "backward")):
            yield single_kernel(Label(cell, "single", kernel, kind, size, target, aligned))


def variants(target: str, largest: bool) -> Iterator[Kernel]:
    """Scans with options, of the largest heads alone."""
    cells = (*CELLS, *LAYER_NORM_CELLS)
    for cell, kind, aligned, name in product(cells, TYPES, (True, False), VARIANTS):
        masks, recompute = VARIANTS[name]
        if not name or (recompute and cell in LAYER_NORM_CELLS):
            continue
        most = largest_head(cell, kind, target, aligned, masks=masks, recompute=recompute)
        for kernel in ("forward", "backward") if most else ():
            form = f"single{name}"
            yield single_kernel(Label(cell, form, kernel, kind, most, target, aligned))


def single_kernel(label: Label) -> Kernel:
    """The kernel of a label whose form is ``single`` with one of :data:`VARIANTS`."""
    function = getattr(MODULES[label.cell], f"{label.kernel}_kernel")
    masks, recompute = VARIANTS[label.form.removeprefix("single")]
    block = launch.block_of(label.size, least_block(label.cell, label.kind, masks))
    constants = {
        "SHARE_H": None,
        "SHARE_C": None,
        "RELU": False,
        "EPS": 1e-5,
        "BLOCK_B": launch.BLOCK_B,
        "BLOCK_D": block,
        "ACC": tl.float32,
        "PRECISION": label.kind if label.kind.startswith("tf32") else "ieee",
        "UPCAST": False,
        "RECOMPUTE": recompute,
    }
    gaps = set() if masks else {"dropout_ptr", "zoneout_h_ptr", "zoneout_c_ptr"}
    gaps |= {"saved_ptr"} if recompute and label.kernel == "forward" else set()
    gaps |= set() if recompute else {"hidden_ptr"}
    named = function.arg_names if label.cell not in ("rnn", "gru") else ()
    wide = set(filter(FLOAT32.fullmatch, named))
    source = source_of(function, label, constants | dict.fromkeys(gaps), {"H", "D"}, wide)
    return Kernel(label, source, launch.options_of(block, label.target.startswith("gfx")))


# --- diagonal scans


def diagonal_scans(target: str, largest: bool) -> Iterator[Kernel]:
    """Linear scans, minGRU's and minLSTM's; any number of channels is tiles of the same size."""
    for cell, kind, aligned in product(DIAGONAL, ("fp16", "bf16", "fp32"), (True, False)):
        for kernel in ("forward", "backward"):
            label = Label(cell, "diagonal", kernel, kind, diagonal.BLOCK_H, target, aligned)
            function = getattr(diagonal, f"{kernel}_kernel")
            constants = {
                "HAS_LENGTHS": True,
                "HAS_RESET": True,
                "REVERSE": False,
                "KIND": DIAGONAL[cell],
                "BLOCK_T": diagonal.BLOCK_T,
                "BLOCK_H": diagonal.BLOCK_H,
                "ACC": tl.float32,
            }
            constants |= {} if cell == "min_lstm" else {"r_ptr": None, "dr_ptr": None}
            source = source_of(function, label, constants, {"H", "STRIDE"}, set())
            yield Kernel(label, source, diagonal.options_of(target.startswith("gfx")))


# --- the output layer's loss


def loss(target: str, largest: bool) -> Iterator[Kernel]:
    """With and without gradient, smoothing and ranks; or the largest tile with all of them."""
    kinds, flags = ("fp16", "bf16", "fp32"), ((True,) if largest else (False, True))
    blocks = cross_entropy.BLOCKS[-1:] if largest else cross_entropy.BLOCKS
    axes = (kinds, (True, False), blocks, flags, flags, ("forward", "both"))
    for kind, aligned, block, smoothed, ranked, kernel in product(*axes):
        form = f"rows{'+smoothing' * smoothed}{'+ranks' * ranked}"
        label = Label("cross_entropy", form, kernel, kind, block, target, aligned)
        constants = {
            "SMOOTHING": 0.1 * smoothed,
            "IGNORE": -100,
            "GRADIENT": kernel == "both",
            "BLOCK_V": block,
            "ACC": tl.float32,
        } | ({} if ranked else {"rank_ptr": None})
        source = source_of(cross_entropy.rows_kernel, label, constants, {"V"}, {"loss_ptr"})
        yield Kernel(label, source, cross_entropy.options_of(block, target.startswith("gfx")))


# --- the table

PROVIDERS: tuple[Provider, ...] = (
    single,
    layer_norm,
    registers,
    spread,
    polled,
    wavefront,
    diagonal_scans,
    loss,
)
"""Each yields the kernels for a chip that dispatch may choose; all, or the largest alone."""
FURTHER: tuple[Provider, ...] = (variants,)
"""What is compiled by name alone: it takes as long as all the others together."""

_wanted: list[Kernel] = []
"""What the processes compile; they are forked, since a source cannot be sent."""


def _compiled(place: int) -> Compiled:
    return compiled(_wanted[place])


def rows(kernels: list[Kernel]) -> Iterator[Compiled]:
    """In the order given, each as it is done."""
    _wanted[:] = kernels
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=fork) as pool:
        yield from pool.map(_compiled, range(len(kernels)))


def line(row: Compiled) -> str:
    """A row of the table."""
    verdict = "" if row.fits else "  DOES NOT FIT"
    sizes = "multiples of 16" if row.aligned else "any size"
    return (
        f"{row.target:6} {row.cell:15} {row.form:22} {row.kernel:8} {row.kind:6} {row.size:4} "
        f"{sizes:15} {row.warps:2} warps {row.registers} registers, {row.spilled} B spilled, "
        f"{row.shared:7,} B shared{verdict}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--target", choices=list(TARGETS), help="this chip alone")
    parser.add_argument("--largest", action="store_true", help="of each the largest head alone")
    kinds = (*TYPES, "fp32")  # float32 of diagonal scans and the loss, which have no products
    parser.add_argument("--types", nargs="+", choices=kinds, default=kinds, help="these alone")
    named = {provider.__name__: provider for provider in (*PROVIDERS, *FURTHER)}
    usual = [provider.__name__ for provider in PROVIDERS]
    parser.add_argument("--only", nargs="+", choices=named, default=usual, help="these alone")
    parser.add_argument("--json", action="store_true", help="how many, then a JSON object a row")
    arguments = parser.parse_args()
    targets = [arguments.target] if arguments.target else list(TARGETS)
    providers = [named[name] for name in arguments.only]
    every = (k for t in targets for p in providers for k in p(t, arguments.largest))
    kernels = [kernel for kernel in every if kernel.label.kind in arguments.types]
    bad = 0
    if arguments.json:
        print(json.dumps({"kernels": len(kernels)}), flush=True)
    for row in rows(kernels):
        bad += not row.fits
        text = json.dumps({**asdict(row), "fits": row.fits}) if arguments.json else line(row)
        print(text, flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
