"""What a user of ``torch.nn``'s recurrent layers relies on without thinking of it."""

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import prune

from lm_research.kernels import (
    FusedGRU,
    FusedLSTM,
    FusedRNN,
    LayerNormLSTM,
    MinGRU,
    TableRows,
    gru_scan,
    lstm_scan,
)
from lm_research.kernels.normalized.scans import layer_norm_lstm_scan

PAIRS = [(FusedRNN, nn.RNN), (FusedLSTM, nn.LSTM), (FusedGRU, nn.GRU)]
BOTH = pytest.mark.parametrize(("cls", "theirs"), PAIRS)
LAYERS = pytest.mark.parametrize("cls", [FusedRNN, FusedLSTM, FusedGRU])
FLOAT64 = torch.float64


def alike(cls, theirs, *args, **options):
    """Our layer and torch.nn's on the same weights."""
    torch.manual_seed(0)
    own, plain = cls(*args, **options), theirs(*args, **options)
    plain.load_state_dict(own.state_dict())
    return own, plain


def gradients(layer, call):
    layer.zero_grad()
    call()[0].square().sum().backward()
    return [p.grad.clone() for p in layer.parameters()]


# --- what hangs on torch.nn's layers


@BOTH
def test_weights_are_drawn_anew_as_torch_draws_them(cls, theirs):
    own, plain = alike(cls, theirs, 4, 8, 2, bidirectional=True)
    for layer in (own, plain):
        torch.manual_seed(1)
        layer.reset_parameters()
        layer.flatten_parameters()
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), plain.parameters(), strict=True))
    for ours, others in zip(own.all_weights, plain.all_weights, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, others, strict=True))


def test_gains_are_one_again_when_weights_are_drawn_anew():
    layer = LayerNormLSTM(4, 8)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(7.0)
    layer.reset_parameters()
    assert torch.equal(layer.gain_hh_l0, torch.ones(32))
    assert torch.equal(layer.gain_c_l0, torch.ones(8))
    assert torch.equal(layer.bias_c_l0, torch.zeros(8))
    assert layer.weight_hh_l0.abs().max() <= 8**-0.5


@LAYERS
@pytest.mark.parametrize("steps", [5, 40])
def test_outputs_lie_in_one_piece(cls, steps):
    x = torch.randn(steps, 3, 4)
    lengths = torch.tensor([steps, 2, 3])
    for options in ({}, {"lengths": lengths}):
        y, state = cls(4, 8, bidirectional=True)(x, **options)
        parts = state if isinstance(state, tuple) else (state,)
        assert all(part.is_contiguous() for part in (y, *parts))


def test_a_constant_bias_is_zero_after_room_was_made_for_it():
    wanted = FusedGRU(4, 8, batch_first=True, recurrent_bias=False)
    noise = [torch.full((24,), 9.0) for _ in range(50)]
    del noise
    layer = FusedGRU(4, 8, batch_first=True, recurrent_bias=False, device="meta")
    layer.to_empty(device="cpu").load_state_dict(wanted.state_dict())
    x = torch.randn(2, 5, 4)
    assert torch.equal(layer(x)[0], wanted(x)[0])


# --- graphs that are written down


@BOTH
@pytest.mark.parametrize("backend", ["auto", "cpu"])
def test_a_layer_exported_without_gradients_has_them(cls, theirs, backend):
    if torch.cuda.is_available() and backend == "cpu":
        pytest.skip("the tests' tensors lie on a GPU")
    own, plain = alike(cls, theirs, 4, 8, batch_first=True)
    own.backend = backend
    x = torch.randn(3, 40, 4)
    with torch.no_grad():
        graph = torch.export.export(own, (x,)).module()
    found, expected = gradients(graph, lambda: graph(x)), gradients(plain, lambda: plain(x))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_traced_layer_has_gradients():
    own, plain = alike(FusedGRU, nn.GRU, 4, 8)
    x = torch.randn(40, 3, 4)
    graph = torch.jit.trace(own, (x,))
    for a, b in zip(
        gradients(graph, lambda: graph(x)), gradients(plain, lambda: plain(x)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [FusedRNN, FusedGRU])
def test_compiled_for_any_number_of_rows_and_steps(cls, whole_graph):
    layer = cls(4, 8, batch_first=True)
    compiled = whole_graph(layer)
    for rows, steps in ((3, 40), (5, 40), (5, 64), (4, 100)):
        x = torch.randn(rows, steps, 4)
        torch.testing.assert_close(compiled(x)[0], layer(x)[0])


# --- derivatives that nobody has


@pytest.mark.parametrize("take", [torch.func.grad, torch.func.jacfwd, torch.func.jacrev])
def test_torch_func_is_told_that_there_is_no_such_derivative(take):
    layer = FusedGRU(4, 8, batch_first=True, backend="triton")
    with pytest.raises(RuntimeError, match="no derivative through a fused scan"):
        take(lambda x: layer(x)[0].sum())(torch.randn(3, 4, 4))


def test_a_forward_derivative_is_refused():
    layer, x = FusedGRU(4, 8, batch_first=True, backend="triton"), torch.randn(3, 4, 4)
    with pytest.raises(RuntimeError, match="no derivative through a fused scan"):
        torch.func.jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(RuntimeError, match="no derivative through a fused scan"):
            layer(dual)


def test_a_diagonal_scan_has_none_either():
    layer, x = MinGRU(4, 8, batch_first=True, backend="triton"), torch.randn(3, 4, 4)
    with pytest.raises(RuntimeError, match="no derivative through a fused scan"):
        torch.func.jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))


