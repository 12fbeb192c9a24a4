"""Scans whose states are polled: compiled, and then executed against float64 in an interpreter
of PTX, programs side by side."""

import json
import math
from pathlib import Path

import pytest
from test_registers import hold, lines

from lm_research.kernels.fused.polled.plan import SLICES, WAYS, Plan, Scan, obstacle, plan
from lm_research.kernels.fused.spread.plan import GATES, Processors

CELLS = ["rnn", "rnn_relu", "lstm", "gru"]
COMPILE = """
import json, sys, triton
from lm_research.kernels.fused.compiler import TARGETS, Label, compiled
from lm_research.kernels.fused.polled.ahead_of_time import kernel_of
from lm_research.kernels.fused.polled.plan import Plan
for label, made in json.loads(sys.argv[1]):
    kernel = kernel_of(Label(*label), Plan(*made))
    row = compiled(kernel)
    target = TARGETS[row.target]
    made = triton.compile(kernel.source, target=target, options=kernel.options)  # from the cache
    print(json.dumps([row.registers, row.spilled, row.shared, made.asm["ptx"]]))
"""
H100 = Processors(132, 232_448)


def case(cell, **more):
    shape = {"batch": 2, "steps": 3, "hidden": 40, "plan": [8, 4, 8]}
    return {"form": "polled", "cell": cell, "target": "sm_90", "dtype": "bfloat16", **shape, **more}


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("cell", "dtype"), [("lstm", "bfloat16"), ("gru", "float32")])
def test_compiled_scans_agree_with_float64(cell, dtype):
    """Three programs a group, the last with half a slice; rows that end and are cleared."""
    hold([case(cell, dtype=dtype, lengths=[3, 2], resets=0.3)])


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_any_walk_agrees_with_float64(cell, target, dtype):
    shapes = [
        {"batch": 18, "steps": 4, "heads": 2, "lengths": [4, 1, 3] * 6, "plan": [16, 4, 3]},
        {"steps": 5, "hidden": 23, "reverse": True, "lengths": [5, 2], "resets": 0.4},
        {"steps": 4, "hidden": 40, "heads": 2, "directions": 2, "resets": 0.4},
        {"batch": 33, "hidden": 20, "plan": [32, 4, 2]},
        {"batch": 1, "steps": 1, "hidden": 5, "plan": [8, 8, 1]},
        {"hidden": 96, "plan": [8, 4, 1]},  # of four warps two have nothing beyond 64
    ]
    shapes = [s for s in shapes if cell != "rnn_relu" or s.get("directions", 1) == 1]
    hold([case(cell, **{"target": target, "dtype": dtype, **shape}) for shape in shapes])


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_ring_goes_round(cell, seed):
    """More steps than slots: words are withdrawn and used again."""
    hold([case(cell, steps=37, resets=0.1, seed=seed)])


ABSENT = {"late": 0xFFFFFFFF}
"""Nobody sees that a word is withdrawn before the one who does it passes a fence."""


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_fences_keep_withdrawn_words_from_being_taken_for_new_ones(cell):
    hold([case(cell, steps=37, **ABSENT)])
    with pytest.raises(AssertionError, match="'y': 0"):  # one in two of what is right, or worse
        hold([case(cell, steps=37, changes=[["fence.acq_rel.gpu;", ""]], **ABSENT)])


def test_a_state_that_looks_like_nothing_is_seen_all_the_same():
    """Of NaNs with all bits set."""
    changes = [["setp.lt.u32 absent, looks, 4194304;", "setp.lt.u32 absent, looks, 100;"]]
    for dtype in ("bfloat16", "float32"):
        given = case("rnn", dtype=dtype, absent=True, changes=changes)
        script = str(Path(__file__).with_name("compiled_gluon.py"))
        (errors,) = lines(script, json.dumps([given]))
        assert math.isnan(errors["y"])


def test_who_waits_in_vain_gives_up_and_the_next_scan_says_so():
    """Nobody posts: no thread is found to be the one that stores a word."""
    mine, looks = "setp.lt.u32 mine, thread, {};", "setp.lt.u32 absent, looks, {};"
    changes = [[mine.format(128), mine.format(0)], [looks.format(1 << 22), looks.format(100)]]
    with pytest.raises(AssertionError, match="waited in vain for its other programs"):
        hold([case("rnn", changes=changes)])


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_warp_sums_over_many_slices(cell):
    hold([case(cell, hidden=512, steps=2, plan=[8, 8, 1])])


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("cell", GATES)
def test_nothing_spills_and_a_step_has_one_barrier(cell, target):
    kernels = [
        ((cell, "polled", way, kind, warps * slices * 16, target, True), (rows, warps, 1))
        for way in WAYS
        for kind, group in (("bf16", "half"), ("tf32x3", "tf32"))
        for (rows, warps), slices in SLICES[cell, way, group].items()
    ]
    for made, found in zip(kernels, lines("-c", COMPILE, json.dumps(kernels)), strict=True):
        registers, spilled, _, ptx = found
        assert registers > 0
        assert spilled == 0, made
        steps = ptx[ptx.index("ld.relaxed.gpu") :]  # from the first poll: two steps, a round
        assert "mma.sync" in steps, made
        assert steps.count("bar.sync") == 2, made


@pytest.mark.parametrize("count", [108, 132, 148])
@pytest.mark.parametrize("head_size", [129, 256, 768, 1000, 1024])
def test_a_plan_fits_its_processors(count, head_size):
    for cell in GATES:
        for batch in (1, 16, 300):
            scan = Scan(cell, "backward", "bf16", head_size)
            made = plan(scan, batch, 2, Processors(count, 166_912))
            assert 1 <= made.groups * made.slices(head_size) <= count
            assert made.padded(head_size) >= head_size
            assert made.steps(head_size) <= scan.limits[made.rows, made.warps]


def test_sizes_that_are_no_multiples_of_16_have_lower_limits():
    assert obstacle(Scan("lstm", "forward", "bf16", 1000), H100) is None
    assert "at most 768" in obstacle(Scan("lstm", "forward", "bf16", 1000, aligned=False), H100)


def test_few_rows_are_cut_into_small_tiles_and_many_into_large_ones():
    assert plan(Scan("lstm", "forward", "bf16", 512), 8, 1, H100).rows == 8
    assert plan(Scan("rnn", "forward", "bf16", 512), 256, 1, H100).rows == 32


REFUSED = [
    ("lstm", "bf16", 1040, H100, "at most 1024"),
    ("rnn", "fp16", 2048, Processors(100, 232_448), "do not fit 100 processors"),
    ("rnn", "bf16", 256, Processors(304, 65_536, nvidia=False), "NVIDIA"),
    ("gru", "ieee", 256, H100, "tensor core"),
]


@pytest.mark.parametrize(("cell", "kind", "head_size", "processors", "said"), REFUSED)
def test_what_does_not_fit_is_named(cell, kind, head_size, processors, said):
    scan = Scan(cell, "forward", kind, head_size)
    assert said in obstacle(scan, processors)
    with pytest.raises(RuntimeError, match=said):
        plan(scan, 16, 1, processors)


def test_the_exchange_is_padded_to_whole_warps():
    assert Plan(8, 8, 1).padded(1000) == 1024
    assert Plan(8, 8, 1).padded(520) == 640
