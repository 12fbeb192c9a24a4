"""Layers with layer normalization: against their formulas, and as layers of ``torch.nn`` behave."""

import pytest
import torch
import torch.nn.functional as F

from lm_research.kernels import LayerNormGRU, LayerNormLSTM, LayerNormRNN, explain

LAYERS = [LayerNormRNN, LayerNormLSTM, LayerNormGRU]


def trained(layer, seed=0):
    """The layer with every parameter drawn: gains of 1 and biases of 0 would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            drawn = 0.5 * torch.randn(weight.shape, generator=generator)
            weight.copy_(drawn + 0.5 if name.startswith("gain") else drawn)
    return layer


def as_list(state):
    return list(state) if isinstance(state, tuple) else [state]


def by_hand(layer, x_TBI, state):
    """The formulas of ``lm_research.kernels.normalized`` for one layer, one direction, one head."""
    own = {name.removesuffix("_l0"): p.double() for name, p in layer.named_parameters()}
    size, h = (layer.hidden_size,), state[0][0].double()
    c = state[1][0].double() if len(state) == 2 else None
    w, u, b, b_hh = (own[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    outputs = []
    for x in x_TBI.double():
        wide = (len(u),)
        a = F.layer_norm(x @ w.T, wide, own["gain_ih"], b)
        p = F.layer_norm(h @ u.T, wide, own["gain_hh"])
        if c is not None:
            i, f, g, o = (a + p + b_hh).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * F.layer_norm(c, size, own["gain_c"], own["bias_c"]).tanh()
        elif isinstance(layer, LayerNormGRU):
            (a_r, a_z, a_n), (p_r, p_z, p_n) = a.chunk(3, 1), (p + b_hh).chunk(3, 1)
            z = (a_z + p_z).sigmoid()
            h = (1 - z) * (a_n + (a_r + p_r).sigmoid() * p_n).tanh() + z * h
        else:
            h = (a + p + b_hh).tanh()
        outputs.append(h)
    return [torch.stack(outputs), h[None], *([] if c is None else [c[None]])]


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_a_layer_is_its_formula(kind, backend, device, agree):
    layer = trained(kind(5, 12, backend=backend).to(device))
    x = torch.randn(6, 3, 5, device=device, requires_grad=True)
    state = [torch.randn(1, 3, 12, device=device, requires_grad=True) for _ in range(2)]
    state = state[: 2 if kind is LayerNormLSTM else 1]
    inputs = [x, *state, *layer.parameters()]
    y, after = layer(x, tuple(state) if len(state) == 2 else state[0])
    results = []
    for outputs in ([y, *as_list(after)], by_hand(layer, x, state)):
        generator = torch.Generator().manual_seed(1)
        weights = [torch.randn(o.shape, generator=generator).to(o) for o in outputs]
        results.append([*outputs, *torch.autograd.grad(outputs, inputs, weights)])
    agree(*results, map(str, range(len(results[0]))), torch.float32)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_heads_are_layers_side_by_side(kind, backend, device, agree):
    """Every head has statistics of its own."""
    whole = trained(kind(5, 12, num_heads=3, backend=backend).to(device))
    x = torch.randn(6, 2, 5, device=device)
    parts = []
    for head in range(3):
        layer = kind(5, 4, backend=backend).to(device)
        own = {}
        for name, weight in whole.state_dict().items():
            blocks = weight.view(-1, 3, 4, *weight.shape[1:])  # gates, heads, units
            own[name] = blocks[:, head].flatten(0, 1)
        layer.load_state_dict(own)
        parts.append(layer(x)[0])
    agree([whole(x)[0]], [torch.cat(parts, -1)], "y", torch.float32)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_directions_and_layers_are_layers_on_their_own(kind, backend, device, agree):
    both_ways = trained(kind(5, 8, 2, bidirectional=True, backend=backend).to(device))
    x = torch.randn(6, 2, 5, device=device)
    below = x
    for index in range(2):
        outputs = []
        for suffix in (f"_l{index}", f"_l{index}_reverse"):
            layer = kind(below.shape[-1], 8, backend=backend).to(device)
            own = {
                name.removesuffix(suffix) + "_l0": weight
                for name, weight in both_ways.state_dict().items()
                if name.endswith(suffix)
            }
            layer.load_state_dict(own)
            against = suffix.endswith("reverse")
            y = layer(below.flip(0) if against else below)[0]
            outputs.append(y.flip(0) if against else y)
        below = torch.cat(outputs, -1)
    agree([both_ways(x)[0]], [below], "y", torch.float32)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_a_reset_parts_documents(kind, backend, device, agree):
    """One stream of three documents, in both directions, equals the documents one by one."""
    options = {"bidirectional": True, "batch_first": True, "backend": backend}
    layer = trained(kind(5, 8, **options).to(device))
    documents = [torch.randn(1, n, 5, device=device) for n in (3, 1, 4)]
    reset = torch.zeros(1, 8, dtype=torch.bool, device=device)
    reset[:, [0, 3, 4]] = True
    y, _ = layer(torch.cat(documents, 1), reset_mask=reset)
    agree([y], [torch.cat([layer(d)[0] for d in documents], 1)], "y", torch.float32)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_lengths_end_a_row(kind, backend, device, agree):
    layer = trained(kind(5, 8, 2, bidirectional=True, backend=backend).to(device))
    x = torch.randn(6, 2, 5, device=device)
    y, after = layer(x, lengths=torch.tensor([6, 4], device=device))
    alone, expected = layer(x[:4, 1:])
    found = [y[:4, 1:], *(part[:, 1:] for part in as_list(after))]
    agree(found, [alone, *as_list(expected)], ["y", "h", "c"][: len(found)], torch.float32)
    assert not y[4:, 1].any()


@pytest.mark.parametrize("kind", LAYERS)
def test_the_scale_of_the_weights_does_not_matter(kind, device, agree):
    layer = trained(kind(5, 8, backend="triton").to(device))
    x = torch.randn(6, 2, 5, device=device)
    before = layer(x)[0]
    with torch.no_grad():
        layer.weight_hh_l0 *= 8
        layer.weight_ih_l0 *= 8
    agree([layer(x)[0]], [before], "y", torch.float16)


@pytest.mark.parametrize("kind", LAYERS)
def test_compiled_without_a_graph_break(kind, device, agree, whole_graph):
    layer = trained(kind(5, 8, backend="triton").to(device))
    x = torch.randn(4, 3, 5, device=device)
    found = whole_graph(layer)(x)[0]
    agree([found], [layer(x)[0]], "y", torch.float32)
    found.sum().backward()
    assert all(weight.grad is not None for weight in layer.parameters())


@pytest.mark.parametrize("kind", LAYERS)
def test_autocast(kind, device, agree):
    layer = trained(kind(5, 8, backend="triton").to(device))
    exact = kind(5, 8, backend="reference").double().to(device)
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(4, 3, 5, device=device)
    with torch.autocast(device, torch.bfloat16):
        y, _ = layer(x)
    assert y.dtype == torch.bfloat16
    agree([y], [exact(x.double())[0]], "y", torch.bfloat16)
    y.sum().backward()
    assert all(weight.grad.dtype == torch.float32 for weight in layer.parameters())


@pytest.mark.parametrize("kind", LAYERS)
def test_recomputed_gates_give_the_same_gradients(kind, device):
    x = torch.randn(4, 3, 5, device=device)
    found = []
    for recompute in (False, True):
        layer = trained(kind(5, 8, 2, backend="triton", recompute=recompute).to(device))
        layer(x)[0].square().sum().backward()
        found.append([weight.grad for weight in layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_has_nn_parameters_and_gains(kind):
    layer = kind(5, 8, 2, bidirectional=True, bias=False)
    names = {name for name, _ in layer.named_parameters()}
    plain = {
        name
        for name, _ in kind.namesake(5, 8, 2, bidirectional=True, bias=False).named_parameters()
    }
    gains = {name.replace("weight", "gain") for name in plain}
    cells = {name.replace("gain_ih", "gain_c") for name in gains if "ih" in name}
    assert names == plain | gains | (cells if kind is LayerNormLSTM else set())


def test_what_torch_nn_has_no_layer_for_is_said(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    found = explain("layer_norm_lstm", hidden_size=64)
    assert found.backend == "reference"
    assert "not on cpu" in found.reason
    with pytest.raises(RuntimeError, match="nor layer normalization"):
        LayerNormGRU(5, 8, backend="torch")(torch.zeros(4, 3, 5))
    with pytest.raises(ValueError, match="proj_size is served by backend='torch' alone"):
        LayerNormLSTM(5, 8, proj_size=4)
