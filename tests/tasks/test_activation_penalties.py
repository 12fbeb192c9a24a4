"""AR and TAR: AWD-LSTM's sums by hand, in the gradient and not in the loss."""

from itertools import product

import pytest
import torch

from lm_research.data.batches import Batch
from lm_research.models.lstm import LSTM
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.vectorizers.embedding import Embedding

VOCABULARY, WIDTH = 11, 8
ALPHA, BETA = 2.0, 1.0


def batch(steps=6):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(VOCABULARY, (3, steps + 1), generator=generator)
    return Batch(ids[:, :-1], ids[:, 1:], True)


def awd_lstm(alpha, beta):
    """A task with dropout of outputs; float64."""
    torch.manual_seed(0)
    vectorizer = Embedding(VOCABULARY, WIDTH - 3)
    model = LSTM(vectorizer.dim, WIDTH, 2, output_dropout=0.4, dropout_kind="variational")
    penalties = {
        "activation_regularization": alpha,
        "temporal_activation_regularization": beta,
    }
    task = LanguageModeling(vectorizer, model, torch.optim.SGD, lambda step: 1.0, **penalties)
    return task.double().train()


def seeded_step(task, given):
    torch.manual_seed(7)
    return task.training_step(given, 0)


def gradients(task):
    return [p.grad for p in task.parameters()]


def expected_penalty(task, given, alpha, beta):
    """The authors' sums, entry by entry; of a lane the same units are dropped at every step."""
    raw_BTH, _ = task.model.eval()(task.vectorizer(given.ids_BT))
    torch.manual_seed(7)
    kept_B1H = torch.empty(3, 1, WIDTH, dtype=torch.float64).bernoulli_(0.6)
    dropped_BTH = raw_BTH * kept_B1H / 0.6
    rows, steps, units = raw_BTH.shape
    squares = changes = 0.0
    for b, t, h in product(range(rows), range(steps), range(units)):
        squares = squares + dropped_BTH[b, t, h] ** 2
        if t:
            changes = changes + (raw_BTH[b, t, h] - raw_BTH[b, t - 1, h]) ** 2
    return alpha * squares / (rows * steps * units) + beta * changes / (rows * (steps - 1) * units)


@pytest.mark.parametrize(("alpha", "beta"), [(ALPHA, 0.0), (0.0, BETA), (ALPHA, BETA)])
def test_the_gradient_is_that_of_the_authors_sums_and_the_loss_is_without(alpha, beta):
    task, plain, given = awd_lstm(alpha, beta), awd_lstm(0.0, 0.0), batch()
    loss, reported = seeded_step(plain, given), seeded_step(task, given)
    assert torch.equal(reported, loss)
    reported.backward()
    (loss + expected_penalty(plain, given, alpha, beta)).backward()
    torch.testing.assert_close(gradients(task), gradients(plain), rtol=1e-10, atol=1e-14)
    alone = awd_lstm(0.0, 0.0)
    seeded_step(alone, given).backward()
    assert not torch.allclose(gradients(alone)[1], gradients(task)[1])


def test_a_window_of_one_step_has_no_change_to_it():
    task, given = awd_lstm(0.0, BETA), batch(steps=1)
    seeded_step(task, given).backward()
    plain = awd_lstm(0.0, 0.0)
    seeded_step(plain, given).backward()
    torch.testing.assert_close(gradients(task), gradients(plain))


@pytest.mark.parametrize("model", ["rnn", "gru", "cnn", "transformer", "nplm", "log_bilinear"])
def test_every_architecture_has_them(make_task, model):
    """Without a dropout of outputs both are of the outputs themselves."""
    given = batch()
    options = {"activation_regularization": ALPHA, "temporal_activation_regularization": BETA}
    task, plain = make_task(model, **options), make_task(model)
    task.training_step(given, 0).backward()
    y_BTH, _ = plain.model(plain.vectorizer(given.ids_BT))
    change_BTH = y_BTH.diff(dim=1)
    penalty = ALPHA * (y_BTH**2).mean() + BETA * (change_BTH**2).mean()
    (plain.training_step(given, 0) + penalty).backward()
    torch.testing.assert_close(gradients(task), gradients(plain), rtol=1e-10, atol=1e-14)


def test_evaluation_knows_nothing_of_them():
    task, plain, ids_BT = awd_lstm(ALPHA, BETA).eval(), awd_lstm(0.0, 0.0).eval(), batch().ids_BT
    one, other = (t.advance(ids_BT, t.start(3))[0] for t in (task, plain))
    assert torch.equal(one, other)