def test_vmap_alone_asks_for_no_derivative():
    layer, x = FusedGRU(4, 8, batch_first=True, backend="triton"), torch.randn(3, 4, 4)
    with torch.no_grad():
        y = layer(x)[0]
    assert torch.equal(torch.func.vmap(lambda z: layer(z)[0])(x[None])[0], y)


def test_the_reference_has_functional_derivatives():
    own, plain = alike(FusedGRU, nn.GRU, 4, 8, batch_first=True, dtype=FLOAT64)
    own.backend = "reference"
    x = torch.randn(3, 7, 4, dtype=FLOAT64)
    found, expected = (torch.func.grad(lambda x, m=m: m(x)[0].sum())(x) for m in (own, plain))
    torch.testing.assert_close(found, expected)


# --- projections


@pytest.mark.parametrize("dtype", [torch.float32, FLOAT64])
@pytest.mark.parametrize("size", [4, 3])
def test_projections_and_resets_are_refused_in_words(dtype, size):
    layer = FusedLSTM(4, 8, proj_size=size, batch_first=True, dtype=dtype)
    x, resets = torch.randn(2, 6, 4, dtype=dtype), torch.zeros(2, 6, dtype=torch.bool)
    assert layer(x)[0].shape == (2, 6, size)
    with pytest.raises(RuntimeError, match="proj_size is served by backend='torch' alone"):
        layer(x, reset_mask=resets)


def test_projections_with_lengths_and_a_state():
    own, plain = alike(FusedLSTM, nn.LSTM, 4, 8, proj_size=3, batch_first=True)
    x, lengths = torch.randn(3, 5, 4), torch.tensor([5, 2, 3])
    state = torch.randn(1, 3, 3), torch.randn(1, 3, 8)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, False)
    expected, (h, c) = plain(packed, state)
    y, after = own(x, state, lengths=lengths)
    torch.testing.assert_close(y, nn.utils.rnn.pad_packed_sequence(expected, True)[0])
    torch.testing.assert_close(after, (h, c))


# --- 16 bits


def walked(kind, dtype):
    """A long walk by the reference, of which a gate forgets little, so that losses add up."""
    generator = torch.Generator().manual_seed(0)
    count = 3 if kind is gru_scan else 4
    gates = torch.randn(4, 300, count * 32, generator=generator)
    gates[..., 32:64] += 6.0  # f, or z
    weight = 0.1 * torch.randn(count * 32, 32, generator=generator)
    given = [x.bfloat16().to(dtype) for x in (gates, weight)]
    if kind is layer_norm_lstm_scan:
        gain, gain_c, bias_c = (torch.full((n,), v, dtype=dtype) for n, v in NORMS)
        given += [gain, gain_c, bias_c, None]
    return kind(*given, backend="reference")[0]


NORMS = ((128, 0.5), (32, 1.0), (32, 0.0))


@pytest.mark.parametrize("kind", [lstm_scan, gru_scan, layer_norm_lstm_scan])
def test_a_long_walk_in_bfloat16_keeps_its_state_in_float32(kind):
    found, expected = walked(kind, torch.bfloat16), walked(kind, FLOAT64)
    assert found.dtype == torch.bfloat16
    assert (found.double() - expected).norm() / expected.norm() < 4e-3  # y's own digits


# --- lengths


@pytest.mark.parametrize("backend", ["torch", "reference", "triton", "cpu"])
@BOTH
def test_what_lies_beyond_a_rows_end_is_not_read(cls, theirs, backend):
    if torch.cuda.is_available() and backend == "cpu":
        pytest.skip("the tests' tensors lie on a GPU")
    own = cls(4, 8, batch_first=True, backend=backend)
    lengths, found = torch.tensor([20, 5]), []
    for beyond in (0.0, float("nan")):
        torch.manual_seed(1)
        x = torch.randn(2, 20, 4)
        x[1, 5:] = beyond
        x.requires_grad_()
        y = own(x, lengths=lengths)[0]
        found.append([y, *torch.autograd.grad(y.square().sum(), [x, *own.parameters()])])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize(
    ("lengths", "error", "said"),
    [
        (torch.tensor([0, 3]), RuntimeError, "from 1 to T=5, got lengths from 0 to 3"),
        (torch.tensor([2, 6]), RuntimeError, "from 1 to T=5, got lengths from 2 to 6"),
        (torch.tensor([2.0, 3.0]), RuntimeError, "lengths' type to be torch.int64"),
        (torch.tensor([2]), RuntimeError, "Expected lengths size"),
        ([2, 3], TypeError, "lengths must be a Tensor"),
    ],
)
def test_lengths_that_cannot_be_are_named(backend, lengths, error, said):
    with pytest.raises(error, match=said):
        FusedLSTM(4, 8, batch_first=True, backend=backend)(torch.randn(2, 5, 4), lengths=lengths)


