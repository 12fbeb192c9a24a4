"""Scans that numba compiles: against the float64 reference, by threads, and where they serve."""

import os
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scan_cases import GATES, both, case, names_of, run

from lm_research.kernels import (
    FusedGRU,
    FusedLSTM,
    FusedRNN,
    explain,
    lstm_scan,
    obstacles,
    rnn_scan,
)
from lm_research.kernels.fused.cpu import elman, gru, lstm, rows
from lm_research.kernels.fused.cpu.compiled import compiled, flat
from lm_research.kernels.fused.cpu.pairs import PAIRS
from lm_research.kernels.fused.cpu.product import (
    COLUMNS,
    WIDTH,
    number,
    packed,
    packed_pairs,
    product,
    put,
    width_of,
)
from lm_research.kernels.fused.cpu.steps import CompiledStep
from lm_research.kernels.walk import Walk

LAYERS = {"rnn": FusedRNN, "lstm": FusedLSTM, "gru": FusedGRU}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cell=st.sampled_from(sorted(GATES)),
    batch=st.integers(1, 18),
    steps=st.integers(1, 5),
    hidden=st.integers(4, 70),
    way=st.sampled_from([{}, {"reverse": True}, {"bidirectional": True}]),
    resets=st.sampled_from([None, 0.4]),
    recompute=st.booleans(),
    threads=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    data=st.data(),
)
def test_any_walk(cell, batch, steps, hidden, way, resets, recompute, threads, dtype, data, agree):
    one = st.integers(1, steps)
    lengths = data.draw(st.none() | st.lists(one, min_size=batch, max_size=batch))
    tensors, options = case(cell, dtype, "cpu", batch, steps, hidden, 1, lengths, resets, **way)
    positive = cell == "rnn_relu" and dtype == torch.bfloat16
    if positive:
        # The derivative jumps at zero, on either side of which rounding may land. Gradients of both
        # signs would cancel to few digits under a weight of one.
        tensors = [tensor.abs() for tensor in tensors]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, expected = both(cell, tensors, {**options, "recompute": recompute}, "cpu", positive)
    finally:
        torch.set_num_threads(before)
    agree(found, expected, names_of(cell), dtype)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("way", [{}, {"reverse": True}, {"bidirectional": True}])
def test_bfloat16_where_the_processor_multiplies_float32_alone(cell, way, monkeypatch, agree):
    monkeypatch.setattr(rows, "PAIRS", False)
    tensors, options = case(cell, torch.bfloat16, "cpu", 5, 6, 33, 1, [6, 1, 3, 6, 2], 0.3, **way)
    agree(*both(cell, tensors, options, "cpu"), names_of(cell), torch.bfloat16)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("hidden", [1, 2, 3])
def test_few_units(cell, hidden, agree):
    """But for gradients that are a sum of few numbers, which may cancel to a few digits."""
    tensors, options = case(cell, torch.float32, "cpu", 7, 9, hidden, 1, None, 0.2)
    found, expected = both(cell, tensors, options, "cpu")
    kept = [n for n, name in enumerate(names_of(cell)) if name not in ("d weight", "d bias")]
    names = [names_of(cell)[n] for n in kept]
    agree([found[n] for n in kept], [expected[n] for n in kept], names, torch.float32)


@pytest.mark.parametrize("cell", GATES)
def test_threads_change_no_bit(cell, with_threads):
    tensors, options = case(cell, torch.float32, "cpu", 13, 6, 40, 1, None, 0.3)
    results = []
    for threads in (1, 2, 5):
        with_threads(threads)
        results.append(both(cell, tensors, options, "cpu")[0])
    for name, *found in zip(names_of(cell), *results, strict=True):
        if name not in ("d weight", "d bias"):  # products and sums over all rows, by torch
            assert all(torch.equal(found[0], other) for other in found[1:]), name


