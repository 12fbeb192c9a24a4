"""What every sequence model promises; a model is tested here as soon as its YAML is there."""

import copy
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lm_research.kernels import obstacles
from lm_research.models.sequence_model import SequenceModel

CONF = Path(__file__).parents[2] / "conf" / "model"
BUDGET = {"budget": {"hidden_size": 8, "num_layers": 2}}
INPUT_SIZE, BATCH, STEPS = 5, 3, 13


def tiny(value):
    """Sizes cut down, so that thirteen steps reach beyond every window."""
    return min(value, 4) if type(value) is int else value


def load(path):
    raw = OmegaConf.load(path)
    arguments = OmegaConf.to_container(raw)
    arguments = {name: tiny(value) for name, value in arguments.items()}
    merged = OmegaConf.merge(BUDGET, {"model": arguments}).model
    arguments = OmegaConf.to_container(merged, resolve=True)
    module, _, name = arguments.pop("_target_").rpartition(".")
    return getattr(import_module(module), name), arguments


OPTIONS = {
    path.stem: loaded
    for path in sorted(CONF.glob("*.yaml"))
    if issubclass((loaded := load(path))[0], SequenceModel)
}
every_model = pytest.mark.parametrize("option", OPTIONS)


def build(option, dtype=torch.float32, input_size=INPUT_SIZE, **changes):
    torch.manual_seed(0)
    cls, arguments = OPTIONS[option]
    return cls(input_size, **{**arguments, **changes}).to(dtype).eval()


def random_input(seed=0, batch=BATCH, steps=STEPS, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, steps, INPUT_SIZE, generator=generator, dtype=dtype)


def map_state(function, state):
    if isinstance(state, torch.Tensor):
        return function(state)
    return type(state)(map_state(function, part) for part in state)


def tensors(state):
    if isinstance(state, torch.Tensor):
        return [state]
    return [tensor for part in state for tensor in tensors(part)]


def assert_same_state(state, expected, **tolerance):
    for tensor, other in zip(tensors(state), tensors(expected), strict=True):
        torch.testing.assert_close(tensor, other, **tolerance)


def run_in_pieces(model, x_BTD, cuts):
    state, pieces = None, []
    bounds = [0, *sorted(cuts), x_BTD.shape[1]]
    for start, stop in pairwise(bounds):
        y_BTH, state = model(x_BTD[:, start:stop], state)
        pieces.append(y_BTH)
    return torch.cat(pieces, 1), state


SINGLE = {"rtol": 1e-5, "atol": 1e-6}
DOUBLE = {"rtol": 1e-10, "atol": 1e-10}


def test_the_sequence_models_are_found():
    recurrent = {"rnn", "lstm", "gru", "min_gru", "min_lstm"}
    assert recurrent | {"cnn", "tcn", "transformer", "nplm", "log_bilinear"} <= set(OPTIONS)
    assert "ngram" not in OPTIONS


@every_model
def test_output_has_the_announced_size_and_dtype(option):
    for dtype in (torch.float32, torch.float64):
        model = build(option, dtype)
        y_BTH, _ = model(random_input(dtype=dtype))
        assert y_BTH.shape == (BATCH, STEPS, model.output_size)
        assert y_BTH.dtype == dtype


@every_model
@pytest.mark.parametrize("input_size", [1, 8])
def test_any_input_size_works(option, input_size):
    y_BTH, _ = build(option, input_size=input_size)(torch.randn(2, 3, input_size))
    assert y_BTH.shape == (2, 3, 8)


@every_model
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), at=st.integers(0, STEPS - 1), carried=st.booleans())
def test_a_change_at_t_moves_no_output_before_t(option, seed, at, carried):
    model, x_BTD = build(option), random_input(seed)
    with torch.no_grad():
        state = model(random_input(seed + 1))[1] if carried else None
        changed = x_BTD.clone()
        changed[:, at] += 3.0
        y_BTH, y_changed = model(x_BTD, state)[0], model(changed, state)[0]
    assert torch.equal(y_BTH[:, :at], y_changed[:, :at])
    assert not torch.equal(y_BTH[:, at], y_changed[:, at])


@every_model
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    steps=st.integers(1, STEPS),
    cuts=st.sets(st.integers(1, STEPS - 1)),
)
def test_any_cut_of_the_stream_gives_the_same(option, seed, steps, cuts):
    for dtype, tolerance in ((torch.float32, SINGLE), (torch.float64, DOUBLE)):
        model, x_BTD = build(option, dtype), random_input(seed, steps=steps, dtype=dtype)
        with torch.no_grad():
            whole, state = model(x_BTD)
            y_BTH, cut_state = run_in_pieces(model, x_BTD, {cut for cut in cuts if cut < steps})
            after, _ = model(x_BTD, state)
            cut_after, _ = model(x_BTD, cut_state)
        torch.testing.assert_close(y_BTH, whole, **tolerance)
        torch.testing.assert_close(cut_after, after, **tolerance)
        assert_same_state(cut_state, state, **tolerance)


