"""The task: its loss, what it carries, its head, and that it learns in a plain Trainer."""

import copy
import logging
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.problems import ConfigError
from lm_research.data.batches import Batch, TrainingBatches
from lm_research.data.document import DataError
from lm_research.kernels import TableRows
from lm_research.models.lstm import LSTM
from lm_research.tasks import head_loss
from lm_research.tasks.evaluation import evaluate, evaluating
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.schedules import Constant, Cosine
from lm_research.vectorizers.bag_of_words import BagOfWords
from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.one_hot import OneHot

VOCABULARY, WIDTH = 11, 8
BATCH, STEPS = 3, 6


def batch(seed: int, fresh: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCABULARY, (BATCH, STEPS + 1), generator=generator)
    return Batch(ids[:, :-1], ids[:, 1:], fresh)


def log_p(task: LanguageModeling, ids_BT: Tensor) -> Tensor:
    """log p_BTV of windows that begin a stream, without anything of the task's own."""
    y_BTH, _ = task.model(task.vectorizer(ids_BT))
    logits_BTV = task.head(y_BTH)
    return logits_BTV - torch.logsumexp(logits_BTV, -1, keepdim=True)


def picked(log_p_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    return log_p_BTV.gather(2, targets_BT[..., None])[..., 0]


def test_the_loss_is_the_mean_negative_log_likelihood(make_task) -> None:
    task, given = make_task(), batch(0, fresh=True)
    expected = -picked(log_p(task, given.ids_BT), given.targets_BT).mean()
    assert task.training_step(given, 0).item() == pytest.approx(expected.item(), rel=1e-13)


def test_the_last_position_alone(make_task) -> None:
    task, given = make_task(predict="last"), batch(0, fresh=True)
    expected = -picked(log_p(task, given.ids_BT), given.targets_BT)[:, -1].mean()
    loss = task.training_step(given, 0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-13)
    # No other target has a say in it.
    targets_BT = given.targets_BT.clone()
    targets_BT[:, :-1] = 0
    assert task.training_step(Batch(given.ids_BT, targets_BT, True), 0).item() == loss.item()
    # The first position still has one, as what the last one looks back on.
    x_BTD = task.vectorizer(given.ids_BT).detach().requires_grad_()
    y_BTH, _ = task.model(x_BTD)
    task.head(y_BTH[:, -1]).sum().backward()
    assert (x_BTD.grad[:, 0] != 0).any()


def test_the_first_positions_may_be_context_alone(make_task) -> None:
    task, given = make_task(carry_state=False, unscored=2), batch(0, fresh=True)
    expected = -picked(log_p(task, given.ids_BT), given.targets_BT)[:, 2:].mean()
    assert task.training_step(given, 0).item() == pytest.approx(expected.item(), rel=1e-13)
    for wrong in ({}, {"carry_state": False, "predict": "last"}):
        with pytest.raises(ValueError, match="unscored=2: carry_state=false and predict=every"):
            make_task(unscored=2, **wrong)


def test_label_smoothing_spreads_a_share_over_the_vocabulary(make_task) -> None:
    share, given = 0.2, batch(0, fresh=True)
    task = make_task(label_smoothing=share)
    log_p_BTV = log_p(task, given.ids_BT)
    right = picked(log_p_BTV, given.targets_BT)
    expected = -((1 - share) * right + share * log_p_BTV.mean(-1)).mean()
    assert task.training_step(given, 0).item() == pytest.approx(expected.item(), rel=1e-13)


MODELS = ["rnn", "gru", "lstm", "cnn", "transformer", "nplm", "log_bilinear"]
MODELS += ["tcn", "min_gru", "min_lstm"]


def vectorizers(kind: str) -> Any:
    torch.manual_seed(1)
    return (
        Embedding(VOCABULARY, 5) if kind == "look-up" else BagOfWords(VOCABULARY, 4, projection=5)
    )


@pytest.mark.parametrize("kind", ["look-up", "bag"])
@pytest.mark.parametrize("model", MODELS)
def test_a_carried_state_joins_two_windows(make_task, model, kind) -> None:
    one, two = batch(0, fresh=True), batch(1)
    joined = torch.cat([one.ids_BT, two.ids_BT], 1)
    task = make_task(model, vectorizers(kind))
    task.training_step(one, 0)
    loss = task.training_step(two, 1).item()
    log_p_BTV = log_p(task, joined)[:, STEPS:]
    expected = -picked(log_p_BTV, two.targets_BT).mean()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    # Without it, and where the lanes jumped, each window begins a stream.
    alone = -picked(log_p(task, two.ids_BT), two.targets_BT).mean().item()
    assert abs(alone - loss) > 1e-6
    without = make_task(model, vectorizers(kind), carry_state=False)
    without.training_step(one, 0)
    assert without.training_step(two, 1).item() == pytest.approx(alone, rel=1e-12)
    task.training_step(one, 0)
    jumped = two._replace(fresh=True)
    assert task.training_step(jumped, 1).item() == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"tie_weights": True}, {"head_bias": False}])
