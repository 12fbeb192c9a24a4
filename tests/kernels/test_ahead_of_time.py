"""The scans compiled for GPUs that are not there: nothing spills, everything fits."""

import json
import os
import subprocess
import sys

import pytest

from lm_research.kernels.limits import CELLS, SHARED, TYPES, largest_head

COMMAND = [sys.executable, "-m", "lm_research.kernels.fused.ahead_of_time", "--json"]
BYTES = {"fp16": 2, "bf16": 2, "tf32x3": 4, "tf32": 4, "ieee": 4}
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def compiled(*options: str) -> list[dict]:
    """In a process of its own: in this one kernels are interpreted."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, env=environment, check=False
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, [row for row in rows if not row["fits"]] or done.stderr[-2000:]
    return rows


def hold(rows, target):
    assert {row["cell"] for row in rows} == set(CELLS)
    assert all(row["spilled"] == 0 for row in rows)
    assert all(0 < row["shared"] <= SHARED[target] for row in rows)
    assert all(row["registers"] > 0 for row in rows)


@pytest.mark.parametrize("target", ["sm_90"])
def test_the_largest_heads_fit(target):
    hold(compiled("--target", target, "--largest"), target)


@pytest.mark.slow
@pytest.mark.parametrize("target", SHARED)
def test_every_head_that_dispatch_may_choose_fits(target):
    hold(compiled("--target", target), target)


@pytest.mark.slow
@pytest.mark.parametrize("target", SHARED)
def test_so_do_the_largest_with_masks_and_recomputed_gates(target):
    hold(compiled("--target", target, "--largest", "--variants", "masks", "recompute"), target)


@pytest.mark.parametrize("target", SHARED)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", TYPES)
def test_no_limit_is_beyond_what_the_matrices_need(cell, kind, target):
    size = largest_head(cell, kind, target)
    assert GATES[cell] * size**2 * BYTES[kind] <= SHARED[target]
    assert largest_head(cell, kind, target, aligned=False) <= size
