"""RNN, LSTM and GRU against torch.nn with the same weights; initialization against Keras."""

import pytest
import torch
from torch import nn

from lm_research import kernels
from lm_research.models.gru import GRU
from lm_research.models.lstm import LSTM
from lm_research.models.rnn import RNN

INPUT_SIZE, HIDDEN_SIZE, BATCH, STEPS = 5, 7, 3, 11
CELLS = {
    "tanh": (RNN, {"nonlinearity": "tanh"}, nn.RNN),
    "relu": (RNN, {"nonlinearity": "relu"}, nn.RNN),
    "lstm": (LSTM, {}, nn.LSTM),
    "gru": (GRU, {}, nn.GRU),
}
every_cell = pytest.mark.parametrize("cell", CELLS)
every_class = pytest.mark.parametrize("cls", [RNN, LSTM, GRU])


def pair(cell, num_layers, **options):
    """Our model and torch.nn's, with the same weights, in float64."""
    ours, arguments, theirs = CELLS[cell]
    torch.manual_seed(0)
    model = ours(INPUT_SIZE, HIDDEN_SIZE, num_layers, **arguments, **options).double()
    oracle = theirs(INPUT_SIZE, HIDDEN_SIZE, num_layers, batch_first=True, **arguments).double()
    with torch.no_grad():
        for index, layer in enumerate(model.layers):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(oracle, f"{name}_l{index}").copy_(getattr(layer, f"{name}_l0"))
    return model, oracle


def hidden_of(state):
    """Our batch-first list as torch.nn's (layers, batch, size)."""
    if isinstance(state[0], tuple):
        return tuple(torch.stack(parts) for parts in zip(*state, strict=True))
    return torch.stack(state)


def random_input(**options):
    generator = torch.Generator().manual_seed(3)
    shape = (BATCH, STEPS, INPUT_SIZE)
    return torch.randn(shape, generator=generator, dtype=torch.float64, **options)


@every_cell
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_same_weights_same_outputs_and_gradients(cell, num_layers):
    model, oracle = pair(cell, num_layers)
    x_ours, x_theirs = random_input(requires_grad=True), random_input(requires_grad=True)
    (y_first, state), (z_first, hidden) = model(x_ours), oracle(x_theirs)
    (y_next, state), (z_next, hidden) = model(x_ours, state), oracle(x_theirs, hidden)
    torch.testing.assert_close(y_first, z_first)
    torch.testing.assert_close(y_next, z_next)
    torch.testing.assert_close(hidden_of(state), hidden)
    weight = torch.randn(y_next.shape, dtype=torch.float64)
    (y_first.sum() + (weight * y_next).sum()).backward()
    (z_first.sum() + (weight * z_next).sum()).backward()
    torch.testing.assert_close(x_ours.grad, x_theirs.grad)
    for index, layer in enumerate(model.layers):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            gradient = getattr(layer, f"{name}_l0").grad
            torch.testing.assert_close(gradient, getattr(oracle, f"{name}_l{index}").grad)