@pytest.fixture
def with_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", range(1, 14))
@pytest.mark.parametrize("add", [0, 1])
def test_a_product_by_any_number_of_rows(rows, add):
    size, columns = 2 * WIDTH + 3, COLUMNS + 5
    a, weight = torch.randn(rows, size), torch.randn(columns, size)
    width = width_of(columns)
    panels = packed(weight.numpy().reshape(-1), columns, size, size, 1)
    sums = torch.ones(rows, width)
    product(a.numpy().reshape(-1), rows, size, panels, sums.numpy().reshape(-1), width, add)
    expected = add + a.double() @ weight.double().t()
    torch.testing.assert_close(sums[:, :columns].double(), expected, rtol=1e-5, atol=1e-5)
    assert (sums[:, columns:] == add).all()  # zeros were added


@pytest.mark.skipif(not PAIRS, reason="the processor has no AVX512-BF16")
@pytest.mark.parametrize("rows", range(1, 14))
@pytest.mark.parametrize("size", [2 * WIDTH, 2 * WIDTH + 3])
def test_a_product_in_pairs(rows, size):
    columns, even = COLUMNS + 5, size + size % 2
    a = torch.zeros(rows, even, dtype=torch.bfloat16)
    a[:, :size], weight = torch.randn(rows, size), torch.randn(columns, size).bfloat16()
    width = width_of(columns)
    panels = packed_pairs(flat(weight), columns, size, size, 1)
    sums = torch.ones(rows, width)
    product(flat(a), rows, even, panels, sums.numpy().reshape(-1), width, 1)
    expected = 1 + a[:, :size].double() @ weight.double().t()
    torch.testing.assert_close(sums[:, :columns].double(), expected, rtol=1e-5, atol=1e-5)
    assert (sums[:, columns:] == 1).all()


