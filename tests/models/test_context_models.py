"""NPLM and the log-bilinear model against their papers' equations, token by token in float64."""

import pytest
import torch
from torch.optim import SGD

from lm_research.models.log_bilinear import LogBilinear
from lm_research.models.nplm import NPLM
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.vectorizers.embedding import Embedding

VOCABULARY, DIM, HIDDEN = 13, 4, 6
BOTH = pytest.mark.parametrize("kind", [NPLM, LogBilinear])


def task_of(kind, hidden_size=HIDDEN, tie=False, **options):
    torch.manual_seed(0)
    model = kind(DIM, hidden_size, **options)
    vectorizer = Embedding(VOCABULARY, DIM)
    return LanguageModeling(vectorizer, model, SGD, lambda step: 1.0, tie_weights=tie).double()


def random_ids():
    return torch.randint(VOCABULARY, (3, 11), generator=torch.Generator().manual_seed(1))


def before(task, ids_BT, row, t, k):
    """e of the word k places before the one that follows position t; zero before the stream."""
    at = t + 1 - k
    return task.vectorizer.weight[ids_BT[row, at]] if at >= 0 else torch.zeros(DIM).double()


def gradients(task, loss):
    return torch.autograd.grad(loss, list(task.parameters()))


def assert_equals_equation(task, scores):
    """log p and the gradient of every parameter, ``scores(row, t)`` being the paper's y_V."""
    ids_BT = random_ids()
    y_BTH, _ = task.hidden(ids_BT, task.start(3))
    log_p_BTV = task.head.log_probs(y_BTH)
    rows = [[scores(ids_BT, row, t) for t in range(11)] for row in range(3)]
    expected = torch.stack([torch.stack(row) for row in rows]).log_softmax(-1)
    torch.testing.assert_close(log_p_BTV, expected, rtol=1e-12, atol=1e-12)
    found = gradients(task, log_p_BTV.square().sum())
    for one, other in zip(found, gradients(task, expected.square().sum()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("context", [1, 2, 5, 20])
@pytest.mark.parametrize("direct", [False, True])
def test_nplm_is_bengios_equation(context, direct):
    """y = b + W x + U tanh(d + H x)."""
    task = task_of(NPLM, context=context, direct=direct)
    H, d = task.model.hidden.weight, task.model.hidden.bias
    U, W, b = task.head.weight[:, :HIDDEN], task.head.weight[:, HIDDEN:], task.head.bias

    def scores(ids_BT, row, t):
        x = torch.cat([before(task, ids_BT, row, t, k) for k in range(1, context + 1)])
        return b + U @ torch.tanh(d + H @ x) + (W @ x if direct else 0)

    assert_equals_equation(task, scores)


@pytest.mark.parametrize("context", [1, 2, 5, 20])
def test_log_bilinear_is_mnih_and_hintons_equation(context):
    """q = sum_k C_k e(w_{t-k}), scored by q . e(w) + b_w with the vectors that are read."""
    task = task_of(LogBilinear, DIM, tie=True, context=context)
    assert task.head.weight is task.vectorizer.weight
    C = task.model.positions.weight.view(DIM, context, DIM)

    def scores(ids_BT, row, t):
        parts = [C[:, k - 1] @ before(task, ids_BT, row, t, k) for k in range(1, context + 1)]
        return task.vectorizer.weight @ sum(parts) + task.head.bias

    assert_equals_equation(task, scores)


@BOTH
def test_the_context_is_exact(kind):
    torch.manual_seed(0)
    model = kind(DIM, HIDDEN, context=3).double()
    x_BTD = torch.randn(1, 9, DIM).double()
    changed = x_BTD.clone()
    changed[:, 2] += 1
    moved_T = (model(x_BTD)[0] != model(changed)[0]).any(2)[0]
    assert moved_T.tolist() == [False, False, True, True, True, False, False, False, False]


@BOTH
@pytest.mark.parametrize("field", ["hidden_size", "context"])
def test_bad_sizes_are_named(kind, field):
    with pytest.raises(ValueError, match=f"{field} is 0"):
        kind(DIM, **{"hidden_size": 4, field: 0})


@BOTH
@pytest.mark.parametrize("field", ["input_dropout", "dropout"])
def test_bad_dropout_is_named(kind, field):
    with pytest.raises(ValueError, match=field):
        kind(DIM, 4, **{field: 1.0})
