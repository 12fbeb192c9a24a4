"""The founding example is the same model in Keras: logits, loss, accuracy, and three Adam steps.

Shapes: B batch, T time, V vocabulary, D size of the embedding, H hidden size.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from lm_research.cli.assembly import build_model
from lm_research.config.compose import compose
from lm_research.config.paths import shipped
from lm_research.data.batches import Batch
from lm_research.metrics.next_token import NextTokenScores
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.text.character import CharacterTokenizer

FOLDER = shipped("experiments") / "keras_lstm"
EXPECTED = yaml.safe_load((FOLDER / "expected.yaml").read_text(encoding="utf-8"))
TOLERANCE = EXPECTED["tolerance"]
TEXT = "".join(map(chr, range(32, 90)))
BATCH, STEPS, DIM, HIDDEN = 8, 12, 64, 128
every_way = pytest.mark.parametrize("predict", ["every", "last"])
weights_as = pytest.mark.parametrize("trained", [False, True], ids=["fresh", "as if trained"])


def ours(predict: str, trained: bool = False, *overrides: str) -> LanguageModeling:
    """The experiment's own model, as the command would build it.

    Fresh weights give almost equal probabilities to all tokens; ``trained`` makes them larger.
    """
    tokenizer = CharacterTokenizer(1000)
    tokenizer.train([TEXT])
    config = compose(["experiment=keras_lstm", f"task.predict={predict}", *overrides]).config
    torch.manual_seed(0)
    task = build_model(config, tokenizer, None)
    assert isinstance(task, LanguageModeling)
    if trained:
        with torch.no_grad():
            task.vectorizer.weight.mul_(20)
            task.head.weight.mul_(4)
            task.head.bias.normal_()
    return task


def theirs(keras: Any, task: LanguageModeling, predict: str) -> Any:
    """The Keras model, its weights copied from ours (through Keras' own set_weights).

    Both stack the gates as i, f, c, o; kernels are transposed. Its optimizer is Adam as the string
    "adam" makes it.
    """
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((STEPS,), dtype="int32"),
            layers.Embedding(task.vocabulary_size, DIM),
            layers.LSTM(HIDDEN, return_sequences=predict == "every"),
            layers.Dense(task.vocabulary_size, activation="softmax"),
        ]
    )
    for layer, weights in zip(model.layers, as_keras(task), strict=True):
        layer.set_weights(weights)
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def as_keras(task: LanguageModeling) -> list[list[np.ndarray]]:
    """Our weights in the order, and the orientation, of Keras' layers."""
    (lstm,) = task.model.layers
    assert "bias_hh_l0" not in dict(lstm.named_parameters())
    found = (
        [task.vectorizer.weight],
        [lstm.weight_ih_l0.T, lstm.weight_hh_l0.T, lstm.bias_ih_l0],
        [task.head.weight.T, task.head.bias],
    )
    return [[w.detach().numpy().copy() for w in weights] for weights in found]


def batches(task: LanguageModeling, count: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(2)
    shape = (BATCH, STEPS + 1)
    found = [torch.randint(task.vocabulary_size, shape, generator=generator) for _ in range(count)]
    return [Batch(ids[:, :-1], ids[:, 1:], fresh=False) for ids in found]


def scored(values: Tensor, predict: str) -> Tensor:
    """The positions that have a prediction: all, or the last."""
    return values if predict == "every" else values[:, -1]


def one_hot(task: LanguageModeling, targets: Tensor) -> np.ndarray:
    return np.eye(task.vocabulary_size)[targets.numpy()]


def our_logits(task: LanguageModeling, batch: Batch, predict: str) -> Tensor:
    with torch.no_grad():
        y_BTH, _ = task.hidden(batch.ids_BT, task.start(BATCH))
        return scored(task.head(y_BTH), predict)


def their_logits(keras: Any, model: Any, batch: Batch) -> np.ndarray:
    """What the Dense layer hands to its softmax."""
    dense = model.layers[-1]
    features = keras.Model(model.inputs[0], model.layers[-2].output)(batch.ids_BT.numpy())
    return keras.ops.convert_to_numpy(keras.ops.matmul(features, dense.kernel) + dense.bias)


def our_steps(task: LanguageModeling, given: list[Batch]) -> tuple[list[float], list[float]]:
    """Loss and accuracy of each batch before the update on it, through the task's own hooks."""
    made = task.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    losses, accuracies = [], []
    for index, batch in enumerate(given):
        logits = our_logits(task, batch, task.predict)
        scores = NextTokenScores(task.vocabulary_size)
        targets = scored(batch.targets_BT, task.predict)
        scores.update(logits.flatten(0, -2).log_softmax(-1), targets.flatten())
        accuracies.append(scores.compute()["accuracy"])
        loss = task.training_step(batch, index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses, accuracies


def their_steps(task: Any, model: Any, given: list[Batch], predict: str) -> list[list[float]]:
    """The same by Keras: the losses, and the accuracies."""
    rows = []
    for batch in given:
        targets = one_hot(task, scored(batch.targets_BT, predict))
        rows.append([float(x) for x in model.train_on_batch(batch.ids_BT.numpy(), targets)])
    return np.array(rows).T.tolist()


def farthest(task: LanguageModeling, model: Any) -> float:
    """The greatest difference between a weight of ours and Keras' own."""
    pairs = zip(as_keras(task), [layer.get_weights() for layer in model.layers], strict=True)
    return max(
        float(abs(a - b).max()) for one, other in pairs for a, b in zip(one, other, strict=True)
    )


@weights_as
@every_way
def test_logits_are_equal(keras, predict: str, trained: bool) -> None:
    task = ours(predict, trained)
    model, (batch,) = theirs(keras, task, predict), batches(task, 1)
    logits = our_logits(task, batch, predict)
    assert logits.abs().max() > (2 if trained else 0.01)
    assert logits.numpy() == pytest.approx(
        their_logits(keras, model, batch), rel=0, abs=TOLERANCE["logits_absolute"]
    )
    # And what the model says of them: a distribution for each prediction.
    p = keras.ops.convert_to_numpy(model(batch.ids_BT.numpy()))
    assert logits.softmax(-1).numpy() == pytest.approx(p, rel=TOLERANCE["loss_relative"], abs=1e-6)


@weights_as
@every_way
def test_losses_accuracies_and_weights_after_three_steps_are_equal(
    keras, predict: str, trained: bool
) -> None:
    task = ours(predict, trained)
    model, given = theirs(keras, task, predict), batches(task)
    before = as_keras(task)
    losses, accuracies = our_steps(task, given)
    their_losses, their_accuracies = their_steps(task, model, given, predict)
    assert losses == pytest.approx(their_losses, rel=TOLERANCE["loss_relative"])
    assert accuracies == pytest.approx(their_accuracies, abs=1e-7)  # Keras' are float32
    assert farthest(task, model) < TOLERANCE["weights_absolute"]
    # Every kind of weight moved, by about the learning rate a step.
    moved = [
        abs(a - b).max()
        for o, n in zip(before, as_keras(task), strict=True)
        for a, b in zip(o, n, strict=True)
    ]
    assert min(moved) > 0.001


@every_way
def test_a_longer_training_stays_together(keras, predict: str) -> None:
    task = ours(predict)
    model, given = theirs(keras, task, predict), batches(task, 1) * 20
    losses, _ = our_steps(task, given)
    their_losses, _ = their_steps(task, model, given, predict)
    assert losses[-1] < 0.95 * losses[0]
    assert losses == pytest.approx(their_losses, rel=20 * TOLERANCE["loss_relative"])


@every_way
def test_accuracy_counts_the_same_hits(keras, predict: str) -> None:
    """On targets that the model gets right half of the time."""
    task = ours(predict, trained=True)
    model, (batch,) = theirs(keras, task, predict), batches(task, 1)
    with torch.no_grad():
        y_BTH, _ = task.hidden(batch.ids_BT, task.start(BATCH))
        guesses_BT = task.head(y_BTH).argmax(-1)
    half_BT = torch.arange(BATCH)[:, None] % 2 == 0
    other_BT = (guesses_BT + 1) % task.vocabulary_size
    given = [batch._replace(targets_BT=torch.where(half_BT, guesses_BT, other_BT))]
    _, accuracies = our_steps(task, given)
    _, their_accuracies = their_steps(task, model, given, predict)
    assert accuracies == their_accuracies == [0.5]


def test_another_form_of_adam_would_be_seen(keras) -> None:
    options = ("optimizer=adam", "optimizer.lr=0.001", "optimizer.eps=1e-7")
    task = ours("every", False, *options)
    model, given = theirs(keras, task, "every"), batches(task)
    our_steps(task, given)
    their_steps(task, model, given, "every")
    assert farthest(task, model) > 100 * TOLERANCE["weights_absolute"]


def test_another_order_of_gates_would_be_seen(keras) -> None:
    task = ours("every", trained=True)
    model, (batch,) = theirs(keras, task, "every"), batches(task, 1)
    (lstm,) = task.model.layers
    i, f, g, o = lstm.weight_ih_l0.detach().split(HIDDEN)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.cat([f, i, g, o]))
    logits = our_logits(task, batch, "every").numpy()
    difference = abs(logits - their_logits(keras, model, batch)).max()
    assert difference > 100 * TOLERANCE["logits_absolute"]


def test_weights_begin_as_keras_draws_them(keras) -> None:
    """The same distributions; the numbers are each one's own."""
    task = ours("every")
    keras.utils.set_random_seed(0)
    size = task.vocabulary_size
    made = [
        (keras.layers.Embedding(size, DIM), (1, 1)),
        (keras.layers.LSTM(HIDDEN), (1, 1, DIM)),
        (keras.layers.Dense(size), (1, HIDDEN)),
    ]
    for layer, shape in made:
        layer.build(shape)
    mine = [w for weights in as_keras(task) for w in weights]
    keras_own = [w for layer, _ in made for w in layer.get_weights()]
    for one, other in zip(mine, keras_own, strict=True):
        assert one.shape == other.shape
        assert one.std() == pytest.approx(other.std(), rel=0.05)  # 3,800 numbers or more
    embedding, kernel, recurrent, bias, head, head_bias = mine
    bounds = [0.05, math.sqrt(6 / (DIM + 4 * HIDDEN)), math.sqrt(6 / (HIDDEN + size))]
    for uniform, bound in zip((embedding, kernel, head), bounds, strict=True):
        assert 0.99 * bound < abs(uniform).max() <= bound * (1 + 1e-6)
    assert recurrent @ recurrent.T == pytest.approx(np.eye(HIDDEN), abs=1e-5)
    assert bias.tolist() == [0] * HIDDEN + [1] * HIDDEN + [0] * 2 * HIDDEN
    assert bias.tolist() == keras_own[3].tolist()
    assert head_bias.tolist() == keras_own[5].tolist() == [0] * size


def test_the_experiment_is_what_it_says() -> None:
    config = compose(["experiment=keras_lstm"]).config
    assert config["trainer"]["gradient_clip"] == 0
    assert config["task"]["carry_state"] is False
    assert config["choices"]["experiment"] == "keras_lstm"
    (group,) = ours("every").configure_optimizers()["optimizer"].param_groups
    assert (group["lr"], group["betas"], group["epsilon_hat"]) == (0.001, (0.9, 0.999), 1e-7)


def test_it_runs(train, read_json) -> None:
    folder = train("experiment=keras_lstm")
    assert read_json(folder / "status.json")["state"] == "done"
    last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
    assert "val/bits_per_byte" in last
    assert "val/accuracy" in last