@every_model
def test_single_steps_equal_one_call(option):
    for dtype, tolerance in ((torch.float32, SINGLE), (torch.float64, DOUBLE)):
        model, x_BTD, state, steps = build(option, dtype), random_input(dtype=dtype), None, []
        with torch.no_grad():
            for t in range(STEPS):
                y_BH, state = model.step(x_BTD[:, t], state)
                steps.append(y_BH)
            whole, end = model(x_BTD)
        torch.testing.assert_close(torch.stack(steps, 1), whole, **tolerance)
        assert_same_state(state, end, **tolerance)


@every_model
@pytest.mark.parametrize("compiler", [True, False])
def test_a_prepared_step_goes_on_from_any_state_and_any_state_from_it(
    option, compiler, monkeypatch
):
    monkeypatch.setattr(obstacles, "COMPILER", compiler)
    for dtype, tolerance in ((torch.float32, SINGLE), (torch.float64, DOUBLE)):
        model, x_BTD, steps = build(option, dtype), random_input(dtype=dtype), []
        with torch.no_grad():
            step, (y_BTH, state) = model.stepper(), model(x_BTD[:, :4])
            kept = map_state(torch.clone, state)
            for t in range(4, 9):
                y_BH, state = step(x_BTD[:, t], state)
                steps.append(y_BH)
            end_BTH, end = model(x_BTD[:, 9:], state)
            whole, expected = model(x_BTD)
            first_BH, _ = step(x_BTD[:, 0], None)
            assert_same_state(model(x_BTD[:, :4])[1], kept, **tolerance)
        found = torch.cat([y_BTH, torch.stack(steps, 1), end_BTH], 1)
        torch.testing.assert_close(found, whole, **tolerance)
        assert_same_state(end, expected, **tolerance)
        torch.testing.assert_close(first_BH, whole[:, 0], **tolerance)


@every_model
def test_a_prepared_step_is_that_of_the_mode(option):
    """In training dropout is drawn as the model draws it."""
    layers = {} if option in ("nplm", "log_bilinear") else {"num_layers": 2}
    model, x_BTD = build(option, dropout=0.9, **layers).train(), random_input()
    drawn = []
    for step in (model.step, model.stepper()):
        torch.manual_seed(0)
        drawn.append(step(x_BTD[:, 0], None)[0])
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], model.eval().stepper()(x_BTD[:, 0], None)[0])


@every_model
def test_a_long_stream_stays_equal(option):
    model, x_BTD = build(option), random_input(batch=1, steps=1500)
    with torch.no_grad():
        whole, _ = model(x_BTD)
        pieces, _ = run_in_pieces(model, x_BTD, range(7, 1500, 7))
    torch.testing.assert_close(pieces, whole, **SINGLE)


@every_model
def test_no_state_means_the_initial_state(option):
    model, x_BTD = build(option, torch.float64), random_input(dtype=torch.float64)
    y_BTH, state = model(x_BTD)
    y_other, other = model(x_BTD, model.initial_state(BATCH))
    torch.testing.assert_close(y_other, y_BTH, **DOUBLE)
    assert_same_state(other, state, **DOUBLE)


@every_model
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(1, STEPS), min_size=BATCH, max_size=BATCH),
    carried=st.booleans(),
)
def test_with_lengths_each_row_is_as_if_alone(option, seed, lengths, carried):
    model = build(option, torch.float64)
    x_BTD = random_input(seed, dtype=torch.float64)
    with torch.no_grad():
        # A short first window leaves room in caches that hold more.
        before = model(x_BTD[:, :2])[1] if carried else None
        y_BTH, state = model(x_BTD, before, lengths=torch.tensor(lengths))
        for row, length in enumerate(lengths):
            only = slice(row, row + 1)
            start = None if before is None else map_state(lambda s, r=only: s[r], before)
            y_alone, alone = model(x_BTD[only, :length], start)
            torch.testing.assert_close(y_BTH[only, :length], y_alone, **DOUBLE)
            assert not y_BTH[row, length:].any()
            again = random_input(seed + 1, batch=1, dtype=torch.float64)
            here = map_state(lambda s, r=only: s[r], state)
            torch.testing.assert_close(model(again, here)[0], model(again, alone)[0], **DOUBLE)


