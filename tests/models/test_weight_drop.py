"""Weight drop against torch.nn with a matrix of which entries are missing; a last layer's own size.

Which entries are missing is read off the gradient of U, which is zero there and nowhere else.
"""

import copy

import pytest
import torch
from torch import nn

from lm_research.models.gru import GRU
from lm_research.models.lstm import LSTM
from lm_research.models.rnn import RNN

INPUT_SIZE, HIDDEN_SIZE, BATCH, STEPS = 5, 12, 3, 11
P = 0.4
CELLS = {
    "tanh": (RNN, {"nonlinearity": "tanh"}, nn.RNN),
    "relu": (RNN, {"nonlinearity": "relu"}, nn.RNN),
    "lstm": (LSTM, {}, nn.LSTM),
    "gru": (GRU, {}, nn.GRU),
}
every_cell = pytest.mark.parametrize("cell", CELLS)
every_class = pytest.mark.parametrize("cls", [RNN, LSTM, GRU])


def random_input(dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(BATCH, STEPS, INPUT_SIZE, generator=generator, dtype=dtype)


def built(cls, layers=2, dtype=torch.float64, **options):
    torch.manual_seed(0)
    return cls(INPUT_SIZE, HIDDEN_SIZE, layers, **options).to(dtype).train()


def kept(model):
    """Of each layer, where its U has a gradient."""
    return [layer.weight_hh_l0.grad != 0 for layer in model.layers]


@every_cell
def test_it_is_torchs_layer_with_a_matrix_of_which_entries_are_missing(cell):
    ours, arguments, theirs = CELLS[cell]
    model, x_BTD = built(ours, weight_drop=P, **arguments), random_input()
    with torch.no_grad():
        for parameter in model.parameters() if cell == "relu" else []:
            parameter.abs_()  # no unit is ever off, which would hide its row of the mask
            parameter.add_(2.0 if parameter.dim() == 1 else 0.0)
    y_BTH, _ = model(x_BTD)
    weight = torch.randn_like(y_BTH)
    (y_BTH * weight).sum().backward()
    oracle = theirs(INPUT_SIZE, HIDDEN_SIZE, 2, batch_first=True, **arguments).double()
    with torch.no_grad():
        for index, (layer, mask) in enumerate(zip(model.layers, kept(model), strict=True)):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(oracle, f"{name}_l{index}").copy_(getattr(layer, f"{name}_l0"))
            getattr(oracle, f"weight_hh_l{index}").mul_(mask.double() / (1 - P))
    z_BTH, _ = oracle(x_BTD)
    torch.testing.assert_close(y_BTH, z_BTH)
    (z_BTH * weight).sum().backward()
    for index, (layer, mask) in enumerate(zip(model.layers, kept(model), strict=True)):
        for name in ("weight_ih", "bias_ih", "bias_hh"):
            expected = getattr(oracle, f"{name}_l{index}").grad
            torch.testing.assert_close(getattr(layer, f"{name}_l0").grad, expected)
        expected = getattr(oracle, f"weight_hh_l{index}").grad * mask.double() / (1 - P)
        torch.testing.assert_close(layer.weight_hh_l0.grad, expected)


OPTIONS = {
    "layer norm": {"layer_norm": True},
    "one bias": {"recurrent_bias": False},
    "residual": {"residual": True},
    "reference": {"backend": "reference"},
    "torch": {"backend": "torch"},
}


@every_class
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_any_kind_of_layer_computes_with_the_dropped_matrix(cls, options):
    model, x_BTD = built(cls, weight_drop=P, **options), random_input()
    y_BTH, _ = model(x_BTD)
    y_BTH.square().sum().backward()
    whole = built(cls, **options)
    with torch.no_grad():
        for layer, mask in zip(whole.layers, kept(model), strict=True):
            layer.weight_hh_l0.mul_(mask.double() / (1 - P))
    torch.testing.assert_close(y_BTH, whole(x_BTD)[0])


@pytest.mark.parametrize("cls", [RNN, GRU])
def test_compiled_scans_compute_with_it_too(cls):
    pytest.importorskip("numba")
    model, x_BTD = built(cls, dtype=torch.float32, weight_drop=P, backend="cpu"), random_input()
    y_BTH, _ = model(x_BTD.float())
    y_BTH.square().sum().backward()
    whole = built(cls, backend="reference")
    with torch.no_grad():
        for layer, mask in zip(whole.layers, kept(model), strict=True):
            layer.weight_hh_l0.mul_(mask.double() / (1 - P))
    torch.testing.assert_close(y_BTH.double(), whole(x_BTD)[0], rtol=1e-5, atol=1e-5)


@every_class
def test_a_share_of_entries_is_dropped_and_each_window_draws_anew(cls):
    torch.manual_seed(0)
    model = cls(INPUT_SIZE, 64, 1, weight_drop=P).double().train()
    masks = []
    for _ in range(2):
        model.zero_grad()
        model(random_input())[0].square().sum().backward()
        masks += kept(model)
    count = masks[0].numel()
    for mask in masks:
        assert mask.double().mean() == pytest.approx(1 - P, abs=5 * (P * (1 - P) / count) ** 0.5)
    both = (masks[0] & masks[1]).double().mean()
    assert both == pytest.approx((1 - P) ** 2, abs=0.03)


@every_class
def test_in_evaluation_the_matrix_is_whole(cls):
    model, plain, x_BTD = built(cls, weight_drop=P), built(cls), random_input()
    assert not torch.allclose(model(x_BTD)[0], plain(x_BTD)[0])
    model.eval()
    plain.eval()
    assert torch.equal(model(x_BTD)[0], plain(x_BTD)[0])
    steps = model.stepper(), plain.stepper()
    with torch.no_grad():
        one, other = (step(x_BTD[:, 0], None)[0] for step in steps)
    assert torch.equal(one, other)


@every_class
def test_the_parameters_stay_what_they_are(cls):
    model, plain = built(cls, weight_drop=P), built(cls)
    before = list(model.named_parameters())
    model(random_input())[0].sum().backward()
    after = list(model.named_parameters())
    assert [(name, id(p)) for name, p in before] == [(name, id(p)) for name, p in after]
    for (name, one), (other, whole) in zip(after, plain.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(one, whole)
        assert one.is_leaf
    copied = copy.deepcopy(model)  # as an average of the weights does
    assert copied.state_dict().keys() == plain.state_dict().keys()


@every_class
def test_a_last_layer_of_another_size_is_torchs_two_layers(cls):
    theirs = getattr(nn, cls.__name__)
    model = built(cls, 3, last_hidden_size=7, start="learned")
    assert model.output_size == 7
    lower = theirs(INPUT_SIZE, HIDDEN_SIZE, 2, batch_first=True).double()
    last = theirs(HIDDEN_SIZE, 7, batch_first=True).double()
    with torch.no_grad():
        for index, layer in enumerate(model.layers):
            oracle, at = (lower, index) if index < 2 else (last, 0)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(oracle, f"{name}_l{at}").copy_(getattr(layer, f"{name}_l0"))
    x_BTD = random_input()
    y_first, state = model(x_BTD[:, :4])
    y_rest, _ = model(x_BTD[:, 4:], state)
    expected, _ = last(lower(x_BTD)[0])
    torch.testing.assert_close(torch.cat([y_first, y_rest], 1), expected)
    with torch.no_grad():
        stepped, _ = model.eval().stepper()(x_BTD[:, 0], None)
    torch.testing.assert_close(stepped, expected[:, 0])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weight_drop": 1.0}, r"weight_drop is 1.0; it must lie within \[0, 1\)"),
        ({"last_hidden_size": 0}, "last_hidden_size is 0; it must be at least 1"),
        ({"last_hidden_size": 5, "residual": True}, r"last_hidden_size is 5, and must be.*12"),
    ],
)
@every_class
def test_bad_values_are_named(cls, options, told):
    with pytest.raises(ValueError, match=told):
        built(cls, **options)


@every_class
def test_bfloat16_autocast_trains(cls):
    model, x_BTD = built(cls, dtype=torch.float32, weight_drop=P), random_input().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            _, state = model(x_BTD)
        y_BTH, _ = model(x_BTD, state)
    y_BTH.float().square().sum().backward()
    for layer in model.layers:
        gradient = layer.weight_hh_l0.grad
        assert gradient.dtype == torch.float32
        assert 0.2 < (gradient == 0).double().mean() < 0.6