@every_cell
def test_lengths_equal_a_packed_sequence(cell):
    model, oracle = pair(cell, 2)
    x_BTD, lengths = random_input(), torch.tensor([4, STEPS, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x_BTD, lengths, True, enforce_sorted=False)
    packed, hidden = oracle(packed)
    expected, _ = nn.utils.rnn.pad_packed_sequence(packed, True, total_length=STEPS)
    y_BTH, state = model(x_BTD, lengths=lengths)
    torch.testing.assert_close(y_BTH, expected)
    torch.testing.assert_close(hidden_of(state), hidden)


@every_cell
@pytest.mark.parametrize("init", ["torch", "keras", "uniform"])
def test_without_recurrent_bias_there_is_one_bias(cell, init):
    model, oracle = pair(cell, 2, recurrent_bias=False, init=init)
    names = [name for name, _ in model.named_parameters()]
    assert not any("bias_hh" in name for name in names)
    assert not any("bias_hh" in name for name in model.state_dict())
    assert all(
        not parameter.any()
        for name, parameter in oracle.named_parameters()
        if "_hh" in name and "bias" in name
    )
    x_BTD = random_input()
    y_BTH, _ = model(x_BTD)
    torch.testing.assert_close(y_BTH, oracle(x_BTD)[0])
    y_BTH.sum().backward()
    oracle(x_BTD)[0].sum().backward()
    torch.testing.assert_close(model.layers[0].weight_hh_l0.grad, oracle.weight_hh_l0.grad)
    # The zeros follow the module to another dtype, and stay what torch.nn computes with.
    torch.testing.assert_close(model.float()(x_BTD.float())[0], oracle.float()(x_BTD.float())[0])


@every_class
def test_prepared_steps_have_residuals_and_a_learned_start(cls):
    model = cls(HIDDEN_SIZE, HIDDEN_SIZE, 3, residual=True, start="learned").eval()
    with torch.no_grad():
        for start_SH in model.start_SH:
            start_SH.normal_()
        x_BTD, found, state = torch.randn(4, 6, HIDDEN_SIZE), [], None
        step, expected = model.stepper(), model.double()(x_BTD.double())[0]
        model.float()
        for t in range(6):
            y_BH, state = step(x_BTD[:, t], state)
            found.append(y_BH)
    assert step != model.step
    torch.testing.assert_close(torch.stack(found, 1).double(), expected, rtol=0, atol=3e-6)


@every_class
def test_learned_start_is_trained_and_used(cls):
    model = cls(INPUT_SIZE, HIDDEN_SIZE, 2, start="learned").double()
    count = 2 if cls is LSTM else 1
    starts = [p for name, p in model.named_parameters() if name.startswith("start")]
    assert [tuple(p.shape) for p in starts] == [(count, HIDDEN_SIZE)] * 2
    x_BTD = random_input()
    assert torch.equal(model(x_BTD)[0], cls_like(model, cls)(x_BTD)[0])  # zero at first
    model(x_BTD)[0].sum().backward()
    assert all(p.grad.abs().min() > 0 for p in starts)
    with torch.no_grad():
        for start in starts:
            start.fill_(0.5)
    y_BTH, _ = model(x_BTD)
    torch.testing.assert_close(model(x_BTD, model.initial_state(BATCH))[0], y_BTH)
    half = [torch.full((BATCH, HIDDEN_SIZE), 0.5, dtype=torch.float64)] * count
    state = [tuple(half) if count == 2 else half[0]] * 2
    torch.testing.assert_close(cls_like(model, cls)(x_BTD, state)[0], y_BTH)


def cls_like(model, cls):
    """The same weights without the learned start."""
    other = cls(INPUT_SIZE, HIDDEN_SIZE, 2).double()
    other.load_state_dict({k: v for k, v in model.state_dict().items() if "start" not in k})
    return other


@every_class
def test_residual_adds_inputs_from_the_second_layer_on(cls):
    model = cls(INPUT_SIZE, HIDDEN_SIZE, 3, residual=True).double()
    x_BTD = random_input()
    y_BTH, _ = model.layers[0](x_BTD)
    for layer in model.layers[1:]:
        y_BTH = y_BTH + layer(y_BTH)[0]
    torch.testing.assert_close(model(x_BTD)[0], y_BTH)


@every_class
@pytest.mark.parametrize("init", ["torch", "keras", "uniform"])
def test_layer_norm_is_the_kernels_layer(cls, init):
    model = cls(INPUT_SIZE, HIDDEN_SIZE, 2, layer_norm=True, init=init).double()
    gains = [p for name, p in model.named_parameters() if name.split(".")[-1].startswith("gain")]
    assert len(gains) == (6 if cls is LSTM else 4)
    assert all((gain == 1).all() for gain in gains)
    oracle = getattr(kernels, f"LayerNorm{cls.__name__}")(
        INPUT_SIZE, HIDDEN_SIZE, 2, batch_first=True
    )
    weights = {
        name.replace("_l0", f"_l{index}"): weight
        for index, layer in enumerate(model.layers)
        for name, weight in layer.state_dict().items()
    }
    oracle.double().load_state_dict(weights)
    x_BTD = random_input()
    y_first, state = model(x_BTD[:, :4])
    y_last, _ = model(x_BTD[:, 4:], state)
    expected, _ = oracle(x_BTD)
    torch.testing.assert_close(torch.cat([y_first, y_last], 1), expected)


@every_class
def test_uniform_init_draws_from_its_range(cls):
    model = cls(50, 60, 2, init="uniform", init_range=0.04)
    for parameter in model.parameters():
        assert parameter.abs().max() <= 0.04
        assert parameter.abs().max() > 0.037
        assert parameter.mean().abs() < 0.01


@every_class
def test_torch_init_is_the_library_default(cls):
    torch.manual_seed(5)
    model = cls(INPUT_SIZE, HIDDEN_SIZE)
    torch.manual_seed(5)
    oracle = getattr(nn, cls.__name__)(INPUT_SIZE, HIDDEN_SIZE)
    for ours, theirs in zip(model.parameters(), oracle.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@every_class
def test_keras_init_is_distributed_as_in_keras(keras, cls):
    inputs, size = 40, 60
    name = {RNN: "SimpleRNN"}.get(cls, cls.__name__)
    layer = getattr(keras.layers, name)(size)
    layer.build((None, None, inputs))
    kernel, recurrent, bias = (torch.tensor(weight) for weight in layer.get_weights())
    ours = cls(inputs, size, init="keras").layers[0]
    weight_ih, weight_hh = ours.weight_ih_l0.detach().T, ours.weight_hh_l0.detach().T
    assert weight_ih.shape == kernel.shape
    assert weight_hh.shape == recurrent.shape
    # A uniform distribution is told by its end and its spread.
    assert weight_ih.abs().max() == pytest.approx(kernel.abs().max().item(), rel=0.01)
    assert weight_ih.std() == pytest.approx(kernel.std().item(), rel=0.05)
    torch.testing.assert_close(weight_hh @ weight_hh.T, recurrent @ recurrent.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.bias_ih_l0.detach(), bias.reshape(-1)[: len(ours.bias_ih_l0)])
    assert not ours.bias_hh_l0.any()


@every_class
def test_dropout_sits_between_layers_and_at_both_ends(cls):
    x_BTD = random_input()
    for place in ("input_dropout", "dropout", "output_dropout"):
        torch.manual_seed(0)
        model = cls(INPUT_SIZE, HIDDEN_SIZE, 2, **{place: 0.4}).double().train()
        torch.manual_seed(1)
        y_BTH, _ = model(x_BTD)
        torch.manual_seed(1)
        expected = nn.functional.dropout(x_BTD, 0.4) if place == "input_dropout" else x_BTD
        for index, layer in enumerate(model.layers):
            if index and place == "dropout":
                expected = nn.functional.dropout(expected, 0.4)
            expected, _ = layer(expected)
        if place == "output_dropout":
            expected = nn.functional.dropout(expected, 0.4)
        torch.testing.assert_close(y_BTH, expected)


@every_class
def test_one_layer_has_nothing_between_layers(cls):
    model = cls(INPUT_SIZE, HIDDEN_SIZE, 1, dropout=0.9).double().train()
    x_BTD = random_input()
    assert torch.equal(model(x_BTD)[0], model.eval()(x_BTD)[0])


@every_class
def test_variational_masks_stay_the_same_within_a_window(cls):
    model = cls(INPUT_SIZE, 200, 1, output_dropout=0.3, dropout_kind="variational").train()
    torch.manual_seed(0)
    with torch.no_grad():
        y_BTH, _ = model(random_input().float())
        plain, _ = model.eval()(random_input().float())
    ratio = y_BTH / plain
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    kept = ratio[:, 0] > 0.5
    torch.testing.assert_close(ratio[:, 0][kept], torch.full_like(ratio[:, 0][kept], 1 / 0.7))
    assert kept.float().mean() == pytest.approx(0.7, abs=0.08)
    assert not torch.equal(kept[0], kept[1])


@every_class
def test_standard_masks_change_at_every_step(cls):
    model = cls(INPUT_SIZE, 200, 1, output_dropout=0.3).train()
    with torch.no_grad():
        zero_BTH = model(random_input().float())[0] == 0
    assert not torch.equal(zero_BTH[:, 0], zero_BTH[:, 1])
    assert zero_BTH.float().mean() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 0),
        ("num_layers", 0),
        ("dropout", 1.0),
        ("input_dropout", -0.1),
        ("output_dropout", 2),
        ("dropout_kind", "gaussian"),
        ("start", "random"),
        ("init", "xavier"),
    ],
)
@every_class
def test_bad_values_are_named(cls, field, value):
    arguments = {"hidden_size": 4, "num_layers": 1} | {field: value}
    with pytest.raises(ValueError, match=rf"\b{field}\b.*{value}"):
        cls(3, **arguments)


def test_bad_nonlinearity_is_named():
    with pytest.raises(ValueError, match=r"nonlinearity.*sigmoid"):
        RNN(3, 4, nonlinearity="sigmoid")


def test_bfloat16_autocast_trains():
    """torch's own LSTM refuses float32 inputs here."""
    for cls in (RNN, LSTM, GRU):
        model = cls(INPUT_SIZE, HIDDEN_SIZE, 2).train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _, state = model(random_input().float())
            y_BTH, _ = model(random_input().float(), state)
        y_BTH.float().square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
        model(random_input().float(), state)  # the state is of use outside autocast, too
