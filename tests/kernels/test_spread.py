"""Scans spread over several programs against float64, one step a launch in the interpreter."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lm_research.kernels import reference
from lm_research.kernels.checks import real_resets
from lm_research.kernels.ops import previous
from lm_research.kernels.walk import Walk

COUNTS = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
NAMES = {
    "rnn": ["y", "h", "d gates", "d h0"],
    "lstm": ["y", "h", "c", "d gates", "d h0", "d c0"],
    "gru": ["y", "h", "d gates", "d h0", "d inner bias"],
}


def cut(units=16, **changes):
    """A plan of several slices for heads of more than ``units`` units."""
    from lm_research.kernels.fused.spread.plan import Plan

    plan = Plan(rows=16, units=units, warps=2, inner=32, groups=2, persistent=False)
    return dataclasses.replace(plan, **changes)


def case(cell, dtype, device, batch, steps, hidden, heads=1, directions=1, seed=0):
    """(gates, weight, states, bias) as a scan takes them; the GRU alone has a bias."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).to(device)

    width, size = directions * hidden, hidden // heads
    gates = draw(batch, steps, COUNTS[cell] * width)
    weight = draw(COUNTS[cell] * width, size) / size**0.5
    states = [draw(batch, width) for _ in range(2 if cell == "lstm" else 1)]
    return gates, weight, states, [draw(width)] if cell == "gru" else []


def spread(cell, gates, weight, states, bias, walk, cotangents, plan):
    """Outputs and gradients (of gates, states, the GRU's inner bias) by the spread scans."""
    from lm_research.kernels.fused.spread import elman, gru, lstm

    if cell == "lstm":
        y, h, c, *saved = lstm.forward(gates, weight, *states, walk, True, plan)
        hidden = previous(y, states[0], walk) if walk.recompute else None
        gates = gates if walk.recompute else saved[0]
        given = (*cotangents, gates, saved[1], hidden, weight, walk, plan)
        return [y, h, c, *lstm.backward(*given)]
    if cell == "gru":
        y, h, saved = gru.forward(gates, weight, *states, *bias, walk, True, plan)
        before = previous(y, states[0], walk)[:, : y.shape[1]]
        saved = gates if walk.recompute else saved
        given = (*cotangents, saved, before, weight, *bias, walk, plan)
        dgates, dinner, dh0 = gru.backward(*given)
        return [y, h, dgates, dh0, dinner.double().sum((0, 1))]
    relu = cell == "rnn_relu"
    y, h, values = elman.forward(gates, weight, *states, walk, True, relu, plan)
    values = y if walk.share_h is None else values
    return [y, h, *elman.backward(*cotangents, values, weight, walk, relu, plan)]


def oracle(cell, gates, weight, states, bias, walk, cotangents):
    """The same by autograd through the float64 reference."""
    given = [t.double().requires_grad_() for t in (gates, *states, *bias)]
    weight = weight.double()
    if walk.dropout_BH is not None:
        walk = dataclasses.replace(walk, dropout_BH=walk.dropout_BH.double())
    if cell == "lstm":
        outputs = reference.lstm_scan(given[0], weight, *given[1:], walk)
    elif cell == "gru":
        outputs = reference.gru_scan(given[0], weight, *given[1:], walk)
    else:
        kind = "relu" if cell == "rnn_relu" else "tanh"
        outputs = reference.rnn_scan(given[0], weight, *given[1:], walk, kind)
    return [*outputs, *torch.autograd.grad(outputs, given, [c.double() for c in cotangents])]


def compare(agree, cell, dtype, device, sizes, walk, plan, heads=1):
    tensors = case(cell, dtype, device, *sizes, heads, walk.directions)
    generator = torch.Generator().manual_seed(1)
    shapes = [(*sizes[:2], walk.directions * sizes[2])] + [s.shape for s in tensors[2]]
    cotangents = [torch.randn(s, generator=generator).to(tensors[0]) for s in shapes]
    found = spread(cell, *tensors, walk, cotangents, plan)
    expected = oracle(cell, *tensors, walk, cotangents)
    agree(found, expected, NAMES[cell.removesuffix("_relu")], dtype)