@every_model
@pytest.mark.parametrize("lengths", [[0, 1, 2], [1, 2, STEPS + 1], [1, 2]])
def test_impossible_lengths_are_refused(option, lengths):
    with pytest.raises(ValueError, match="lengths"):
        build(option)(random_input(), lengths=torch.tensor(lengths))


@every_model
def test_rows_of_the_state_can_be_chosen(option):
    model, x_BTD = build(option, torch.float64), random_input(dtype=torch.float64)
    rows = torch.tensor([2, 0])
    with torch.no_grad():
        _, state = model(x_BTD)
        assert all(tensor.shape[0] == BATCH for tensor in tensors(state))
        y_BTH, _ = model(x_BTD, state)
        y_rows, _ = model(x_BTD[rows], map_state(lambda s: s[rows], state))
    torch.testing.assert_close(y_rows, y_BTH[rows], **DOUBLE)


@every_model
def test_states_keep_their_shapes_and_dtypes(option):
    model = build(option)
    initial = tensors(model.initial_state(BATCH))
    for steps in (1, STEPS):
        state = tensors(model(random_input(steps=steps))[1])
        assert [s.shape for s in state] == [s.shape for s in initial]
        assert [s.dtype for s in state] == [s.dtype for s in initial]


@every_model
def test_a_call_leaves_the_state_it_was_given_alone(option):
    model, x_BTD = build(option), random_input()
    _, state = model(x_BTD)
    kept = map_state(torch.clone, state)
    model(x_BTD, state)
    assert_same_state(state, kept, rtol=0, atol=0)


@every_model
def test_the_state_does_not_share_memory_with_the_window(option):
    _, state = build(option)(random_input(batch=1, steps=50))
    for tensor in tensors(state):
        assert tensor.untyped_storage().nbytes() <= tensor.numel() * tensor.element_size()


@every_model
def test_gradients_reach_every_parameter_and_the_past(option):
    model, x_BTD = build(option).train(), random_input().requires_grad_()
    y_BTH, state = model(x_BTD[:, :6])
    y_next, _ = model(x_BTD[:, 6:], state)
    (y_BTH.square().sum() + y_next.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    model.zero_grad()
    _, state = model(x_BTD[:, :6])
    y_BH = model(x_BTD[:, 6:], state)[0][:, 0]
    # Weighted: what LayerNorm puts out last sums to nothing, whatever went in.
    weights_H = torch.arange(1.0, y_BH.shape[-1] + 1)
    (gradient,) = torch.autograd.grad((y_BH * weights_H).sum(), x_BTD)
    assert gradient[:, 5].abs().sum() > 1e-4


@every_model
def test_state_dict_round_trip(option):
    model, x_BTD = build(option), random_input()
    torch.manual_seed(1)
    cls, arguments = OPTIONS[option]
    other = cls(INPUT_SIZE, **arguments).eval()
    assert not torch.equal(other(x_BTD)[0], model(x_BTD)[0])
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x_BTD)[0], model(x_BTD)[0])
    assert torch.equal(copy.deepcopy(model)(x_BTD)[0], model(x_BTD)[0])


@every_model
def test_dropout_acts_in_training_only(option):
    names = [name for name in OPTIONS[option][1] if name.endswith("dropout")]
    for name in names:
        model, plain = build(option, **{name: 0.5}), build(option)
        x_BTD = random_input()
        assert torch.equal(model(x_BTD)[0], plain(x_BTD)[0])
        model.train()
        assert not torch.equal(model(x_BTD)[0], plain(x_BTD)[0]), name
        model.eval()
        assert torch.equal(model(x_BTD)[0], plain(x_BTD)[0])


@every_model
def test_the_same_seed_gives_the_same_weights_and_dropout(option):
    names = [name for name in OPTIONS[option][1] if name.endswith("dropout")]
    outputs = []
    for _ in range(2):
        model = build(option, **dict.fromkeys(names, 0.5)).train()
        outputs.append(model(random_input())[0])
    assert torch.equal(*outputs)


@every_model
def test_bfloat16_autocast_carries_state(option):
    model, x_BTD = build(option), random_input()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, state = model(x_BTD)
        y_BTH, _ = model(x_BTD, state)
    expected, _ = model(x_BTD, model(x_BTD)[1])
    torch.testing.assert_close(y_BTH.float(), expected, rtol=0.1, atol=0.1)


@every_model
def test_evaluation_under_inference_mode_leaves_training_possible(option):
    model, x_BTD = build(option), random_input()
    with torch.inference_mode():
        model(x_BTD)
    model.train()(x_BTD)[0].sum().backward()
