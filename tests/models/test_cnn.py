"""The causal CNN against torch.nn.Conv1d on left-padded input, and its reach."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lm_research.models.cnn import CausalCNN


def random_input(batch, steps, size):
    return torch.randn(batch, steps, size, dtype=torch.float64)


def conv1d_of(convolution):
    """torch's convolution with the same weights: (2H, H, k)."""
    doubled, width = convolution.taps.weight.shape
    kernel_size = convolution.kernel_size
    channels = width // kernel_size
    oracle = nn.Conv1d(channels, doubled, kernel_size, dilation=convolution.dilation).double()
    with torch.no_grad():
        for tap in range(kernel_size):
            columns = slice(tap * channels, (tap + 1) * channels)
            oracle.weight[:, :, tap] = convolution.taps.weight[:, columns]
        oracle.bias.copy_(convolution.taps.bias)
    return oracle


def reference(model, x_BTD):
    y = model.project(x_BTD).transpose(1, 2)
    for convolution in model.convolutions:
        oracle = conv1d_of(convolution)
        padded = F.pad(y, ((oracle.kernel_size[0] - 1) * oracle.dilation[0], 0))
        linear, gate = oracle(padded).chunk(2, dim=1)
        y = y + linear * torch.sigmoid(gate)
    return y.transpose(1, 2)


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
@pytest.mark.parametrize(("kernel_size", "growth"), [(1, 2), (2, 2), (3, 2), (3, 1), (4, 3)])
def test_equals_conv1d_on_left_padded_input(kernel_size, growth, steps):
    torch.manual_seed(0)
    model = CausalCNN(5, 6, 3, kernel_size, growth).double()
    x_BTD = random_input(2, steps, 5).requires_grad_()
    y_BTH, expected = model(x_BTD)[0], reference(model, x_BTD)
    torch.testing.assert_close(y_BTH, expected)
    (gradient,) = torch.autograd.grad(y_BTH.square().sum(), x_BTD)
    (other,) = torch.autograd.grad(expected.square().sum(), x_BTD)
    torch.testing.assert_close(gradient, other)


def test_dilation_doubles_layer_by_layer():
    model = CausalCNN(4, 4, 4, 3)
    assert [convolution.dilation for convolution in model.convolutions] == [1, 2, 4, 8]
    assert [s.shape[1] for s in model.initial_state(2)] == [2, 4, 8, 16]


def test_kernel_size_one_is_a_gated_network_at_each_position():
    torch.manual_seed(0)
    model = CausalCNN(4, 4, 2, kernel_size=1).double()
    x_BTD = random_input(2, 9, 4)
    for t in range(9):
        h = x_BTD[:, t]
        for convolution in model.convolutions:
            a, b = (h @ convolution.taps.weight.T + convolution.taps.bias).split(4, dim=1)
            h = h + a * b.sigmoid()
        torch.testing.assert_close(model(x_BTD)[0][:, t], h)


@settings(max_examples=30, deadline=None)
@given(
    num_layers=st.integers(1, 3),
    kernel_size=st.integers(1, 4),
    growth=st.integers(1, 3),
    at=st.integers(0, 3),
)
def test_the_receptive_field_is_exact(num_layers, kernel_size, growth, at):
    torch.manual_seed(0)
    model = CausalCNN(3, 3, num_layers, kernel_size, growth).double()
    field = model.receptive_field
    assert field == 1 + (kernel_size - 1) * sum(growth**layer for layer in range(num_layers))
    x_BTD = random_input(1, at + field + 3, 3)
    changed = x_BTD.clone()
    changed[:, at] += 1
    with torch.no_grad():
        moved_T = (model(x_BTD)[0] != model(changed)[0]).any(2)[0]
    assert not moved_T[:at].any()
    assert moved_T[at]
    assert moved_T[at + field - 1]
    assert not moved_T[at + field :].any()


def test_equal_sizes_need_no_projection():
    assert isinstance(CausalCNN(6, 6, 1).project, nn.Identity)
    assert isinstance(CausalCNN(5, 6, 1).project, nn.Linear)


@pytest.mark.parametrize("field", ["hidden_size", "num_layers", "kernel_size", "dilation_growth"])
def test_bad_sizes_are_named(field):
    with pytest.raises(ValueError, match=f"{field}.*0"):
        CausalCNN(3, **{"hidden_size": 4, field: 0})


def test_bad_dropout_is_named():
    with pytest.raises(ValueError, match="dropout"):
        CausalCNN(3, 4, dropout=1.5)
