"""minGRU, minLSTM and the diagonal scans against the step-by-step reference in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from lm_research.kernels.diagonal import explain_diagonal, linear_scan, minimal_scan
from lm_research.kernels.minimal import MinGRU, MinLSTM

KINDS = ["linear", "gru", "lstm"]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
BACKENDS = ["torch", "triton"]
LAYERS = [MinGRU, MinLSTM]


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


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_type_and_direction(backend, kind, dtype, reverse, device, agree):
    tensors, options = case(kind, dtype, device, 3, 7, 5, lengths=[7, 1, 4], resets=0.3)
    found, expected = both(kind, tensors, {**options, "reverse": reverse}, backend)
    assert {t.dtype for t in found} == {dtype}
    agree(found, expected, names_of(kind), dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 3), (1, 7, 33), (2, 63, 6)], ids=str)
def test_odd_shapes(backend, kind, shape, device, agree):
    tensors, options = case(kind, torch.float32, device, *shape)
    agree(*both(kind, tensors, options, backend), names_of(kind), torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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


def test_four_thousand_steps_of_the_kernel_stay_exact(device, agree):
    tensors, options = case("linear", torch.float32, device, 1, 4096, 1)
    found = run("linear", tensors, options, "triton")
    exact = [t.double() for t in tensors]
    agree(found, run("linear", exact, options, "torch"), ["y", "h"], torch.float32)


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


# --- layers


def layer_case(cls, device, **arguments):
    torch.manual_seed(0)
    layer = cls(5, 6, **arguments).to(device)
    return layer, torch.randn(3, 7, 5, device=device)


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_layers_in_two_directions(cls, backend, device, agree):
    arguments = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    layer, x = layer_case(cls, device, **arguments, backend=backend)
    exact = copy.deepcopy(layer).double()
    exact.backend = "reference"
    hx = torch.randn(4, 3, 6, device=device)
    reset = torch.rand(3, 7, device=device) < 0.3
    found = []
    for module, wide in ((layer, False), (exact, True)):
        inputs = [(t.double() if wide else t).requires_grad_() for t in (x.clone(), hx.clone())]
        lengths = torch.tensor([7, 1, 4], device=device)
        y, h = module(*inputs, lengths=lengths, reset_mask=reset)
        every = [*inputs, *module.parameters()]
        found.append([y, h, *torch.autograd.grad(y.sin().sum() + h.cos().sum(), every)])
    agree(*found, [str(i) for i in range(len(found[0]))], torch.float32)


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_shapes_are_nn_grus(cls, bidirectional, batch_first):
    arguments = {
        "num_layers": 2,
        "bidirectional": bidirectional,
        "batch_first": batch_first,
        "bias": False,
    }
    layer, x = layer_case(cls, "cpu", **arguments)
    theirs = nn.GRU(5, 6, **arguments)
    for inputs in (x, x[0]):
        assert [t.shape for t in layer(inputs)] == [t.shape for t in theirs(inputs)]
    names = {name for name, _ in theirs.named_parameters() if "_hh" not in name}
    assert {name for name, _ in layer.named_parameters()} == names


@pytest.mark.parametrize("cls", LAYERS)
def test_time_first_is_batch_first_turned(cls):
    layer, x = layer_case(cls, "cpu")
    turned = copy.deepcopy(layer)
    turned.batch_first = True
    reset = torch.rand(3, 7) < 0.3
    y, h = layer(x.transpose(0, 1), reset_mask=reset.t())
    expected, last = turned(x, reset_mask=reset)
    torch.testing.assert_close(y.transpose(0, 1), expected)
    torch.testing.assert_close(h, last)


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stream_cut_in_two_is_the_stream(cls, backend, device):
    layer, x = layer_case(cls, device, num_layers=2, batch_first=True, backend=backend)
    whole, last = layer(x)
    first, state = layer(x[:, :3])
    second, end = layer(x[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(end, last)


@pytest.mark.parametrize("cls", LAYERS)
def test_a_document_after_a_border_does_not_see_the_one_before(cls):
    layer, x = layer_case(cls, "cpu", num_layers=2, bidirectional=True, batch_first=True)
    reset = torch.zeros(3, 7, dtype=torch.bool)
    reset[:, 4] = True
    y, _ = layer(x, reset_mask=reset)
    parts = torch.cat([layer(x[:, :4])[0], layer(x[:, 4:])[0]], 1)
    torch.testing.assert_close(y, parts)


@pytest.mark.parametrize("cls", LAYERS)
def test_padding_is_never_seen(cls):
    layer, x = layer_case(cls, "cpu", num_layers=2, bidirectional=True, batch_first=True)
    y, h = layer(x, lengths=torch.tensor([7, 2, 4]))
    alone, last = layer(x[1:2, :2])
    torch.testing.assert_close(y[1:2, :2], alone)
    torch.testing.assert_close(h[:, 1:2], last)
    assert not y[1, 2:].any()


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_without_a_graph_break(cls, backend, device):
    layer, x = layer_case(cls, device, batch_first=True, backend=backend)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    lengths = torch.tensor([7, 1, 4], device=device)
    outputs = [m(i, lengths=lengths) for m, i in zip((layer, compiled), inputs, strict=True)]
    for y, h in outputs:
        (y.sin().sum() + h.sum()).backward()
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_and_checkpointing(backend, device):
    layer, x = layer_case(MinGRU, device, batch_first=True, backend=backend)
    x.requires_grad_()
    with torch.autocast(device, torch.bfloat16):
        y, _ = layer(x)
        again, _ = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
    assert y.dtype == torch.bfloat16
    grads = [torch.autograd.grad(t.float().square().sum(), x)[0] for t in (y, again)]
    torch.testing.assert_close(grads[0], grads[1])


def test_dropout_is_between_layers_while_training():
    layer, x = layer_case(MinGRU, "cpu", num_layers=2, dropout=1.0)
    plain = copy.deepcopy(layer)
    plain.dropout = 0.0
    layer.eval()
    torch.testing.assert_close(layer(x)[0], plain(x)[0])
    layer.train()
    top = plain._gates(torch.zeros(3, 7, 6), "_l1")
    expected, _ = minimal_scan(top.transpose(0, 1), torch.zeros(7, 6))
    torch.testing.assert_close(layer(x)[0].transpose(0, 1), expected)


def test_auto_is_pytorch_on_a_cpu():
    assert explain_diagonal(device="cpu").backend == "torch"
    assert repr(MinGRU(2, 3, bias=False)) == "MinGRU(2, 3, bias=False, backend=auto)"
    assert MinGRU(2, 3).choice(torch.zeros(1, 1, 2)).backend == "torch"


def test_a_kernel_that_cannot_serve_says_why(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match="fused kernels run on GPUs, not on cpu"):
        MinGRU(2, 3, backend="triton")(torch.zeros(1, 1, 2))


ZEROS = torch.zeros
REFUSED = [
    (lambda: linear_scan(ZEROS(2, 3), ZEROS(2, 3)), "b must have 3 dimensions"),
    (lambda: linear_scan(ZEROS(2, 3, 5), ZEROS(2, 3, 4)), "Expected log_a size"),
    (lambda: linear_scan(ZEROS(2, 3, 4), ZEROS(2, 3, 4), ZEROS(4)), "Expected h0 size"),
    (lambda: minimal_scan(ZEROS(2, 3), ZEROS(2, 3)), "gates must have 3 dimensions"),
    (lambda: minimal_scan(ZEROS(2, 3, 4), ZEROS(2, 4)), "2 or 3 times h0's 4, got 4"),
    (lambda: MinGRU(2, 3)(ZEROS(4, 1, 3)), "Expected 2, got 3"),
    (lambda: MinGRU(2, 3)(ZEROS(2)), "2 or 3 dimensions, got 1"),
    (lambda: MinGRU(2, 3)(ZEROS(4, 1, 2), ZEROS(1, 1, 2)), "Expected hidden size"),
    (lambda: MinGRU(2, 3)(ZEROS(4, 1, 2), lengths=ZEROS(1)), "lengths' type"),
    (lambda: MinGRU(2, 3)(ZEROS(4, 1, 2), reset_mask=ZEROS(4, 1)), "reset_mask's type"),
    (lambda: MinGRU(2, 3)(ZEROS(4, 2), lengths=ZEROS(1).long()), "need a batch"),
]


@pytest.mark.parametrize(("call", "said"), REFUSED)
def test_what_does_not_fit_is_named(call, said):
    with pytest.raises(RuntimeError, match=said):
        call()


@pytest.mark.parametrize("wrong", [{"hidden_size": 0}, {"dropout": 2.0}, {"backend": "cuda"}])
def test_arguments_that_do_not_fit_are_named(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        MinGRU(**{"input_size": 2, "hidden_size": 3, **wrong})