def test_by_blocks_the_loss_and_its_gradients_are_the_same(make_task, monkeypatch, options) -> None:
    losses, gradients = [], []
    for many in (1 << 25, 0):
        monkeypatch.setattr(head_loss, "MANY_LOGITS", many)
        torch.manual_seed(1)
        vectorizer = Embedding(VOCABULARY, 5)  # a shared matrix of five is reached by a projection
        task = make_task(vectorizer=vectorizer, label_smoothing=0.1, **options)
        losses.append(task.training_step(batch(0), 0))
        losses[-1].backward()
        gradients.append([p.grad for p in task.parameters()])
    assert "linear_cross_entropy" in type(losses[1].grad_fn).__name__
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-14)


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value or ()
    return [t for item in items for t in tensors(item)]


@pytest.mark.parametrize("model", MODELS)
def test_no_gradient_crosses_a_window(make_task, model) -> None:
    task = make_task(model)
    task.training_step(batch(0, fresh=True), 0).backward()
    carried = tensors(task.stream)
    assert carried
    assert not any(t.requires_grad or t.grad_fn for t in carried)
    task.zero_grad()
    task.training_step(batch(1), 1).backward()  # would fail on a freed graph
    found = [p.grad.clone() for p in task.parameters() if p.grad is not None]
    # The same with a starting state that is a constant by construction.
    again = make_task(model)
    again.stream = (None, copy.deepcopy(carried_state(make_task(model))))
    again.training_step(batch(1), 1).backward()
    expected = [p.grad for p in again.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(found, expected, strict=True))


def carried_state(task: LanguageModeling) -> Any:
    with torch.no_grad():
        return task.model(task.vectorizer(batch(0).ids_BT))[1]


def test_a_shared_matrix_is_shared(make_task) -> None:
    task = make_task(vectorizer=Embedding(VOCABULARY, WIDTH), tie_weights=True)
    assert task.head.weight is task.vectorizer.weight
    assert task.head.weight.data_ptr() == task.vectorizer.weight.data_ptr()
    names = [name for name, _ in task.named_parameters()]
    assert "vectorizer.weight" in names
    assert "head.weight" not in names
    ids_BT = torch.zeros(1, 2, dtype=torch.int64)  # only row 0 is looked up, all are predicted
    task.training_step(Batch(ids_BT, ids_BT, True), 0).backward()
    assert (task.vectorizer.weight.grad != 0).any(1).all()
    optimizer = task.configure_optimizers()["optimizer"]
    optimizer.step()
    assert task.head.weight is task.vectorizer.weight


def test_a_shared_matrix_of_another_width_is_reached_by_a_projection(make_task) -> None:
    task = make_task(vectorizer=Embedding(VOCABULARY, 5), tie_weights=True)
    projection, shared = task.head.projection, task.head
    assert projection.shape == (5, WIDTH)
    assert shared.weight is task.vectorizer.weight
    y_BTH = torch.randn(2, 3, WIDTH, dtype=torch.float64)
    expected = y_BTH @ projection.T @ task.vectorizer.weight.T + shared.bias
    assert torch.allclose(task.head(y_BTH), expected)


@pytest.mark.parametrize(
    ("vectorizer", "name"),
    [(OneHot(VOCABULARY), "OneHot"), (BagOfWords(VOCABULARY, 4), "BagOfWords")],
)
def test_without_a_matrix_there_is_none_to_share(make_task, vectorizer, name) -> None:
    with pytest.raises(ValueError, match=rf"tie_weights=true needs a vectorizer.*{name} has none"):
        make_task(vectorizer=vectorizer, tie_weights=True)


def test_the_head_begins_as_keras_dense(make_task) -> None:
    width = 300
    task = make_task(vectorizer=Embedding(width, 5), head_init="keras")
    bound = math.sqrt(6 / (WIDTH + width))
    weights = task.head.weight.detach().numpy().ravel()
    assert abs(weights).max() <= bound
    # Uniform: 2,400 draws leave the extremes and the variance about there.
    assert abs(weights).max() > 0.99 * bound
    assert weights.var() == pytest.approx(bound**2 / 3, rel=0.1)
    assert (task.head.bias == 0).all()


