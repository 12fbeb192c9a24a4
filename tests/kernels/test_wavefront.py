"""Layers that walk in one launch against float64, one step a launch in the interpreter."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from test_spread import COUNTS, NAMES, cut, run_compiled, walk_of

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN, lstm_scan, reference
from lm_research.kernels.walk import Walk

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32
"""A GPU has wavefronts in 16 bits alone."""
SCANS = {"rnn": reference.rnn_scan, "lstm": reference.lstm_scan, "gru": reference.gru_scan}


def case(cell, dtype, device, layers, batch, steps, hidden, fed=True, seed=0):
    """(gates, states, W and b of the upper layers, U, the GRU's inner bias, what is fed)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).to(device)

    width = COUNTS[cell] * hidden
    gates = draw(batch, steps, width)
    states = [draw(layers, batch, hidden) for _ in range(2 if cell == "lstm" else 1)]
    between = draw(layers - 1, width, hidden) / hidden**0.5
    bias = draw(layers - 1, width)
    weight = draw(layers, width, hidden) / hidden**0.5
    inner = [draw(layers, hidden)] if cell == "gru" else []
    shape = (layers - 1, batch, steps, hidden)
    feed = (torch.rand(shape, generator=generator) < 0.5).to(dtype).to(device) * 2 if fed else None
    return gates, states, between, bias, weight, inner, feed


def wave(cell, tensors, walk, cotangents, plan):
    """Outputs and gradients by one wavefront forward and one backward."""
    from lm_research.kernels.fused.spread import elman, gru, lstm
    from lm_research.kernels.fused.spread.launch import Stack

    gates, states, between, bias, weight, inner, feed = tensors
    stack = Stack(between, bias, feed, None if feed is None else torch.empty_like(feed))
    options = {"plan": plan, "stack": stack}
    if cell == "lstm":
        y, h, c, *saved = lstm.forward(gates, weight, *states, walk, True, **options)
        grads = lstm.backward(*cotangents, *saved, None, weight, walk, **options)
        return [y[-1], h, c, *grads]
    if cell == "gru":
        y, h, saved = gru.forward(gates, weight, *states, *inner, walk, True, **options)
        before = previous_of(y, states[0], walk)
        dgates, dinner, dh0 = gru.backward(
            *cotangents, saved, before, weight, *inner, walk, **options
        )
        return [y[-1], h, dgates, dh0, dinner.double().sum((1, 2))]
    relu = cell == "rnn_relu"
    y, h, _ = elman.forward(gates, weight, *states, walk, True, relu, **options)
    return [y[-1], h, *elman.backward(*cotangents, y, weight, walk, relu, **options)]


def previous_of(y, h0, walk):
    from lm_research.kernels.ops import previous

    return torch.stack([previous(*pair, walk) for pair in zip(y, h0, strict=True)])


def oracle(cell, tensors, walk, cotangents):
    """The same layer by layer through the float64 reference and autograd."""
    tensors = [t if isinstance(t, list) or t is None else t.double() for t in tensors]
    gates, states, between, bias, weight, inner, feed = tensors
    states, inner = ([t.double().requires_grad_() for t in given] for given in (states, inner))
    every, after = [gates.requires_grad_()], []
    for layer in range(len(weight)):
        given = [part[layer] for part in (*states, *inner)]
        more = [] if cell in ("lstm", "gru") else ["relu" if cell == "rnn_relu" else "tanh"]
        scan = SCANS[cell.removesuffix("_relu")]
        y, *last = scan(every[-1], weight[layer], *given, walk, *more)
        after.append(last)
        if layer < len(weight) - 1:
            x = y if feed is None else y * feed[layer]
            every.append(F.linear(x, between[layer], bias[layer]))
    outputs = [y, *map(torch.stack, zip(*after, strict=True))]
    found = torch.autograd.grad(
        outputs, [*every, *states, *inner], [c.double() for c in cotangents]
    )
    return [*outputs, torch.stack(found[: len(every)]), *found[len(every) :]]


def compare(agree, cell, dtype, device, sizes, walk, plan, fed=True):
    tensors = case(cell, dtype, device, *sizes, fed)
    generator = torch.Generator().manual_seed(1)
    shapes = [sizes[1:], *(state.shape for state in tensors[1])]
    cotangents = [torch.randn(s, generator=generator).to(tensors[0]) for s in shapes]
    found = wave(cell, tensors, walk, cotangents, plan)
    expected = oracle(cell, tensors, walk, cotangents)
    agree(found, expected, NAMES[cell.removesuffix("_relu")], dtype)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("cell", COUNTS)
def test_lengths_resets_and_dropout(cell, device, agree):
    walk = walk_of(device, 3, 3, reverse=cell == "gru")
    compare(agree, cell, torch.float32, device, (2, 3, 3, 32), walk, cut(groups=2))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_three_layers_in_16_bits(dtype, device, agree):
    walk = walk_of(device, 2, 2)
    compare(agree, "lstm", dtype, device, (3, 2, 2, 32), walk, cut(groups=3))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("sizes", [(2, 1, 1, 32), (2, 17, 1, 32), (3, 2, 2, 32)], ids=str)
def test_odd_shapes_without_dropout(cell, sizes, device, agree):
    walk = Walk(precision="ieee")
    plan = dataclasses.replace(cut(), groups=sizes[0])
    compare(agree, cell, torch.float64, device, sizes, walk, plan, fed=False)


LAYERS = {"rnn": FusedRNN, "lstm": FusedLSTM, "gru": FusedGRU}


def pair(cell, **options):
    """A layer whose stack is a wavefront, and the reference with the same weights, in float64."""
    torch.manual_seed(0)
    fused, plain = (
        LAYERS[cell](5, 128, 2, batch_first=True, backend=backend, **options)
        for backend in ("triton:wavefront", "reference")
    )
    fused.to(DEVICE, DTYPE)
    plain.load_state_dict(fused.state_dict())
    return fused, plain.to(DEVICE).double()


def gradients(layer, x, states, **options):
    y, after = layer(x, states if layer.mode == "LSTM" else states[0], **options)
    parts = [y, *(after if layer.mode == "LSTM" else [after])]
    loss = sum((part.double() ** 2).sum() for part in parts)
    return [*parts, *torch.autograd.grad(loss, [x, states[0], *layer.parameters()])]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("bias", [True, False])
def test_layers_agree_with_the_reference(cell, bias, agree):
    fused, plain = pair(cell, bias=bias)
    x = torch.randn(2, 2, 5, device=DEVICE, dtype=DTYPE)
    states = [torch.randn(2, 2, 128, device=DEVICE, dtype=DTYPE) for _ in range(2)]
    more = {
        "lengths": torch.tensor([2, 1], device=DEVICE),
        "reset_mask": torch.tensor([[0, 1], [0, 0]], device=DEVICE).bool(),
    }
    found = gradients(fused, x.requires_grad_(), [s.requires_grad_() for s in states], **more)
    x, states = x.detach().double(), [s.detach().double() for s in states]
    expected = gradients(plain, x.requires_grad_(), [s.requires_grad_() for s in states], **more)
    names = [str(number) for number in range(len(found))]
    agree(found, expected, names, DTYPE)


def test_dropout_between_layers_is_that_of_the_draw(agree):
    """With the seed that it was drawn with, each layer's y is dropped as the reference would."""
    fused, plain = pair("lstm", dropout=0.5)
    x = torch.randn(2, 2, 5, device=DEVICE, dtype=DTYPE)
    torch.manual_seed(5)
    y = fused(x)[0]
    torch.manual_seed(5)
    feed = F.dropout(torch.ones(1, 2, 2, 128, device=DEVICE, dtype=DTYPE), 0.5).double()
    below = x.double()
    for layer in range(2):
        w, u, bias, _ = plain._weights(layer)
        below = lstm_scan(F.linear(below, w, bias), u, backend="reference")[0]
        below = below * feed[layer] if layer < 1 else below
    agree([y], [below], ["y"], DTYPE)
    assert torch.equal(fused.eval()(x)[0], fused(x)[0])


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", LAYERS)
def test_the_compiler_sees_no_break(cell, whole_graph, agree):
    fused, _ = pair(cell, dropout=0.5)
    x = torch.randn(1, 1, 5, device=DEVICE, dtype=DTYPE)
    torch.manual_seed(1)
    expected = fused(x)[0].detach()
    torch.manual_seed(1)
    y = whole_graph(fused)(x)[0]
    y.sum().backward()
    agree([y.detach()], [expected], ["y"], DTYPE)


REFUSED = [
    ({"num_layers": 1}, "several layers"),
    ({"num_layers": 2, "bidirectional": True}, "one direction"),
    ({"num_layers": 2, "recompute": True}, "recompute=False"),
    ({"num_layers": 2, "num_heads": 2}, "heads"),
    ({"num_layers": 2, "zoneout": 0.1}, "zoneout"),
    ({"num_layers": 40}, "40 layers at once do not fit"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_is_no_wavefront_is_named(options, said):
    layer = FusedLSTM(5, 128, backend="triton:wavefront", batch_first=True, **options)
    with pytest.raises(RuntimeError, match=said):
        layer.to(DEVICE, DTYPE)(torch.randn(2, 3, 5, device=DEVICE, dtype=DTYPE))


def test_an_odd_number_of_units_is_named():
    layer = FusedLSTM(5, 100, 2, backend="triton:wavefront", batch_first=True).to(DEVICE, DTYPE)
    with pytest.raises(RuntimeError, match="multiple of 128 units"):
        layer(torch.randn(2, 3, 5, device=DEVICE, dtype=DTYPE))


def test_no_second_derivative():
    fused, _ = pair("gru")
    x = torch.randn(1, 1, 5, device=DEVICE, dtype=DTYPE, requires_grad=True)
    (first,) = torch.autograd.grad(fused(x)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated twice"):
        first.sum().backward()


@pytest.mark.one_in(4)
@pytest.mark.parametrize(("cell", "seed"), [("lstm", "7"), ("gru", "3")])
def test_layers_that_wait_for_each_other(cell, seed):
    """What the compiler makes of it, eight programs of two layers side by side, without a GPU."""
    run_compiled(cell, "sm_90", seed, "2")
