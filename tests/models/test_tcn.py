"""The TCN against the paper's network, built from torch.nn's weight-normed convolutions."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from lm_research.models.tcn import TCN, NormalizedConvolution


def random_input(batch, steps, size):
    return torch.randn(batch, steps, size, dtype=torch.float64)


def conv1d_of(own, inputs):
    """torch's weight-normed convolution with the same g, v and b."""
    outputs, k = len(own.gain), own.kernel_size
    conv = weight_norm(nn.Conv1d(inputs, outputs, k, dilation=own.dilation)).double()
    with torch.no_grad():
        conv.parametrizations.weight.original0.copy_(own.gain[:, None, None])
        direction_HCk = own.direction.view(outputs, k, inputs).transpose(1, 2)
        conv.parametrizations.weight.original1.copy_(direction_HCk)
        conv.bias.copy_(own.bias)
    return conv


def reference(model, x_BTD):
    """Pad by (k - 1) d on both sides, convolve, and cut the end off, as the authors do."""
    y = x_BTD.transpose(1, 2)
    for block in model.blocks:
        inside = y
        for own in (block.first, block.second):
            conv = conv1d_of(own, inside.shape[1])
            chomp = (own.kernel_size - 1) * own.dilation
            steps = inside.shape[2]
            inside = F.relu(conv(F.pad(inside, (chomp, chomp)))[:, :, :steps])
        if isinstance(block.residual, nn.Linear):
            y = F.conv1d(y, block.residual.weight[..., None], block.residual.bias)
        y = F.relu(inside + y)
    return y.transpose(1, 2)


SHAPES = [
    (1, 2, (5, 6, None)),
    (2, 3, (6, 6, None)),
    (3, 3, (5, 6, 5)),
    (3, 1, (4, 6, 4)),
    (4, 2, (6, 6, 3)),
]


@pytest.mark.parametrize("init", ["torch", "normal", "authors"])
@pytest.mark.parametrize(("kernel_size", "layers", "sizes"), SHAPES)
def test_equals_the_papers_network(kernel_size, layers, sizes, init):
    torch.manual_seed(0)
    inputs, hidden, outputs = sizes
    model = TCN(inputs, hidden, layers, kernel_size, outputs, init=init).double()
    with torch.no_grad():  # gains that are not the norm, as after training
        for one in model.modules():
            if isinstance(one, NormalizedConvolution):
                one.gain.mul_(1.5)
    x_BTD = random_input(2, 20, inputs).requires_grad_()
    y_BTH, expected = model(x_BTD)[0], reference(model, x_BTD)
    assert y_BTH.shape[2] == model.output_size == (outputs or hidden)
    torch.testing.assert_close(y_BTH, expected)
    (gradient,) = torch.autograd.grad(y_BTH.square().sum(), x_BTD)
    (other,) = torch.autograd.grad(expected.square().sum(), x_BTD)
    torch.testing.assert_close(gradient, other)


def test_gradients_of_gain_and_direction_are_those_of_weight_normalization():
    torch.manual_seed(0)
    own = NormalizedConvolution(4, 6, 3, 2).double()
    conv, x_BSC = conv1d_of(own, 4), random_input(2, 15, 4)
    own(x_BSC, own.weight()).square().sum().backward()
    conv(x_BSC.transpose(1, 2)).square().sum().backward()
    parts = conv.parametrizations.weight
    torch.testing.assert_close(own.gain.grad, parts.original0.grad.flatten())
    turned = parts.original1.grad.transpose(1, 2).flatten(1)
    torch.testing.assert_close(own.direction.grad, turned)
    torch.testing.assert_close(own.bias.grad, conv.bias.grad)


@settings(max_examples=20, deadline=None)
@given(layers=st.integers(1, 3), kernel_size=st.integers(1, 4), at=st.integers(0, 3))
def test_the_receptive_field_is_exact(layers, kernel_size, at):
    model = TCN(3, 16, layers, kernel_size).double()
    with torch.no_grad():  # no unit is cut off, so that every tap shows
        for parameter in model.parameters():
            parameter.abs_()
    field = model.receptive_field
    assert field == 1 + 2 * (kernel_size - 1) * (2**layers - 1)
    x_BTD = random_input(1, at + field + 3, 3).abs()
    changed = x_BTD.clone()
    changed[:, at] += 1
    with torch.no_grad():
        moved_T = (model(x_BTD)[0] != model(changed)[0]).any(2)[0]
    assert not moved_T[:at].any()
    assert moved_T[at]
    assert moved_T[at + field - 1]
    assert not moved_T[at + field :].any()


def test_the_papers_fields_and_sizes():
    """Characters: 29 behind each of the 320 that are scored; 2.2 million parameters. Words: 61."""
    characters = TCN(100, 450, 3, 3, 100)
    assert characters.receptive_field == 29
    weights = 3 * (100 * 450 + 3 * 450 * 450 + 450 * 100 + 100 * 100) + 2 * 100 * 450
    biases = 2 * 450 + 2 * 450 + 2 * 100 + 450 + 100
    gains = 4 * 450 + 2 * 100
    assert sum(p.numel() for p in characters.parameters()) == weights + biases + gains
    assert TCN(600, 600, 4).receptive_field == 61


DEVIATIONS = [("normal", 0.01, 0.01), ("authors", None, 0.01), ("torch", None, None)]


@pytest.mark.parametrize(("init", "convolutions", "maps"), DEVIATIONS)
def test_how_weights_begin(init, convolutions, maps):
    torch.manual_seed(0)
    model = TCN(100, 200, 2, init=init)
    first, residual = model.blocks[0].first, model.blocks[0].residual
    torchs_conv, torchs_map = (math.sqrt(1 / fan / 3) for fan in (300, 100))
    found = float(first.weight().detach().std())
    assert found == pytest.approx(convolutions or torchs_conv, rel=0.05)
    assert float(residual.weight.detach().std()) == pytest.approx(maps or torchs_map, rel=0.05)
    torch.testing.assert_close(first.weight(), first.direction)  # g is |v| at first


@pytest.mark.parametrize("field", ["hidden_size", "num_layers", "kernel_size", "output_size"])
def test_bad_sizes_are_named(field):
    with pytest.raises(ValueError, match=f"{field}.*0"):
        TCN(3, **{"hidden_size": 4, field: 0})


def test_bad_settings_are_named():
    for field in ("dropout", "input_dropout"):
        with pytest.raises(ValueError, match=f"^{field} is 1.5"):
            TCN(3, 4, **{field: 1.5})
    with pytest.raises(ValueError, match="init is 'keras'"):
        TCN(3, 4, init="keras")
