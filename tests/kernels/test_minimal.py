"""minGRU, minLSTM and the diagonal scans against the step-by-step reference in float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lm_research.kernels.diagonal import linear_scan, minimal_scan

KINDS = ["linear", "gru", "lstm"]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
BACKENDS = ["torch", "triton"]


def run(kind, tensors, options, backend):
    """[y, h] of (log a, b, h0) or of (gates, h0)."""
    scan = linear_scan if kind == "linear" else minimal_scan
    return list(scan(*tensors, **options, backend=backend))


def names_of(kind):
    inputs = ["log a", "b"] if kind == "linear" else ["gates"]
    return ["y", "h", *[f"d {name}" for name in inputs], "d h0"]


def case(kind, dtype, device, batch, steps, hidden, lengths=None, resets=None, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    if kind == "linear":
        tensors = [F.logsigmoid(draw(batch, steps, hidden)), draw(batch, steps, hidden)]
    else:
        tensors = [draw(batch, steps, {"gru": 2, "lstm": 3}[kind] * hidden)]
    tensors = [t.to(dtype).to(device) for t in (*tensors, draw(batch, hidden))]
    options = {}
    if lengths is not None:
        options["lengths"] = torch.tensor(lengths, device=device)
    if resets is not None:
        options["reset_mask"] = (torch.rand(batch, steps, generator=generator) < resets).to(device)
    return tensors, options


def results(kind, tensors, options, backend):
    """Outputs and all gradients."""
    inputs = [t.detach().requires_grad_() for t in tensors]
    outputs = run(kind, inputs, options, backend)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(o.shape, generator=generator).to(o) for o in outputs]
    return [*outputs, *torch.autograd.grad(outputs, inputs, weights)]


def both(kind, tensors, options, backend):
    """(found, expected): of ``backend``, and of the reference in float64."""
    exact = results(kind, [t.double() for t in tensors], options, "reference")
    return results(kind, tensors, options, backend), exact


@pytest.mark.one_in(4)
@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_type_and_direction(backend, kind, dtype, reverse, device, agree):
    tensors, options = case(kind, dtype, device, 3, 7, 5, lengths=[7, 1, 4], resets=0.3)
    found, expected = both(kind, tensors, {**options, "reverse": reverse}, backend)
    assert {t.dtype for t in found} == {dtype}
    agree(found, expected, names_of(kind), dtype)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 3), (1, 7, 33), (2, 63, 6)], ids=str)
def test_odd_shapes(backend, kind, shape, device, agree):
    tensors, options = case(kind, torch.float32, device, *shape)
    agree(*both(kind, tensors, options, backend), names_of(kind), torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(KINDS),
    batch=st.integers(1, 2),
    steps=st.integers(1, 11),
    hidden=st.integers(1, 3),
    reverse=st.booleans(),
    resets=st.sampled_from([None, 0.4]),
    data=st.data(),
)
def test_any_shape(backend, kind, batch, steps, hidden, reverse, resets, data, device, agree):
    one = st.integers(1, steps)
    lengths = data.draw(st.none() | st.lists(one, min_size=batch, max_size=batch))
    tensors, options = case(kind, torch.float32, device, batch, steps, hidden, lengths, resets)
    found, expected = both(kind, tensors, {**options, "reverse": reverse}, backend)
    agree(found, expected, names_of(kind), torch.float32)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_reset_at_every_position(backend, kind, reverse, device, agree):
    tensors, _ = case(kind, torch.float32, device, 9, 9, 1)
    options = {"reset_mask": torch.eye(9, dtype=torch.bool, device=device), "reverse": reverse}
    agree(*both(kind, tensors, options, backend), names_of(kind), torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_inputs(backend, device, agree):
    for kind in KINDS:
        tensors, options = case(kind, torch.float32, device, 3, 5, 4)
        strided = [t.mT.contiguous().mT for t in tensors]
        agree(*both(kind, strided, options, backend), names_of(kind), torch.float32)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_gradcheck(backend, kind, reverse, device):
    tensors, options = case(kind, torch.float64, device, 2, 3, 2, lengths=[3, 2], resets=0.3)
    options["reverse"] = reverse
    inputs = [t.requires_grad_() for t in tensors]
    fast = backend == "triton"  # two random directions: the interpreter takes its time
    assert torch.autograd.gradcheck(
        lambda *t: run(kind, t, options, backend), inputs, fast_mode=fast
    )


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_pytorchs_own_operations_differentiate_twice(backend, kind):
    tensors, options = case(kind, torch.float64, "cpu", 1, 3, 2)
    inputs = [t.requires_grad_() for t in tensors]
    assert torch.autograd.gradgradcheck(lambda *t: run(kind, t, options, backend), inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_derivative_of_the_kernel_is_refused(kind, device):
    tensors, options = case(kind, torch.float32, device, 2, 3, 4)
    inputs = [t.requires_grad_() for t in tensors]
    y = run(kind, inputs, options, "triton")[0]
    (first,) = torch.autograd.grad(y.square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="twice: use backend='reference'"):
        first.sum().backward()


def test_decays_and_inputs_are_the_papers():
    """The paper's plain form, and its log-space form by Heinsen's scan, in float64."""
    (gates, h0), _ = case("gru", torch.float64, "cpu", 2, 9, 3)
    z, v = gates.chunk(2, -1)
    g = torch.where(v >= 0, v + 0.5, v.sigmoid())
    h0, state, plain = h0.abs(), h0.abs(), []
    for t in range(9):
        state = (1 - z[:, t].sigmoid()) * state + z[:, t].sigmoid() * g[:, t]
        plain.append(state)
    log_g = torch.where(v >= 0, (F.relu(v) + 0.5).log(), -F.softplus(-v))
    total = F.pad(-F.softplus(z).cumsum(1), (0, 0, 1, 0))
    log_b = torch.cat([h0.log()[:, None], -F.softplus(-z) + log_g], 1)
    heinsen = (total + torch.logcumsumexp(log_b - total, 1)).exp()[:, 1:]
    y, h = minimal_scan(gates, h0, backend="torch")
    torch.testing.assert_close(y, torch.stack(plain, 1))
    torch.testing.assert_close(y, heinsen)
    torch.testing.assert_close(h, state)


def test_minlstms_shares_sum_to_one():
    (gates, h0), _ = case("lstm", torch.float64, "cpu", 2, 9, 3)
    f, i, v = gates.chunk(3, -1)
    g = torch.where(v >= 0, v + 0.5, v.sigmoid())
    total, state, plain = f.sigmoid() + i.sigmoid(), h0, []
    for t in range(9):
        keep, take = f[:, t].sigmoid() / total[:, t], i[:, t].sigmoid() / total[:, t]
        state = keep * state + take * g[:, t]
        plain.append(state)
    torch.testing.assert_close(minimal_scan(gates, h0)[0], torch.stack(plain, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_thousand_steps_stay_exact(kind, device, agree):
    """Against the float64 pairs, which are the reference's to 1e-12 on 4,096 steps."""
    tensors, options = case(kind, torch.float32, device, 1, 16384, 3)
    exact = results(kind, [t.double() for t in tensors], options, "torch")
    agree(results(kind, tensors, options, "torch"), exact, names_of(kind), torch.float32)
    tensors, _ = case(kind, torch.float64, device, 1, 4096, 3)
    found = run(kind, tensors, options, "torch")
    agree(found, run(kind, tensors, options, "reference"), ["y", "h"], torch.float64)


