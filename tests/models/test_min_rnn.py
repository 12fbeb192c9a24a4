"""minGRU's and minLSTM's blocks against the paper's equations, step by step in float64."""

import pytest
import torch
import torch.nn.functional as F

from lm_research.models.min_gru import MinGRU
from lm_research.models.min_lstm import MinLSTM

BOTH = pytest.mark.parametrize("kind", [MinGRU, MinLSTM])
SIZE, STEPS = 6, 17


def build(kind, input_size=SIZE, **options):
    torch.manual_seed(0)
    options = {"num_layers": 2, "expansion": 2, "kernel_size": 4, **options}
    return kind(input_size, SIZE, **options).double().eval()


def g(v):
    return torch.where(v >= 0, v + 0.5, torch.sigmoid(v))


def next_state(kind, cell, x_I, h):
    """Section 3 of the paper, with g of its appendix."""
    gates = (cell.weight_ih_l0 @ x_I + cell.bias_ih_l0).view(2 if kind is MinGRU else 3, -1)
    if kind is MinGRU:
        z = torch.sigmoid(gates[0])
        return (1 - z) * h + z * g(gates[1])
    f, i = torch.sigmoid(gates[0]), torch.sigmoid(gates[1])
    return f / (f + i) * h + i / (f + i) * g(gates[2])


def walked(kind, model, x_TD):
    """One row, one step after the other, each inputs' taps written out."""
    states = [torch.zeros(model.inner_size).double() for _ in model.blocks]
    seen = [[] for _ in model.blocks]
    outputs = []
    for x in x_TD:
        x = model.project(x)
        for index, block in enumerate(model.blocks):
            if block.convolution is not None:
                seen[index].append(block.convolution_norm(x))
                w_Hk, past = block.convolution.weight, seen[index]
                k = w_Hk.shape[1]
                reach = range(min(k, len(past)))
                taps = [w_Hk[:, k - 1 - back] * past[-1 - back] for back in reach]
                x = x + sum(taps) + block.convolution.bias
            states[index] = next_state(kind, block.cell, block.cell_norm(x), states[index])
            x = x + block.cell_output.weight @ states[index] + block.cell_output.bias
            first, _, second = block.feedforward
            inner = F.gelu(first.weight @ block.feedforward_norm(x) + first.bias)
            x = x + second.weight @ inner + second.bias
        outputs.append(model.norm(x))
    return torch.stack(outputs)


@BOTH
@pytest.mark.parametrize("kernel_size", [0, 1, 4])
@pytest.mark.parametrize("input_size", [SIZE, SIZE - 1])
def test_equals_the_papers_recurrence(kind, kernel_size, input_size):
    model = build(kind, input_size, kernel_size=kernel_size)
    x_BTD = 3 * torch.randn(2, STEPS, input_size).double()
    expected = torch.stack([walked(kind, model, x_TD) for x_TD in x_BTD])
    torch.testing.assert_close(model(x_BTD)[0], expected)
    step, state, found = model.stepper(), None, []
    with torch.no_grad():
        for x_BD in x_BTD.unbind(1):
            y_BH, state = step(x_BD, state)
            found.append(y_BH)
    torch.testing.assert_close(torch.stack(found, 1), expected)
    gradients = torch.autograd.grad(model(x_BTD)[0].square().sum(), list(model.parameters()))
    others = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other)


@BOTH
def test_a_step_is_prepared_without_a_scan(kind, monkeypatch):
    model, x_BD = build(kind), torch.randn(3, SIZE).double()
    step = model.stepper()
    expected, _ = model.step(x_BD, None)
    for block in model.blocks:
        monkeypatch.setattr(block.cell, "forward", None)
    torch.testing.assert_close(step(x_BD, None)[0], expected)


def test_extreme_gates_stay_numbers():
    """A minLSTM whose gates are both shut divides by nothing in the plain form."""
    model = build(MinLSTM)
    with torch.no_grad():
        for block in model.blocks:
            block.cell.bias_ih_l0[: 2 * model.inner_size] = -1e4
        x_BTD = torch.randn(1, STEPS, SIZE).double()
        y_BTH, state = model(x_BTD)
        y_BH, _ = model.stepper()(x_BTD[:, 0], state)
    assert y_BTH.isfinite().all()
    assert y_BH.isfinite().all()


def test_the_papers_size():
    """Three layers of 384, expansion 2: 6.2 million, without vectors and the output layer."""
    model = MinGRU(384, 384)
    matrices = 384 * 2 * 768 + 768 * 384 + 2 * 384 * 1536 + 4 * 384
    vectors = 384 + 2 * 768 + 384 + 1536 + 384 + 3 * 2 * 384
    assert sum(p.numel() for p in model.parameters()) == 3 * (matrices + vectors) + 2 * 384


@BOTH
@pytest.mark.parametrize("field", ["hidden_size", "num_layers", "expansion", "feedforward_ratio"])
def test_bad_sizes_are_named(kind, field):
    with pytest.raises(ValueError, match=f"{field}.*0"):
        kind(3, **{"hidden_size": 4, field: 0})
    with pytest.raises(ValueError, match=r"kernel_size 0 or more; got .* and -1"):
        kind(3, 4, kernel_size=-1)
    with pytest.raises(ValueError, match=r"dropout is 1\.5"):
        kind(3, 4, dropout=1.5)