def test_a_shared_matrix_is_left_as_it_was_drawn(make_task) -> None:
    vectorizer = Embedding(VOCABULARY, 5)
    drawn = vectorizer.weight.detach().clone().double()
    task = make_task(vectorizer=vectorizer, tie_weights=True, head_init="keras")
    assert torch.equal(task.head.weight, drawn)
    assert (task.head.bias == 0).all()
    assert task.head.projection.abs().max() <= math.sqrt(6 / (5 + WIDTH))


def test_a_uniform_head(make_task) -> None:
    task = make_task(head_init="uniform", head_init_range=0.01)
    for parameter in task.head.parameters():
        assert 0.005 < parameter.abs().max() <= 0.01


def test_frozen_parameters_are_not_handed_to_the_optimizer(make_task) -> None:
    vectorizer = Embedding(VOCABULARY, 5)
    vectorizer.weight.requires_grad_(False)
    groups = make_task(vectorizer=vectorizer).configure_optimizers()["optimizer"].param_groups
    handed = {id(p) for group in groups for p in group["params"]}
    assert id(vectorizer.weight) not in handed
    assert len(handed) == 2 * 4 + 2


def plain_trainer(**options: Any) -> pl.Trainer:
    """Lightning's Trainer as anybody would make it; only quiet, and without files."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    options = {"max_epochs": 1, "accelerator": "cpu", "logger": False, **options}
    quiet = ("enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    return pl.Trainer(**dict.fromkeys(quiet, False), **options)


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


def fit(task: LanguageModeling, loader: TrainingBatches, **options: Any) -> Losses:
    watch = Losses()
    plain_trainer(callbacks=[watch], **options).fit(task, loader)
    return watch


lightning = pytest.mark.filterwarnings("ignore:.*(does not have many workers|IterableDataset)")
COUNTING = [[1 + i % 7 for i in range(50)]] * 4
"""A text that a model can learn: 1 2 3 4 5 6 7 1 2 3 ..."""


@lightning
def test_it_learns_in_a_plain_trainer(make_task, make_split) -> None:
    rate, steps = 0.05, 80
    adam = partial(torch.optim.Adam, lr=rate)
    task = make_task("gru", dtype=torch.float32, optimizer=adam, scheduler=Cosine(steps))
    split = make_split(COUNTING, name="train")
    with evaluating(task):
        before = evaluate(task, split, 64).scores
    watch = fit(task, TrainingBatches(split, 4, 10, steps, seed=0))
    assert len(watch.losses) == steps
    assert watch.losses[0] == pytest.approx(math.log(VOCABULARY), rel=0.2)
    assert np.mean(watch.losses[-5:]) < 0.35 < 1.5 < np.mean(watch.losses[:5])
    with evaluating(task):
        after = evaluate(task, split, 64).scores
    assert after["bits_per_byte"] < 0.25 * before["bits_per_byte"]
    assert after["accuracy"] > 0.95
    assert watch.rates == pytest.approx([rate * Cosine(steps)(t) for t in range(steps)], rel=1e-12)


@lightning
def test_a_few_batches_are_learned_by_heart(make_split) -> None:
    # Tokens in random order, each once: nothing but memory helps, and memory is enough.
    ids = np.random.default_rng(0).permutation(np.arange(1, 90)).tolist()
    split = make_split([ids], name="train")
    torch.manual_seed(0)
    vectorizer = Embedding(90, 16)
    task = LanguageModeling(
        vectorizer, LSTM(16, 32), partial(torch.optim.Adam, lr=0.02), lambda step: 1.0
    )
    watch = fit(task, TrainingBatches(split, 2, 12, 150, seed=0, overfit=2))
    assert watch.losses[0] > 4
    assert max(watch.losses[-2:]) < 0.02


@lightning
def test_one_step_of_the_trainer_is_one_step_by_hand(make_task, make_split) -> None:
    split = make_split(COUNTING, name="train")
    loader = TrainingBatches(split, 4, 10, 3, seed=0)
    task, by_hand = make_task(dtype=torch.float32), make_task(dtype=torch.float32)
    watch = fit(task, loader)
    optimizer = torch.optim.SGD(by_hand.parameters())
    losses, state = [], None
    for given in loader:
        y_BTH, state = by_hand.model(by_hand.vectorizer(given.ids_BT), state)
        logits_BTV = by_hand.head(y_BTH)
        loss = F.cross_entropy(logits_BTV.flatten(0, 1), given.targets_BT.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state = [tuple(part.detach() for part in layer) for layer in state]
        losses.append(loss.item())
    assert watch.losses == losses
    assert all(map(torch.equal, task.parameters(), by_hand.parameters()))


def test_a_checkpoint_holds_the_carried_state(make_task) -> None:
    task, checkpoint = make_task(), {}
    task.training_step(batch(0, fresh=True), 0)
    task.on_save_checkpoint(checkpoint)
    again = make_task()
    again.on_load_checkpoint(checkpoint)
    again.on_train_start()
    losses = [t.training_step(batch(1), 1).item() for t in (task, again)]
    assert losses[0] == losses[1]


def test_a_loaded_state_goes_where_the_model_is(make_task) -> None:
    task, checkpoint = make_task(), {}
    task.training_step(batch(0, fresh=True), 0)
    task.on_save_checkpoint(checkpoint)
    elsewhere = make_task().to("meta")
    elsewhere.on_load_checkpoint(checkpoint)
    elsewhere.on_train_start()
    assert {t.device.type for t in tensors(elsewhere.stream)} == {"meta"}


@lightning
def test_dropout_is_off_in_evaluation_and_on_in_training(make_split) -> None:
    torch.manual_seed(0)
    model = LSTM(5, WIDTH, output_dropout=0.5)
    task = LanguageModeling(
        Embedding(VOCABULARY, 5), model, torch.optim.SGD, lambda step: 1.0, carry_state=False
    )
    given = batch(0, fresh=True)
    assert task.training_step(given, 0).item() != task.training_step(given, 0).item()
    split = make_split(COUNTING)
    with evaluating(task):
        scores = [evaluate(task, split, 16).scores for _ in range(2)]
    assert scores[0] == scores[1]
    assert isinstance(task, nn.Module)
    assert task.training


def test_in_double_precision_vectors_without_weights_are_double_too():
    task = LanguageModeling(
        OneHot(5), LSTM(5, 4), partial(torch.optim.Adam, lr=0.01), Constant(steps=1)
    ).double()
    log_p_BTV, _ = task.eval().advance(torch.tensor([[0, 3, 1]]), task.start(1))
    assert log_p_BTV.dtype == torch.float64
    assert torch.get_default_dtype() == torch.float32


def test_random_windows_carry_no_state(train):
    with pytest.raises(ConfigError, match=r"(?s)task\.carry_state=true.*task\.carry_state=false"):
        train("task.windows=random")


@pytest.mark.parametrize(
    ("field", "fix"),
    [("windows=random", "consecutive"), ("windows=repeated", "consecutive"), ("unscored=4", "0")],
)
def test_windows_of_one_stream_are_none_of_a_sampled_mixture(train, field, fix):
    name = field.partition("=")[0]
    with pytest.raises(DataError, match=rf"(?s)task\.{field}.*task\.{name}={fix}"):
        train(
            f"task.{field}", "task.carry_state=false", "data=mixture", "data.schedule={}",
            "data.weights={dialogue_en: 1, quotations: 2}", "budget=smoke",
        )  # fmt: skip


@pytest.mark.parametrize("model", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("vectorizer", [Embedding, OneHot])
def test_training_by_rows_of_the_table_is_training_by_vectors(
    make_task, model, vectorizer, monkeypatch
) -> None:
    """float32, where rows serve; a window of 40 steps, the state carried."""
    if vectorizer is Embedding:
        vectorizer = partial(Embedding, dim=WIDTH)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(VOCABULARY, (4, BATCH, 41), generator=generator)
    found = []
    for reads_rows in (True, False):
        torch.manual_seed(1)
        task = make_task(model, vectorizer(VOCABULARY), dtype=torch.float32)
        seen = []
        monkeypatch.setattr(task.model, "reads_rows", reads_rows)
        task.model.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        made = task.configure_optimizers()["optimizer"]
        losses = []
        for number, part in enumerate(ids):
            made.zero_grad()
            loss = task.training_step(Batch(part[:, :-1], part[:, 1:], number == 0), number)
            loss.backward()
            made.step()
            losses.append(loss.item())
        assert all(isinstance(x, TableRows) == reads_rows for x in seen)
        found.append([torch.tensor(losses), *task.state_dict().values()])
    for rows, vectors in zip(*found, strict=True):
        torch.testing.assert_close(rows, vectors, rtol=2e-5, atol=2e-6)