@pytest.mark.slow
def test_four_thousand_steps_of_the_kernel_stay_exact(device, agree):
    """In the second channel with the same decay at every step, whose rounding would add up."""
    tensors, options = case("linear", torch.float32, device, 1, 4096, 2)
    tensors[0][..., 1], tensors[1][..., 1] = -1e-5, 1.0
    found = run("linear", tensors, options, "triton")
    exact = [t.double() for t in tensors]
    agree(found, run("linear", exact, options, "torch"), ["y", "h"], torch.float32)


@pytest.mark.slow
def test_hundreds_of_steps_of_the_kernels_gradients_stay_exact(device, agree):
    tensors, options = case("linear", torch.float32, device, 1, 500, 1)
    agree(*both("linear", tensors, options, "triton"), names_of("linear"), torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_decays_near_one_and_far_below_it(backend, device, agree):
    """Memories over the whole sequence, and one that underflows within a few steps."""
    tensors, options = case("linear", torch.float32, device, 1, 128, 3)
    tensors[0] = tensors[0] * tensors[0].new_tensor([1e-6, 1e-3, 100.0])
    agree(*both("linear", tensors, options, backend), names_of("linear"), torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_large_inputs_do_not_overflow(backend, kind, device):
    tensors, options = case(kind, torch.float32, device, 2, 9, 4)
    tensors[0] = tensors[0] * 1e4
    assert all(t.isfinite().all() for t in results(kind, tensors, options, backend))


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_stays_one_until_a_reset(backend, kind, device):
    tensors, options = case(kind, torch.float32, device, 2, 6, 3)
    tensors[0][0, 1] = float("nan")
    y = run(kind, tensors, options, backend)[0]
    assert y[0, 1:].isnan().all()
    assert y[1].isfinite().all()
    reset = torch.zeros(2, 6, dtype=torch.bool, device=device)
    reset[0, 4] = True
    y, h = run(kind, tensors, {"reset_mask": reset}, backend)
    assert y[0, 1:4].isnan().all()
    assert y[0, 4:].isfinite().all()
    assert h.isfinite().all()


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
def test_no_steps_and_no_rows(backend, device):
    h0 = torch.ones(2, 3, device=device)
    y, h = minimal_scan(torch.zeros(2, 0, 6, device=device), h0, backend=backend)
    assert y.shape == (2, 0, 3)
    assert torch.equal(h, h0)
    y, h = minimal_scan(torch.zeros(0, 4, 6, device=device), h0[:0], backend=backend)
    assert (y.shape, h.shape) == ((0, 4, 3), (0, 3))


def test_the_operators_keep_pytorchs_rules(device):
    from lm_research.kernels import minimal_ops

    for kind in KINDS:
        tensors, _ = case(kind, torch.float32, device, 1, 2, 2)
        operator = minimal_ops.linear_scan if kind == "linear" else minimal_ops.minimal_scan
        inputs = [t.requires_grad_() for t in tensors]
        torch.library.opcheck(operator, (*inputs, None, None, False))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_nan_passes_no_reset_wherever_the_two_are(backend, kind, reverse, device):
    """Row r has its NaN at step r // 9 and its reset at step r % 9."""
    tensors, _ = case(kind, torch.float32, device, 81, 9, 2)
    rows = torch.arange(81, device=device)
    tensors[0][rows, rows // 9] = float("nan")
    reset = torch.zeros(81, 9, dtype=torch.bool, device=device)
    reset[rows, rows % 9] = True
    options = {"reset_mask": reset, "reverse": reverse}
    expected = run(kind, tensors, options, "reference")
    for ours, theirs in zip(run(kind, tensors, options, backend), expected, strict=True):
        assert torch.equal(ours.isnan(), theirs.isnan())
    assert not expected[0][11 if not reverse else 9].isnan().all()
