"""The scans compiled for GPUs that are not there: nothing spills, everything fits."""

import json
import os
import re
import subprocess
import sys

import pytest

from lm_research.kernels.dispatch import COUNTS
from lm_research.kernels.limits import CELLS, LAYER_NORM_CELLS, SHARED, TYPES, largest_head

COMMAND = [sys.executable, "-m", "lm_research.kernels.fused.ahead_of_time", "--json"]
BYTES = {"fp16": 2, "bf16": 2, "tf32x3": 4, "tf32": 4, "ieee": 4}
DIAGONAL = {"linear", "min_gru", "min_lstm"}
EVERY_CELL = {*CELLS, *LAYER_NORM_CELLS, *DIAGONAL, "cross_entropy"}
FORMS = {"single", "registers", "spread", "polled", "wavefront", "diagonal", "rows"}


def compiled(*options: str) -> list[dict]:
    """In processes of their own: in this one kernels are interpreted."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, env=environment, check=False
    )
    head, *rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, [row for row in rows if not row["fits"]] or done.stderr[-2000:]
    assert head == {"kernels": len(rows)}
    return rows


def hold(rows, cells, targets=frozenset(SHARED)):
    assert {row["cell"] for row in rows} == cells
    assert {row["target"] for row in rows} == targets
    assert all(row["spilled"] == 0 for row in rows)
    assert all(0 < row["shared"] <= SHARED[row["target"]] for row in rows)
    assert all(row["registers"] > 0 for row in rows)


def test_the_largest_kernels_of_every_form_fit_a_chip():
    rows = compiled("--largest", "--types", "bf16", "--target", "sm_90")
    hold(rows, EVERY_CELL, {"sm_90"})
    assert {re.split("[ +]", row["form"])[0] for row in rows} == FORMS


@pytest.mark.slow
def test_the_largest_kernels_of_every_form_fit_every_chip():
    rows = compiled("--largest", "--types", "bf16", "tf32x3", "fp32")
    hold(rows, EVERY_CELL)
    assert {re.split("[ +]", row["form"])[0] for row in rows} == FORMS


@pytest.mark.slow
def test_every_kernel_that_dispatch_may_choose_fits_every_chip():
    hold(compiled(), EVERY_CELL)


@pytest.mark.slow
def test_the_largest_heads_with_dropout_zoneout_and_recomputing_fit_every_chip():
    hold(compiled("--only", "variants"), {*CELLS, *LAYER_NORM_CELLS})


@pytest.mark.parametrize("target", SHARED)
@pytest.mark.parametrize("cell", [*CELLS, *LAYER_NORM_CELLS])
@pytest.mark.parametrize("kind", TYPES)
def test_no_limit_is_beyond_what_the_matrices_need(cell, kind, target):
    size = largest_head(cell, kind, target)
    assert COUNTS[cell] * size**2 * BYTES[kind] <= SHARED[target]
    assert largest_head(cell, kind, target, aligned=False) <= size
