"""State dropout, zoneout and recomputed gates of the layers; types and devices that do not fit."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN

PAIRS = [(FusedRNN, nn.RNN), (FusedLSTM, nn.LSTM), (FusedGRU, nn.GRU)]
FUSED = [fused for fused, _ in PAIRS]
BACKENDS = ["reference", "triton"]
ON = {"state_dropout": 0.4, "zoneout": 0.3}


def seeded(layer, x, **options):
    torch.manual_seed(3)
    return layer(x, **options)[0]


def gradients(layer, run):
    layer.zero_grad()
    run().square().sum().backward()
    return [weight.grad.clone() for weight in layer.parameters()]


@pytest.mark.parametrize("fused", FUSED)
def test_a_seed_gives_the_same_masks_on_every_backend(fused, device, agree):
    layers = [fused(5, 8, 2, bidirectional=True, backend=b, **ON).to(device) for b in BACKENDS]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(6, 3, 5, device=device)
    found = [seeded(layer, x) for layer in layers]
    agree([found[1]], [found[0]], "y", torch.float32)
    assert torch.equal(seeded(layers[1], x), found[1])
    assert not torch.equal(layers[1](x)[0], found[1])
    pairs = [gradients(layer, lambda layer=layer: seeded(layer, x)) for layer in layers]
    agree(pairs[1], pairs[0], map(str, range(len(pairs[0]))), torch.float32)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_evaluation_drops_nothing_and_keeps_zoneouts_share(fused, backend, device, agree):
    layer = fused(5, 8, backend=backend, **ON).to(device).eval()
    x = torch.randn(6, 3, 5, device=device)
    y = layer(x)[0]
    assert torch.equal(layer(x)[0], y)
    drawn = fused(5, 8, backend="reference", zoneout=0.3).to(device)
    drawn.load_state_dict(layer.state_dict())
    with torch.no_grad():  # after one step the state is linear in the mask
        mean = torch.stack([drawn(x[:1])[0] for _ in range(2000)]).mean(0)
    assert (mean - y[:1]).abs().max() < 0.05


@pytest.mark.parametrize("fused", FUSED)
def test_evaluation_with_state_dropout_alone_is_torchs(fused):
    layer = fused(5, 8, state_dropout=0.5)
    x = torch.randn(2, 3, 5)
    assert layer.choice(x).backend != "torch"
    assert layer.eval().choice(x).backend == "torch"


def test_an_lstms_zoneouts_are_of_h_and_of_the_cell(device):
    torch.manual_seed(0)
    layer = FusedLSTM(5, 8, zoneout=(0.0, 0.999), backend="triton").to(device).eval()
    x, start = torch.randn(1, 3, 5, device=device), torch.randn(1, 3, 8, device=device)
    _, (h, c) = layer(x, (start, start))
    assert (c - start).abs().max() < 0.01
    assert (h - start).abs().max() > 0.1


@pytest.mark.one_in(3)
@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_without_a_graph_break(fused, recompute, device, agree, whole_graph):
    torch.manual_seed(0)
    layer = fused(5, 8, 2, bidirectional=True, backend="triton", recompute=recompute, **ON)
    layer, x = layer.to(device), torch.randn(4, 3, 5, device=device)
    compiled = whole_graph(layer)
    found = gradients(layer, lambda: seeded(compiled, x))
    expected = gradients(layer, lambda: seeded(layer, x))
    agree(found, expected, map(str, range(len(found))), torch.float32)


@pytest.mark.parametrize("fused", FUSED)
def test_activation_checkpointing_draws_the_same_masks(fused, device):
    layer = fused(5, 8, backend="triton", **ON).to(device)
    x = torch.randn(4, 3, 5, device=device, requires_grad=True)
    expected = gradients(layer, lambda: seeded(layer, x))
    found = gradients(layer, lambda: checkpoint(lambda v: seeded(layer, v), x, use_reentrant=False))
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("fused", FUSED)
def test_autocast(fused, device, agree):
    layer = fused(5, 8, bidirectional=True, backend="triton", recompute=True, **ON).to(device)
    exact = fused(5, 8, bidirectional=True, backend="reference", **ON).double().to(device)
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(4, 3, 5, device=device)
    with torch.autocast(device, torch.bfloat16):
        y = seeded(layer, x)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    exact_y = seeded(exact, x.double())
    exact_y.sum().backward()
    names = ["y", *(name for name, _ in layer.named_parameters())]
    found = [y, *(weight.grad for weight in layer.parameters())]
    expected = [exact_y, *(weight.grad for weight in exact.parameters())]
    agree(found, expected, names, torch.bfloat16)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("fused", FUSED)
def test_recomputing_changes_nothing_but_memory(fused, device, agree):
    layer = fused(5, 8, 2, bidirectional=True, backend="triton", **ON).to(device)
    x = torch.randn(6, 3, 5, device=device)
    lengths = torch.tensor([6, 2, 4], device=device)
    kept, results = [], []
    for recompute in (False, True):
        layer.recompute, sizes = recompute, {}

        def note(tensor, sizes=sizes):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes() if tensor.is_floating_point() else 0
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            y = seeded(layer, x, lengths=lengths)
        kept.append(sum(sizes.values()))
        results.append(gradients(layer, lambda: seeded(layer, x, lengths=lengths)))
    agree(results[1], results[0], map(str, range(len(results[0]))), torch.float32)
    assert y.isfinite().all()
    if layer.cell != "rnn":
        assert kept[1] < kept[0]


@pytest.mark.parametrize(("fused", "plain"), PAIRS)
@pytest.mark.parametrize("backend", [*BACKENDS, "torch", "auto"])
def test_wrong_types_and_devices_are_named_as_torch_names_them(fused, plain, backend, device):
    ours, theirs = fused(5, 8, backend=backend).to(device), plain(5, 8).to(device)
    x, state = torch.randn(4, 3, 5, device=device), torch.zeros(1, 3, 8, device=device)

    def both(part):
        return (part, part) if theirs.mode == "LSTM" else part

    for given in [
        (x.double(), None),
        (x.long(), None),
        (x.to("meta"), None),
        (x, both(state.to("meta"))),
    ]:
        said = []
        for layer in (ours, theirs):
            with pytest.raises((RuntimeError, ValueError)) as caught:
                layer(*given)
            said.append((type(caught.value), str(caught.value)))
        assert said[0] == said[1]
    for wrong in (state.double(), state.long(), state.half()):
        served = ours.choice(x).backend == "torch"  # whose words change with its own backends
        said = None if served else "Input and hidden tensors are not the same dtype"
        with pytest.raises(RuntimeError, match=said):
            ours(x, both(wrong))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"state_dropout": 1.0}, "state_dropout is 1.0"),
        ({"zoneout": (0.1, -0.1)}, "zoneout is -0.1"),
        ({"zoneout": 0.1, "proj_size": 2}, "without reset_mask, state_dropout and zoneout"),
    ],
)
def test_arguments_that_cannot_be_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        FusedLSTM(5, 8, **options)


def test_torch_cannot_serve_them():
    with pytest.raises(RuntimeError, match=r"knows neither .* zoneout"):
        FusedGRU(5, 8, zoneout=0.1, backend="torch")(torch.zeros(4, 3, 5))
