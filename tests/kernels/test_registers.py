"""Scans with U in registers: compiled, and then executed against float64 in the PTX interpreter."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5}
CELLS = ["rnn", "rnn_relu", "lstm", "gru"]
CLEAN = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
COMPILE = """
import json, sys, triton
from lm_research.kernels.fused.compiler import TARGETS, Label, compiled
from lm_research.kernels.fused.registers.ahead_of_time import kernel_of
for label in json.loads(sys.argv[1]):
    kernel = kernel_of(Label(*label))
    row = compiled(kernel)
    target = TARGETS[row.target]
    made = triton.compile(kernel.source, target=target, options=kernel.options)  # from the cache
    print(json.dumps([row.registers, row.spilled, row.shared, made.asm["ptx"]]))
"""


def lines(*command):
    """What a process without Triton's interpreter prints, a JSON value a line."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=CLEAN)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def loops(ptx):
    """The text between a label and each jump back to it."""
    jumps = re.finditer(r"bra(?:\.uni)?\s+(\$\w+);", ptx)
    begun = [(ptx.find(f"\n{jump[1]}:"), jump.start()) for jump in jumps]
    return [ptx[start:end] for start, end in begun if -1 < start < end]


def hold(cases):
    """Every output and gradient of every case is within its type's tolerance."""
    script = str(Path(__file__).with_name("compiled_gluon.py"))
    for case, errors in zip(cases, lines(script, json.dumps(cases)), strict=True):
        limit = TOLERANCE[case["dtype"]]
        assert all(error <= limit for error in errors.values()), (case, errors)  # NaN fails, too


@pytest.mark.slow
def test_compiled_scans_agree_with_float64():
    shape = {"batch": 2, "steps": 3, "hidden": 32, "heads": 2, "lengths": [3, 2], "resets": 0.3}
    hold([{"cell": cell, "target": "sm_90", "dtype": "bfloat16", **shape} for cell in CELLS])


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_any_walk_agrees_with_float64(cell, target, dtype):
    shapes = [
        {"batch": 18, "steps": 4, "hidden": 32, "heads": 2, "lengths": [4, 1, 3] * 6},
        {"batch": 2, "steps": 5, "hidden": 23, "reverse": True, "lengths": [5, 2], "resets": 0.4},
        {"batch": 2, "steps": 4, "hidden": 40, "heads": 2, "directions": 2, "resets": 0.4},
        {"batch": 1, "steps": 1, "hidden": 5},
        {"batch": 2, "steps": 3, "hidden": 64},
    ]
    hold([{"cell": cell, "target": target, "dtype": dtype, **shape} for shape in shapes])


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_the_largest_heads_agree_with_float64(cell):
    hidden = 256 if cell.startswith("rnn") else 128
    hold([{"cell": cell, "target": "sm_90", "dtype": "bfloat16", "batch": 2, "hidden": hidden}])


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("kind", ["fp16", "bf16"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_nothing_spills_and_a_step_has_one_barrier(cell, kind, target):
    from lm_research.kernels.fused.registers.limits import largest_head

    sizes = [(largest_head(cell, kind, target, even), target, even) for even in (True, False)]
    both = [(cell, "registers", kernel, kind) for kernel in ("forward", "backward")]
    kernels = [(*label, *size) for label in both for size in sizes]
    for made, found in zip(kernels, lines("-c", COMPILE, json.dumps(kernels)), strict=True):
        registers, spilled, shared, ptx = found
        assert registers > 0
        assert spilled == 0, made
        assert shared <= 166_912, made
        (steps,) = loops(ptx)
        assert "mma.sync" in steps, made
        assert steps.count("bar.sync") == 2, made  # two steps a round