@pytest.mark.parametrize("rows", [1, COLUMNS - 1, COLUMNS + 5, 3 * COLUMNS])
@pytest.mark.parametrize("size", [1, 2, WIDTH, WIDTH + 3, 5 * WIDTH])
def test_pairs_are_packed_whichever_way_a_weight_lies(rows, size):
    weight = torch.randn(rows, size).bfloat16()
    even, panels = size + size % 2, width_of(rows) // COLUMNS
    expected = torch.zeros(panels * COLUMNS, even, dtype=torch.bfloat16)
    expected[:rows, :size] = weight
    expected = expected.view(panels, COLUMNS, even // 2, 2).permute(0, 2, 1, 3)
    for lies, steps in ((weight, (size, 1)), (weight.t().contiguous(), (1, rows))):
        assert (packed_pairs(flat(lies), rows, size, *steps) == flat(expected)).all()


def test_bfloat16_is_rounded_as_torch_does():
    bits = torch.randint(-(2**31), 2**31, (20_000,), dtype=torch.int64).to(torch.int32)
    halfway = torch.arange(-(2**31), 2**31, 2**16 - 2**15, dtype=torch.int64).to(torch.int32)
    special = torch.tensor([float("inf"), -float("inf"), float("nan"), 0.0, -0.0, 1e-45, 3.4e38])
    values = torch.cat([bits.view(torch.float32), halfway.view(torch.float32), special])
    found = torch.empty(len(values), dtype=torch.bfloat16)
    back = torch.empty(len(values))
    _there_and_back(values.numpy(), flat(found), flat(back))
    expected = values.bfloat16()
    real = ~values.isnan()
    assert torch.equal(found[real].view(torch.int16), expected[real].view(torch.int16))
    assert found[~real].isnan().all()
    assert torch.equal(back[real], expected[real].float())


@compiled
def _there_and_back(values, found, back):
    for place in range(len(values)):
        put(found, place, values[place])
        put(back, place, number(found, place))


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_wrong_number_is_seen_in_its_own_row_alone(cell, dtype, bad):
    tensors, options = case(cell, dtype, "cpu", 3, 4, 24)
    tensors[0][1, 2] = bad
    expected = run(cell, [t.double() for t in tensors], options, "reference")[0]
    y = run(cell, tensors, options, "cpu")[0]
    assert torch.equal(y.isnan(), expected.isnan())
    assert y[[0, 2]].isfinite().all()


@pytest.mark.parametrize("x", [0.0, 1e-20, 1e-3, 0.3, 2.0, 8.0, 8.9, 9.1, 30.0, float("inf")])
def test_tanh_in_vectors(x):
    """Of either sign, in vectors and in what is left of a row."""
    values = torch.tensor([x, -x, float("nan")]).repeat(11)
    gates, weight = values.view(1, 1, -1), torch.zeros(33, 33)
    y, _ = rnn_scan(gates, weight, backend="cpu")
    expected = values.double().tanh()
    torch.testing.assert_close(y.view(-1).double(), expected, rtol=4e-7, atol=0, equal_nan=True)
    if x > 9:
        assert y[0, 0, 0] == 1


@pytest.mark.parametrize("cell", GATES)
def test_large_inputs_do_not_overflow(cell):
    tensors, options = case(cell, torch.float32, "cpu", 2, 3, 17)
    tensors[0] *= 1e4
    found, expected = both(cell, tensors, options, "cpu")
    for one, other in zip(found, expected, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-6)


def test_auto_takes_them_for_what_torch_steps_through():
    for cell in ("rnn", "gru"):
        assert explain(cell, hidden_size=64).backend == "cpu"
        assert explain(cell, hidden_size=64, dtype=torch.bfloat16).backend == "cpu"
        assert explain(cell, hidden_size=64, dtype=torch.float16).backend == "torch"
    assert explain("lstm", hidden_size=64).backend == "torch"


SHORT = [  # hidden size, rows, steps, with gradients, forward
    (64, 1, 16, "cpu", "torch"),
    (64, 16, 1, "torch", "torch"),  # rows are no steps
    (64, 16, 15, "torch", "torch"),
    (64, 2, 31, "cpu", "torch"),
    (64, 2, 32, "cpu", "cpu"),
    (64, 1, 63, "cpu", "torch"),
    (64, 1, 64, "cpu", "cpu"),
    (1024, 1, 127, "cpu", "torch"),
    (1024, 1, 128, "cpu", "cpu"),
    (1024, 2, 64, "cpu", "cpu"),
]


@pytest.mark.parametrize("cell", ["rnn", "gru"])
@pytest.mark.parametrize(("hidden", "batch", "steps", "training", "forward"), SHORT)
def test_auto_leaves_few_steps_to_torch(cell, hidden, batch, steps, training, forward):
    layer, x = LAYERS[cell](3, hidden, batch_first=True), torch.zeros(batch, steps, 3)
    asked = {"hidden_size": hidden, "batch": batch, "steps": steps}
    for grad, backend in ((True, training), (False, forward)):
        with torch.set_grad_enabled(grad):
            assert layer.choice(x).backend == backend
        assert explain(cell, **asked, training=grad).backend == backend


def test_auto_takes_them_for_what_torch_cannot(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    for cell in LAYERS:
        assert explain(cell, hidden_size=64, beyond_torch=True).backend == "cpu"
        for more in ({"num_heads": 2}, {"masks": True}, {"dtype": torch.float64}):
            choice = explain(cell, hidden_size=64, **{"beyond_torch": True, **more})
            assert choice.backend == "reference"


def test_without_numba_torch_serves(monkeypatch):
    monkeypatch.setattr(obstacles, "COMPILER", False)
    with pytest.raises(RuntimeError, match=r"backend='cpu' cannot serve.*numba is not installed"):
        explain("gru", hidden_size=64, backend="cpu")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dtype": torch.float64}, "for float32 and bfloat16, not for torch.float64"),
        ({"num_heads": 2}, "neither heads"),
        ({"masks": True}, "neither heads, state dropout"),
        ({"device": "meta"}, "run on CPUs, not on meta"),
    ],
)
def test_by_name_it_says_why_it_cannot(options, told):
    with pytest.raises(RuntimeError, match=told):
        explain("gru", hidden_size=64, backend="cpu", **options)


