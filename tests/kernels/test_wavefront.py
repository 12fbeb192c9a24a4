"""Layers that walk in one launch against float64, one step a launch in the interpreter."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from test_spread import COUNTS, NAMES, cut, walk_of

from lm_research.kernels import reference
from lm_research.kernels.walk import Walk

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


@pytest.mark.parametrize("cell", COUNTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_three_layers_with_lengths_resets_and_dropout(cell, dtype, device, agree):
    walk = walk_of(device, 3, 3, reverse=dtype == torch.bfloat16)
    compare(agree, cell, dtype, device, (3, 3, 3, 32), walk, cut(groups=3))


@pytest.mark.parametrize("cell", COUNTS)
@pytest.mark.parametrize("sizes", [(2, 1, 1, 32), (2, 17, 2, 32), (4, 2, 7, 64)], ids=str)
def test_odd_shapes_without_dropout(cell, sizes, device, agree):
    walk = Walk(precision="ieee")
    plan = dataclasses.replace(cut(), groups=sizes[0])
    compare(agree, cell, torch.float64, device, sizes, walk, plan, fed=False)
