"""The layers against ``torch.nn``, and what is beyond it against what it stands for."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN, explain

PAIRS = [(FusedRNN, nn.RNN), (FusedLSTM, nn.LSTM), (FusedGRU, nn.GRU)]
FUSED = [fused for fused, _ in PAIRS]
PLAIN = dict(PAIRS)
BACKENDS = ["reference", "triton"] if torch.cuda.is_available() else ["reference", "triton", "cpu"]


def tensors_of(state):
    return list(state) if isinstance(state, tuple) else [state]


def as_state(parts):
    return tuple(parts) if len(parts) > 1 else parts[0]


def everything(layer, x, state, generator, **options):
    """Output, states, and the gradients of input, states and weights."""
    x = x.detach().requires_grad_()
    state = [part.detach().requires_grad_() for part in state]
    y, after = layer(x, as_state(state), **options)
    outputs = [y, *tensors_of(after)]
    weights = [torch.randn(o.shape, generator=generator).to(o) for o in outputs]
    inputs = [x, *state, *layer.parameters()]
    return [*outputs, *torch.autograd.grad(outputs, inputs, weights)]


def states_for(layer, batch, generator, device):
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    count = 2 if layer.mode == "LSTM" else 1
    shape = (layers, batch, layer.hidden_size)
    return [torch.randn(shape, generator=generator).to(device) for _ in range(count)]


OPTIONS = [
    {},
    {"num_layers": 2, "batch_first": True},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False},
]


@pytest.mark.parametrize(("fused", "plain"), PAIRS)
@pytest.mark.parametrize("backend", [*BACKENDS, "torch"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_checkpoint_of_one_is_one_of_the_other(fused, plain, backend, options, device, agree):
    torch.manual_seed(0)
    theirs = plain(5, 12, **options).to(device)
    ours = fused(5, 12, backend=backend, **options).to(device)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(6, 3, 5).to(device)
    batch = 6 if options.get("batch_first") else 3
    generator = torch.Generator().manual_seed(0)
    state = states_for(theirs, batch, generator, device)
    found = everything(ours, x, state, torch.Generator().manual_seed(1))
    expected = everything(theirs, x, state, torch.Generator().manual_seed(1))
    agree(found, expected, map(str, range(len(found))), torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_relu(backend, device, agree):
    theirs = nn.RNN(5, 8, nonlinearity="relu").to(device)
    ours = FusedRNN(5, 8, nonlinearity="relu", backend=backend).to(device)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 3, 5, device=device)
    agree([ours(x)[0]], [theirs(x)[0]], "y", torch.float32)


@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("backend", [*BACKENDS, "torch"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lengths_equal_packing(fused, backend, bidirectional, device, agree):
    torch.manual_seed(0)
    layer = fused(5, 8, 2, bidirectional=bidirectional, batch_first=True, backend=backend).to(
        device
    )
    x, lengths = torch.randn(4, 6, 5, device=device), torch.tensor([6, 1, 3, 5])
    y, after = layer(x, lengths=lengths.to(device))
    plain = PLAIN[fused](5, 8, 2, bidirectional=bidirectional, batch_first=True).to(device)
    plain.load_state_dict(layer.state_dict())
    packed, expected = plain(pack_padded_sequence(x, lengths, True, enforce_sorted=False))
    expected_y, _ = pad_packed_sequence(packed, batch_first=True, total_length=6)
    found = [y, *tensors_of(after)]
    agree(found, [expected_y, *tensors_of(expected)], map(str, range(len(found))), torch.float32)


@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_uneven_rows_by_torch_give_packings_gradients_and_read_no_padding(fused, dtype):
    torch.manual_seed(0)
    layer = fused(3, 6, 2, bidirectional=True, backend="torch").to(dtype)
    plain = PLAIN[fused](3, 6, 2, bidirectional=True).to(dtype)
    plain.load_state_dict(layer.state_dict())
    lengths, count = torch.tensor([7, 1, 4]), 2 if fused is FusedLSTM else 1
    inputs = [torch.randn(7, 3, 3), *(torch.randn(4, 3, 6) for _ in range(count))]
    found = []
    for which in (layer, plain):
        x, *start = (part.to(dtype).requires_grad_() for part in inputs)
        hx = tuple(start) if count == 2 else start[0]
        if which is layer:
            behind = torch.arange(7)[:, None] >= lengths
            y, after = layer(x.masked_fill(behind[..., None], torch.nan), hx, lengths=lengths)
        else:
            packed, after = plain(pack_padded_sequence(x, lengths, enforce_sorted=False), hx)
            y, _ = pad_packed_sequence(packed)
        values = [y, *tensors_of(after)]
        sum(
            (v * torch.linspace(1, 2, v.numel(), dtype=dtype).view_as(v)).sum() for v in values
        ).backward()
        grads = [x.grad, *(part.grad for part in start), *(p.grad for p in which.parameters())]
        found.append([*values, *grads])
    rtol, atol = (1e-10, 1e-12) if dtype == torch.float64 else (0.1, 0.1)
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_reset_parts_documents(fused, backend, batch_first, device, agree):
    """One stream of three documents, in both directions, equals the documents one by one."""
    torch.manual_seed(0)
    layer = fused(5, 8, bidirectional=True, batch_first=batch_first, backend=backend).to(device)
    documents = [torch.randn(n, 1, 5, device=device) for n in (3, 1, 4)]
    stream = torch.cat(documents)
    reset = torch.zeros(8, 1, dtype=torch.bool, device=device)
    reset[[0, 3, 4]] = True
    if batch_first:
        stream, reset = stream.transpose(0, 1), reset.t()
        documents = [d.transpose(0, 1) for d in documents]
    y, _ = layer(stream, reset_mask=reset)
    alone = torch.cat([layer(d)[0] for d in documents], 1 if batch_first else 0)
    agree([y], [alone], "y", torch.float32)


@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_heads_are_a_block_diagonal_matrix(fused, backend, device, agree):
    torch.manual_seed(0)
    layer = fused(5, 12, num_heads=3, backend=backend).to(device)
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[layer.cell]
    assert layer.weight_hh_l0.shape == (gates * 12, 4)
    dense = PLAIN[fused](5, 12).to(device)
    weights = layer.state_dict()
    blocks = weights["weight_hh_l0"].view(gates, 3, 4, 4)
    square = torch.stack([torch.block_diag(*gate) for gate in blocks])
    dense.load_state_dict({**weights, "weight_hh_l0": square.flatten(0, 1)})
    x = torch.randn(6, 2, 5, device=device)
    agree([layer(x)[0]], [dense(x)[0]], "y", torch.float32)


@pytest.mark.parametrize("fused", FUSED)
def test_dropout_between_layers_is_in_training_alone(fused, device):
    layer = fused(5, 8, 2, dropout=0.5, backend="triton").to(device)
    x = torch.randn(4, 3, 5, device=device)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.parametrize("fused", FUSED)
def test_compiled_without_a_graph_break(fused, device, agree, whole_graph):
    torch.manual_seed(0)
    layer = fused(5, 8, backend="triton").to(device)
    x = torch.randn(4, 3, 5, device=device)
    found = whole_graph(layer)(x)[0]
    agree([found], [layer(x)[0]], "y", torch.float32)
    found.sum().backward()
    assert all(weight.grad is not None for weight in layer.parameters())


@pytest.mark.parametrize(("fused", "plain"), PAIRS)
def test_autocast(fused, plain, device, agree):
    torch.manual_seed(0)
    layer, exact = fused(5, 8, backend="triton").to(device), plain(5, 8).double().to(device)
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(4, 3, 5, device=device)
    with torch.autocast(device, torch.bfloat16):
        y, _ = layer(x)
    assert y.dtype == torch.bfloat16
    agree([y], [exact(x.double())[0]], "y", torch.bfloat16)


@pytest.mark.parametrize("fused", FUSED)
def test_activation_checkpointing(fused, device):
    torch.manual_seed(0)
    layer = fused(5, 8, backend="triton").to(device)
    x = torch.randn(4, 3, 5, device=device, requires_grad=True)
    layer(x)[0].sum().backward()
    expected, x.grad = x.grad, None
    checkpoint(lambda v: layer(v)[0], x, use_reentrant=False).sum().backward()
    assert torch.equal(x.grad, expected)


@pytest.mark.parametrize(("fused", "plain"), PAIRS)
def test_errors_are_those_of_torch(fused, plain, device):
    ours, theirs = fused(5, 8).to(device), plain(5, 8).to(device)
    for x, state in [
        (torch.randn(4, 3, 6), None),
        (torch.randn(4, 3, 5), torch.zeros(1, 2, 8)),
        (torch.randn(4, 5, 3, 5), None),
    ]:
        state = state if state is None or theirs.mode != "LSTM" else (state, state)
        said = []
        for layer in (ours, theirs):
            with pytest.raises((RuntimeError, ValueError)) as caught:
                layer(x.to(device), state)
            said.append(str(caught.value))
        assert said[0] == said[1]


@pytest.mark.parametrize(("fused", "plain"), PAIRS)
def test_unbatched_and_empty_inputs(fused, plain, device):
    ours, theirs = fused(5, 8).to(device), plain(5, 8).to(device)
    theirs.load_state_dict(ours.state_dict())
    for x in (torch.randn(4, 5), torch.randn(4, 0, 5)):
        assert torch.equal(ours(x.to(device))[0], theirs(x.to(device))[0])
    with pytest.raises(RuntimeError, match="give a batch"):
        fused(5, 8, backend="reference")(torch.randn(4, 5))


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_sizes_are_named_beyond_torch(backend):
    layer = FusedLSTM(5, 8, backend=backend)
    with pytest.raises(RuntimeError, match="Expected 5, got 6"):
        layer(torch.zeros(4, 3, 6))
    with pytest.raises(RuntimeError, match=r"Expected hidden size \(1, 3, 8\)"):
        layer(torch.zeros(4, 3, 5), (torch.zeros(1, 2, 8), torch.zeros(1, 3, 8)))


def test_heads_must_divide_the_units():
    with pytest.raises(ValueError, match="num_heads must divide hidden_size=8"):
        FusedGRU(5, 8, num_heads=3)


def test_explain_says_which_and_why(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert explain("lstm", hidden_size=64).backend == "torch"
    beyond = explain("gru", hidden_size=64, num_heads=4)
    assert beyond.backend == "reference"
    assert "not on cpu" in beyond.reason
    with pytest.raises(RuntimeError, match="backend='triton' cannot serve"):
        explain("gru", hidden_size=64, backend="triton")
    with pytest.raises(RuntimeError, match="backend='torch' knows neither"):
        explain("gru", hidden_size=64, num_heads=2, backend="torch")


def test_the_import_needs_torch_alone():
    code = (
        "import sys, lm_research.kernels\n"
        "assert not {'triton', 'pytorch_lightning', 'hydra', 'wandb'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