def test_resets_of_another_type_are_named():
    layer, lengths = FusedGRU(4, 8, batch_first=True), torch.tensor([2, 3])
    with pytest.raises(RuntimeError, match=r"reset_mask's type to be torch\.bool"):
        layer(torch.randn(2, 5, 4), lengths=lengths, reset_mask=torch.zeros(2, 5))
    rows = TableRows(torch.randn(7, 4), torch.randint(7, (2, 40)))
    with pytest.raises(RuntimeError, match="from 1 to T=40"):
        layer(rows, lengths=torch.tensor([1, 41]))


# --- names and counts


@pytest.mark.parametrize("option", ["backend", "precision"])
def test_a_name_that_is_none_is_told_at_once(option):
    wrong = {"backend": "tirton", "precision": "tf32x4"}[option]
    near = {"backend": "triton", "precision": "tf32x3"}[option]
    with pytest.raises(ValueError, match=f"Unknown {option} '{wrong}'.*did you mean '{near}'"):
        FusedGRU(4, 8, **{option: wrong})


def test_a_scan_by_a_backend_that_is_none():
    with pytest.raises(ValueError, match="Unknown backend 'tirton'"):
        gru_scan(torch.randn(2, 3, 12), torch.randn(12, 4), backend="tirton")
    with pytest.raises(ValueError, match="Unknown backend 'referense'"):
        lstm_scan(torch.randn(2, 3, 16), torch.randn(16, 4), backend="referense")


def test_states_beyond_two_are_refused():
    state = torch.zeros(1, 3, 8)
    with pytest.raises(RuntimeError, match="Expected 2 hidden states, h and c, got 3"):
        FusedLSTM(4, 8, backend="reference")(torch.randn(5, 3, 4), (state, state, state))


def test_zoneout_may_be_a_list():
    assert FusedLSTM(4, 8, zoneout=[0.1, 0.2]).zoneout == (0.1, 0.2)


@LAYERS
def test_weights_may_be_swapped_in_place(cls):
    """As PyTorch does for tensor subclasses."""
    layer, x = cls(4, 8, batch_first=True), torch.randn(2, 20, 4)
    with torch.no_grad():
        before = layer(x)[0]
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        layer.double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    torch.testing.assert_close(layer(x.double())[0], before.double())


def test_buffers_of_others_are_left_alone():
    layer = FusedGRU(4, 8, batch_first=True, recurrent_bias=False)
    x = torch.randn(2, 20, 4)
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    before, kept = layer(x)[0], layer.weight_hh_l0_mask.sum()
    layer.to("cpu")
    assert layer.weight_hh_l0_mask.sum() == kept > 0
    assert torch.equal(layer(x)[0], before)


def test_a_layer_made_for_inference_may_be_moved():
    with torch.inference_mode():
        layer = FusedGRU(4, 8, batch_first=True, recurrent_bias=False)
    layer.double()
    assert not layer.bias_hh_l0.any()


def test_lengths_may_be_of_any_whole_numbers():
    layer, x = FusedLSTM(4, 8, batch_first=True), torch.randn(2, 5, 4)
    given = [torch.tensor([2, 3], dtype=kind) for kind in (torch.int32, torch.int64)]
    short, long = (layer(x, lengths=lengths)[0] for lengths in given)
    assert torch.equal(short, long)


def test_lengths_in_graphs_of_any_kind():
    layer, x = FusedLSTM(4, 8, batch_first=True, backend="reference"), torch.randn(2, 5, 4)
    lengths = torch.tensor([2, 5])
    expected = layer(x, lengths=lengths)[0]
    graph = make_fx(lambda x, n: layer(x, lengths=n)[0])(x, lengths)
    torch.testing.assert_close(graph(x, lengths), expected)
    mapped = torch.vmap(lambda x, n: layer(x[None], lengths=n[None])[0][0])(x, lengths)
    torch.testing.assert_close(mapped, expected)


def test_a_traced_relu_network_walks_any_number_of_steps():
    layer = FusedRNN(4, 8, batch_first=True, nonlinearity="relu", backend="torch")
    lengths = torch.tensor([2, 5])

    class OfLengths(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, lengths):
            return self.layer(x, lengths=lengths)[0]

    graph = torch.jit.trace(OfLengths(), (torch.randn(2, 5, 4), lengths))
    x = torch.randn(2, 7, 4)
    torch.testing.assert_close(graph(x, lengths), layer(x, lengths=lengths)[0])