def test_the_import_needs_no_numba():
    code = "import sys, lm_research.kernels; assert not {'numba', 'llvmlite'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("cell", LAYERS)
def test_a_layer_in_one_graph(cell, whole_graph):
    layer = LAYERS[cell](5, 24, batch_first=True, backend="cpu")
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(whole_graph(layer)(x)[0], layer(x)[0])


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_one_graph_for_all_long_inputs(cell, whole_graph):
    """What dispatch asks of the number of steps is whether they are few."""
    layer = LAYERS[cell](5, 8, batch_first=True)
    graph = whole_graph(layer)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for steps in (40, 40):
            x = torch.randn(2, steps, 5)
            torch.testing.assert_close(graph(x)[0], layer(x)[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own(with_threads):
    with_threads(2)
    gates, weight = torch.randn(4, 3, 32), torch.randn(32, 8)
    lstm_scan(gates, weight, backend="cpu")
    child = os.fork()
    if not child:
        try:
            lstm_scan(gates, weight, backend="cpu")
        finally:
            os._exit(0)
    for _ in range(100):
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.1)
    os.kill(child, 9)
    pytest.fail("the child waits for threads that stayed behind")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_relu_of_any_number(dtype):
    """In vectors and in what is left of a row; of a NaN the gradient is no zero, either."""
    values = torch.tensor([float("nan"), float("inf"), -float("inf"), -1.0, -0.0, 0.0, 2.0])
    gates = values.repeat(5).to(dtype).view(1, 1, -1).requires_grad_()
    weight = torch.zeros(35, 35, dtype=dtype)
    y, _ = rnn_scan(gates, weight, nonlinearity="relu", backend="cpu")
    torch.testing.assert_close(y, gates.relu(), rtol=0, atol=0, equal_nan=True)
    slopes = torch.full_like(y, 3.0)
    slopes[..., ::2] = float("inf")
    found, expected = (torch.autograd.grad(of, gates, slopes)[0] for of in (y, gates.relu()))
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_a_step_with_relu_of_any_number():
    x = torch.tensor([[float("nan")], [float("inf")], [-float("inf")], [-1.0], [2.0]])
    step = CompiledStep("RNN_RELU", torch.ones(19, 1), torch.zeros(19, 19), None, None)
    (h,) = step(x, (torch.zeros(5, 19),))
    expected = x.relu().expand(5, 19)
    torch.testing.assert_close(h, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_an_infinite_gradient_is_carried_to_the_steps_before(nonlinearity):
    gates = torch.full((1, 3, 16), 1e-3, requires_grad=True)
    found = []
    for backend in ("cpu", "reference"):
        y, _ = rnn_scan(gates, torch.ones(16, 16), nonlinearity=nonlinearity, backend=backend)
        slopes = torch.zeros_like(y)
        slopes[0, 2] = 3e38  # 16 of them are infinite
        found += torch.autograd.grad(y, gates, slopes)
    assert not found[1].isnan().any()
    torch.testing.assert_close(*found, rtol=1e-5, atol=0)


@pytest.mark.parametrize("recompute", [False, True])
def test_nothing_is_read_that_was_not_saved(recompute):
    """Compiled code looks at no size: it would read whatever lies there."""
    walk = Walk(recompute=recompute)
    states, steps, none = torch.zeros(2, 5), torch.zeros(2, 3, 5), torch.zeros(0)
    gates, bias = torch.zeros(2, 3, 20), torch.zeros(5)
    said = r"Expected what the forward scan saved .* got \[0\]: run the forward scan with save=True"
    with pytest.raises(RuntimeError, match=said):
        gru.backward(steps, states, none, steps, torch.zeros(15, 5), bias, walk)
    for kept in ((none, steps), (gates, none)):
        with pytest.raises(RuntimeError, match=said):
            lstm.backward(steps, states, states, *kept, steps, torch.zeros(20, 5), walk)
    with pytest.raises(RuntimeError, match=said):
        elman.backward(steps, states, none, torch.zeros(5, 5), walk, True)
