"""The Transformer against a dense implementation that loops over positions and heads."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.models.transformer import Transformer, rotate, rotations

INPUT_SIZE = 5


def build(**changes):
    torch.manual_seed(0)
    arguments = {"hidden_size": 12, "num_layers": 2, "num_heads": 2, "context": 4}
    return Transformer(INPUT_SIZE, **{**arguments, **changes}).double().eval()


def turned(vector, position):
    """Pairs (i, i + E/2) turned by position * 10000^(-2i/E), one at a time."""
    half, result = len(vector) // 2, vector.clone()
    for i in range(half):
        angle = position * 10000.0 ** (-2 * i / len(vector))
        left, right = vector[i], vector[i + half]
        result[i] = left * math.cos(angle) - right * math.sin(angle)
        result[i + half] = left * math.sin(angle) + right * math.cos(angle)
    return result


def attention(query_TH, key_TH, value_TH, num_heads, context):
    """Each position over the last ``context`` ones, by absolute positions."""
    steps, size = query_TH.shape
    width = size // num_heads
    result = torch.zeros_like(query_TH)
    for head in range(num_heads):
        part = slice(head * width, (head + 1) * width)
        for t in range(steps):
            reach = range(max(0, t - context + 1), t + 1)
            query = turned(query_TH[t, part], t)
            scores = [query @ turned(key_TH[s, part], s) / math.sqrt(width) for s in reach]
            weights = torch.stack(scores).softmax(0)
            result[t, part] = sum(
                w * value_TH[s, part] for w, s in zip(weights, reach, strict=True)
            )
    return result


def norm(module, x_TH):
    centred = x_TH - x_TH.mean(1, keepdim=True)
    scaled = centred / (centred.square().mean(1, keepdim=True) + module.eps).sqrt()
    return scaled * module.weight + module.bias


def reference(model, x_TD):
    """One row, written out."""
    x_TH = F.linear(x_TD, model.project.weight, model.project.bias)
    for layer in model.layers:
        projected = layer.query_key_value(norm(layer.attention_norm, x_TH))
        query, key, value = projected.chunk(3, dim=1)
        mixed = attention(query, key, value, layer.num_heads, model.context)
        x_TH = x_TH + layer.attention_output(mixed)
        inner, _, outer = layer.feedforward
        hidden = inner(norm(layer.feedforward_norm, x_TH))
        x_TH = x_TH + outer(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))
    return norm(model.norm, x_TH)


@pytest.mark.parametrize("context", [1, 2, 5, 30])
@pytest.mark.parametrize("steps", [1, 2, 7, 13])
def test_equals_the_dense_implementation(context, steps):
    model = build(context=context)
    x_BTD = torch.randn(2, steps, INPUT_SIZE, dtype=torch.float64)
    with torch.no_grad():
        y_BTH, _ = model(x_BTD)
        for row in range(2):
            torch.testing.assert_close(y_BTH[row], reference(model, x_BTD[row]))


@settings(max_examples=20, deadline=None)
@given(context=st.integers(1, 6), cuts=st.sets(st.integers(1, 11), max_size=4))
def test_cut_streams_equal_the_dense_implementation(context, cuts):
    model = build(context=context)
    x_BTD = torch.randn(1, 12, INPUT_SIZE, dtype=torch.float64)
    state, pieces, bounds = None, [], [0, *sorted(cuts), 12]
    with torch.no_grad():
        for start, stop in pairwise(bounds):
            y_BTH, state = model(x_BTD[:, start:stop], state)
            pieces.append(y_BTH)
        torch.testing.assert_close(torch.cat(pieces, 1)[0], reference(model, x_BTD[0]))


def test_gradients_equal_the_dense_implementation():
    model = build()
    x_BTD = torch.randn(1, 9, INPUT_SIZE, dtype=torch.float64, requires_grad=True)
    parameters = [x_BTD, *model.parameters()]
    first, state = model(x_BTD[:, :4])
    second, _ = model(x_BTD[:, 4:], state)
    y_TH = torch.cat([first, second], 1)[0]
    weight = torch.randn_like(y_TH)
    ours = torch.autograd.grad((weight * y_TH).sum(), parameters)
    theirs = torch.autograd.grad((weight * reference(model, x_BTD[0])).sum(), parameters)
    for gradient, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_reach_is_the_context_in_every_layer(num_layers):
    model = build(num_layers=num_layers, context=3)
    x_BTD = torch.randn(1, 20, INPUT_SIZE, dtype=torch.float64)
    changed = x_BTD.clone()
    changed[:, 4] += 1
    with torch.no_grad():
        moved_T = (model(x_BTD)[0] != model(changed)[0]).any(2)[0]
    # bit-identical outside, since what is masked has weight zero exactly
    assert moved_T.nonzero().flatten().tolist() == list(range(4, 4 + 2 * num_layers + 1))


def test_rows_with_different_histories_share_a_batch():
    model, lengths = build(context=5), torch.tensor([1, 3, 6])
    x_BTD = torch.randn(3, 6, INPUT_SIZE, dtype=torch.float64)
    more = torch.randn(3, 6, INPUT_SIZE, dtype=torch.float64)
    with torch.no_grad():
        _, state = model(x_BTD, lengths=lengths)
        assert state[0].tolist() == [1, 3, 4]
        y_BTH, _ = model(more, state)
        for row, length in enumerate(lengths.tolist()):
            joined = torch.cat([x_BTD[row, :length], more[row]])
            torch.testing.assert_close(y_BTH[row], reference(model, joined)[length:])


def test_single_precision_error_does_not_grow_with_the_stream():
    model = build(context=16)
    x_BTD = torch.randn(1, 3000, INPUT_SIZE, dtype=torch.float64)
    with torch.no_grad():
        exact, _ = model(x_BTD)
        y_BTH, _ = model.float()(x_BTD.float())
    error_T = (y_BTH - exact).abs().amax(2)[0]
    assert error_T.max() < 5e-6
    assert error_T[-500:].max() < 3 * error_T[:500].max()


def test_rotation_depends_on_the_distance_alone():
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    table = rotations(40, 8, query)

    def product(position, distance):
        at = [tuple(part[: p + 1] for part in table) for p in (position, position - distance)]
        return (rotate(query, at[0]) * rotate(key, at[1])).sum().item()

    assert product(39, 7) == pytest.approx(product(12, 7), rel=1e-12)
    assert product(39, 7) != pytest.approx(product(39, 8), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 4, "hidden_size": 12}, "hidden_size is 12.*multiple of.* 8"),
        ({"context": 0}, "context"),
        ({"num_layers": 0}, "num_layers"),
        ({"feedforward_ratio": 0}, "feedforward_ratio"),
    ],
)
def test_bad_sizes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)
