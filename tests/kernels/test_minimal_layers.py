"""MinGRU and MinLSTM: layers, directions, shapes, streams; and what does not fit."""

import copy

import pytest
import torch
from torch import nn

from lm_research.kernels.diagonal import explain_diagonal, linear_scan, minimal_scan
from lm_research.kernels.minimal import MinGRU, MinLSTM

BACKENDS = ["torch", "triton"]
LAYERS = [MinGRU, MinLSTM]


def layer_case(cls, device, **arguments):
    torch.manual_seed(0)
    layer = cls(5, 6, **arguments).to(device)
    return layer, torch.randn(3, 7, 5, device=device)


@pytest.mark.one_in(2)
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
def test_compiles_without_a_graph_break(cls, backend, device, whole_graph):
    layer, x = layer_case(cls, device, batch_first=True, backend=backend)
    compiled = whole_graph(layer)
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


@pytest.mark.parametrize("cls", LAYERS)
def test_states_of_another_type_or_kind_are_refused(cls):
    layer, x = cls(2, 3), ZEROS(4, 1, 2)
    with pytest.raises(RuntimeError, match=r"hidden tensor with torch.float64"):
        layer(x, ZEROS(1, 1, 3, dtype=torch.float64))
    with pytest.raises(RuntimeError, match=r"hidden tensor with torch.float64"):
        layer(x[:, 0], ZEROS(1, 3, dtype=torch.float64))
    with pytest.raises(RuntimeError, match=r"hidden tensor at meta"):
        layer(x, ZEROS(1, 1, 3, device="meta"))
    with pytest.raises(TypeError, match=r"hx must be a Tensor, the state h alone, got.*tuple"):
        layer(x, (ZEROS(1, 1, 3), ZEROS(1, 1, 3)))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x.bfloat16(), ZEROS(1, 1, 3))[1].dtype == torch.float32


@pytest.mark.parametrize("cls", LAYERS)
def test_what_is_no_tensor_is_refused(cls):
    packed = nn.utils.rnn.pack_sequence([ZEROS(3, 2)])
    with pytest.raises(TypeError, match=r"PackedSequence: give the padded input and lengths"):
        cls(2, 3)(packed)
    with pytest.raises(TypeError, match=r"input must be a Tensor, got.*list"):
        cls(2, 3)([[0.0, 0.0]])


def test_a_misspelt_backend_is_named():
    said = r"Unknown backend 'trition': one of auto, reference, torch, triton; did you mean 'triton"
    for call in (
        lambda: linear_scan(ZEROS(1, 2, 3), ZEROS(1, 2, 3), backend="trition"),
        lambda: minimal_scan(ZEROS(1, 2, 6), ZEROS(1, 3), backend="trition"),
        lambda: explain_diagonal(backend="trition"),
        lambda: MinGRU(2, 3, backend="trition"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