def walk_of(device, batch, steps, reverse=False, directions=1, precision="ieee"):
    """Lengths from 1 to ``steps`` and a reset here and there."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    shape = (batch, steps) if directions == 1 else (2, batch, steps)
    reset = torch.rand(shape, generator=generator) < 0.3
    return Walk(
        lengths_B=lengths.to(device),
        reset_BT=real_resets(reset, lengths).to(device),
        reverse=reverse,
        directions=directions,
        precision=precision,
    )


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", COUNTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_over_three_slices(cell, dtype, device, agree):
    walk = walk_of(device, 3, 3, reverse=dtype == torch.float32)
    compare(agree, cell, dtype, device, (3, 3, 40), walk, cut())


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", COUNTS)
@pytest.mark.parametrize("sizes", [(1, 1, 40), (17, 2, 24), (2, 7, 17)], ids=str)
def test_odd_shapes(cell, sizes, device, agree):
    compare(agree, cell, torch.float32, device, sizes, Walk(precision="ieee"), cut())


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", COUNTS)
def test_heads_and_both_directions(cell, device, agree):
    walk = walk_of(device, 2, 2, directions=2)
    compare(agree, cell, torch.float32, device, (2, 2, 24), walk, cut(8), heads=2)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("cell", COUNTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_reset_at_every_position(cell, reverse, device, agree):
    reset = torch.eye(3, dtype=torch.bool, device=device)
    walk = Walk(reset_BT=reset, reverse=reverse, precision="ieee")
    compare(agree, cell, torch.float32, device, (3, 3, 24), walk, cut())


@pytest.mark.one_in(2)
@pytest.mark.parametrize("cell", COUNTS)
@pytest.mark.parametrize("share", [False, True])
def test_state_dropout_and_zoneout(cell, share, device, agree):
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return (torch.rand(*shape, generator=generator) < 0.5).to(device)

    zoneout = (0.2, 0.3) if share else (draw(3, 3, 24), draw(3, 3, 24))
    dropout = draw(3, 24).float() * 2
    walk = dataclasses.replace(
        walk_of(device, 3, 3), dropout_BH=dropout, zoneout_h=zoneout[0], zoneout_c=zoneout[1]
    )
    compare(agree, cell, torch.float32, device, (3, 3, 24), walk, cut())


@pytest.mark.one_in(2)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gates_anew(cell, dtype, device, agree):
    walk = walk_of(device, 2, 2, directions=2)
    dropout = torch.full((2, 48), 2.0, dtype=dtype, device=device)
    dropout[:, ::3] = 0
    walk = dataclasses.replace(walk, dropout_BH=dropout, recompute=True)
    compare(agree, cell, dtype, device, (2, 2, 24), walk, cut(), heads=2)


@pytest.mark.parametrize("cell", COUNTS)
def test_a_persistent_scan_of_one_slice(cell, device, agree, monkeypatch):
    """Alone in its group a program waits for itself; counters tell what it awaited."""
    from lm_research.kernels.fused.spread import launch

    made = []
    zeros = torch.zeros
    monkeypatch.setattr(
        launch.torch, "zeros", lambda *a, **k: made.append(zeros(*a, **k)) or made[-1]
    )
    walk = walk_of(device, 17, 3)
    plan = cut(16, persistent=True)
    compare(agree, cell, torch.float32, device, (17, 3, 16), walk, plan)
    counters = [t for t in made if t.dtype == torch.int32 and t.dim() == 2]
    assert len(counters) == 2  # forward and backward
    for counter in counters:
        assert counter[:, 0].tolist() == [3, 3]  # one arrival a step, of each batch tile
        assert not counter[:, 1:].any()


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_no_step_hands_the_state_on(cell, device):
    gates, weight, states, bias = case(cell, torch.float32, device, 2, 0, 24)
    walk = Walk(precision="ieee")
    cotangents = [gates.new_empty(2, 0, 24), *map(torch.ones_like, states)]
    found = spread(cell, gates, weight, states, bias, walk, cotangents, cut())
    assert torch.equal(found[1], states[0])
    assert torch.equal(found[len(states) + 2], cotangents[1])


def test_a_scan_that_waited_in_vain_is_told_at_the_next(device):
    from lm_research.kernels.fused.spread.launch import failure

    gates, weight, states, _ = case("lstm", torch.float32, device, 1, 1, 24)
    from lm_research.kernels.fused.spread import lstm

    failure(gates.device).fill_(1)
    with pytest.raises(RuntimeError, match="waited in vain"):
        lstm.forward(gates, weight, *states, Walk(precision="ieee"), False, cut())
    lstm.forward(gates, weight, *states, Walk(precision="ieee"), False, cut())


SLOW = pytest.mark.slow
COMPILED = [
    ("rnn", "sm_90"),
    pytest.param("lstm", "sm_90", marks=SLOW),
    pytest.param("gru", "sm_80", marks=SLOW),
]


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("cell", "target"), COMPILED)
def test_programs_that_wait_for_each_other(cell, target):
    """What the compiler makes of a persistent scan, three programs a group, without a GPU."""
    run_compiled(cell, target, "7")


def run_compiled(*arguments):
    """compiled_spread.py in a process of its own: in this one kernels are interpreted."""
    script = Path(__file__).parent / "compiled_spread.py"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


PROCESSORS = [108, 132, 148]


@pytest.mark.parametrize("count", PROCESSORS)
@pytest.mark.parametrize("head_size", [129, 256, 768, 1000, 1024])
def test_a_plan_fits_its_processors(count, head_size):
    from lm_research.kernels.fused.spread.plan import GATES, Processors, plan

    for cell in GATES:
        for batch in (1, 16, 300):
            made = plan(cell, "backward", "bf16", batch, head_size, 2, Processors(count, 166_912))
            assert 1 <= made.groups * made.slices(head_size) <= count
            assert made.padded(head_size) >= head_size
            assert made.inner >= 16 * made.warps  # a product's least


REFUSED = [
    ("lstm", "bf16", 2048, True, "registers"),
    ("rnn", "bf16", 2048, True, "do not fit 100 processors"),
    ("gru", "ieee", 256, True, "tensor core"),
    ("rnn", "bf16", 256, False, "NVIDIA"),
]


@pytest.mark.parametrize(("cell", "kind", "head_size", "nvidia", "said"), REFUSED)
def test_what_does_not_fit_is_named(cell, kind, head_size, nvidia, said):
    from lm_research.kernels.fused.spread.plan import Processors, plan

    with pytest.raises(RuntimeError, match=said):
        plan(cell, "forward", kind, 16, head_size, 1, Processors(100, 232_448, nvidia))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_plan_is_made_where_none_is_given(cell, device, agree):
    walk = Walk(precision="ieee")
    compare(agree, cell, torch.float32, device, (1, 1, 24), walk, None)
