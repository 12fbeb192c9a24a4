"""What a task takes over from a language model, what of it moves, and how fast."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from lm_research.callbacks.unfreezing import GradualUnfreezing
from lm_research.data.document_batches import DocumentBatch
from lm_research.models.lstm import LSTM
from lm_research.models.transformer import Transformer
from lm_research.tasks.classification import Classification
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.tasks.transfer import (
    LayerwiseRates,
    TransferError,
    freeze,
    layer_groups,
    layers_of,
    take_weights,
    trainable,
)
from lm_research.vectorizers.embedding import Embedding

VOCABULARY, WIDTH = 11, 8
ADAM = partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1)


def classifier(model=None, optimizer=ADAM):
    torch.manual_seed(1)
    model = model or LSTM(WIDTH, WIDTH, num_layers=2)
    return Classification(Embedding(VOCABULARY, WIDTH), model, optimizer, lambda _: 1.0, ["a", "b"])


def batch():
    rng = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(VOCABULARY, (6, 5), generator=rng)
    return DocumentBatch(ids_BT, torch.full((6,), 5), torch.tensor([0, 1, 0, 1, 1, 0]))


def steps(task, count, callback=None):
    """Weights before, and after each step."""
    optimizer = task.configure_optimizers()["optimizer"]
    seen = [[p.detach().clone() for p in group] for group in layer_groups(task)]
    history = [seen]
    for step in range(count):
        if callback:
            callback.on_train_batch_start(None, task, None, step)
        loss = task.training_step(batch(), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append([[p.detach().clone() for p in group] for group in layer_groups(task)])
    return history


def moved(before, after):
    """Of each group, whether any of its weights differs in any bit."""
    pairs = zip(before, after, strict=True)
    return [any(not torch.equal(a, b) for a, b in zip(*pair, strict=True)) for pair in pairs]


def test_groups_hold_every_parameter_once_and_in_order():
    task = classifier()
    groups = layer_groups(task)
    assert len(groups) == 4  # vectorizer, two layers, the head
    assert [id(p) for p in groups[0]] == [id(p) for p in task.vectorizer.parameters()]
    assert [id(p) for p in groups[1]] == [id(p) for p in task.model.layers[0].parameters()]
    assert [id(p) for p in groups[3]] == [id(p) for p in task.head.parameters()]
    every = [id(p) for group in groups for p in group]
    assert sorted(every) == sorted(id(p) for p in task.parameters())


LAYERS = {"rnn": 1, "gru": 1, "lstm": 2, "cnn": 3, "tcn": 2, "min_gru": 2, "transformer": 2}


@pytest.mark.parametrize("model", LAYERS)
def test_layers_of_every_model(models, model):
    inner = models[model](WIDTH - 3)
    groups = layers_of(inner)
    assert len(groups) == LAYERS[model]
    every = [id(p) for group in groups for p in group]
    assert len(every) == len(set(every))
    assert set(every) == {id(p) for p in inner.parameters()}


def test_what_stands_beside_the_layers_goes_to_the_first_and_the_last():
    model = Transformer(WIDTH - 3, WIDTH, num_heads=2, num_layers=3, positions="learned")
    first, _, last = ({id(p) for p in group} for group in layers_of(model))
    assert {id(model.position_CH), *(id(p) for p in model.project.parameters())} <= first
    assert {id(p) for p in model.norm.parameters()} <= last
    lstm = LSTM(WIDTH, WIDTH, num_layers=2, start="learned")
    groups = layers_of(lstm)
    for group, own in zip(groups, lstm.start_SH, strict=True):
        assert id(own) in {id(p) for p in group}


def test_a_model_without_a_list_is_one_layer():
    assert len(layers_of(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))) == 1


@pytest.mark.parametrize(
    ("what", "still"),
    [
        ("none", []),
        ("vectorizer", [0]),
        (1, [0, 1]),
        (2, [0, 1, 2]),
        ("encoder", [0, 1, 2]),
    ],
)
def test_frozen_weights_do_not_move_in_any_bit_and_the_others_do(what, still):
    task = classifier()
    freeze(layer_groups(task), what)
    before, *_, after = steps(task, 3)
    assert moved(before, after) == [place not in still for place in range(4)]


def test_more_layers_than_there_are_is_told():
    with pytest.raises(TransferError, match=r"transfer\.freeze=3: the model has 2 layers"):
        freeze(layer_groups(classifier()), 3)


def test_layers_open_one_by_one_from_above():
    task = classifier()
    opening = GradualUnfreezing(trainable(layer_groups(task)), every=2)
    history = steps(task, 9, opening)
    for step, (before, after) in enumerate(pairwise(history)):
        opened = 1 + step // 2
        assert moved(before, after) == [place >= 4 - opened for place in range(4)], step


def test_what_is_frozen_for_good_is_never_opened():
    task = classifier()
    freeze(layer_groups(task), 1)
    opening = GradualUnfreezing(trainable(layer_groups(task)), every=1)
    before, *_, after = steps(task, 6, opening)
    assert moved(before, after) == [False, False, True, True]
    opening.on_train_end(None, task)
    assert [p.requires_grad for group in layer_groups(task) for p in group[:1]] == [
        *(False, False, True, True)
    ]


def test_rates_fall_by_the_factor_from_layer_to_layer():
    task = classifier()
    task.make_optimizer = LayerwiseRates(task.make_optimizer, layer_groups(task), 2.6)
    found = task.configure_optimizers()
    rate = {
        id(p): group["lr"] for group in found["optimizer"].param_groups for p in group["params"]
    }
    for depth, group in enumerate(reversed(layer_groups(task))):
        expected = [pytest.approx(0.1 / 2.6**depth)] * len(group)
        assert [rate[id(p)] for p in group] == expected
    assert len(rate) == len(list(task.parameters()))
    assert found["optimizer"].param_groups[0]["lr"] == 0.1  # what the rows of metrics show
    assert found["lr_scheduler"]["scheduler"].base_lrs == [
        group["lr"] for group in found["optimizer"].param_groups
    ]


def test_rates_are_those_of_a_hand_made_optimizer():
    """Against torch's own parameter groups, to the bit."""
    ours, theirs = classifier(), classifier()
    ours.make_optimizer = LayerwiseRates(ours.make_optimizer, layer_groups(ours), 2.0)

    def by_hand(_):
        groups = enumerate(reversed(layer_groups(theirs)))
        return ADAM([{"params": group, "lr": 0.1 / 2.0**depth} for depth, group in groups])

    theirs.make_optimizer = by_hand
    steps(ours, 4)
    steps(theirs, 4)
    for (name, mine), (_, other) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert torch.equal(mine, other), name


def test_rates_and_weight_decay_of_matrices_alone(make_task):
    task = make_task("lstm", optimizer=partial(torch.optim.AdamW, lr=1.0), decay="matrices")
    task.make_optimizer = LayerwiseRates(task.make_optimizer, layer_groups(task), 3.0)
    for group in task.configure_optimizers()["optimizer"].param_groups:
        assert {p.dim() > 1 for p in group["params"]} == {group["weight_decay"] > 0}


def test_a_shared_matrix_is_frozen_with_the_vectorizer(make_task):
    task = make_task("lstm", tie_weights=True)
    freeze(layer_groups(task), "vectorizer")
    assert not task.vectorizer.output_weight().requires_grad
    assert sum(p.requires_grad for p in task.head.parameters()) == 2  # projection and bias


def test_the_encoder_says_what_the_language_model_said(make_task):
    source = make_task("lstm", vectorizer=Embedding(VOCABULARY, WIDTH), dtype=torch.float32)
    task = classifier()
    take_weights(task, source)
    ids_BT = batch().ids_BT
    expected_BTH, _ = source.hidden(ids_BT, (None, None))
    found_BTH, _ = task.model(task.vectorizer(ids_BT), lengths=batch().lengths_B)
    assert torch.equal(found_BTH, expected_BTH)
    other = make_task("lstm", vectorizer=Embedding(VOCABULARY, WIDTH), dtype=torch.float32, seed=5)
    take_weights(other, source)
    assert torch.equal(
        other.advance(ids_BT, (None, None))[0], source.advance(ids_BT, (None, None))[0]
    )


@pytest.mark.parametrize("separate", [False, True])
def test_encoder_and_decoder_of_one_vocabulary_begin_as_the_language_model(make_task, separate):
    source = make_task("transformer", dtype=torch.float32)
    width = source.vectorizer.dim
    make_model = partial(Transformer, hidden_size=WIDTH, num_heads=2, context=9)
    targets = Embedding(VOCABULARY, width) if separate else None
    task = SequenceToSequence(
        *(Embedding(VOCABULARY, width), make_model(width), make_model, ADAM, lambda _: 1.0),
        target_vectorizer=targets,
    )
    before = {name: value.clone() for name, value in task.decoder.cross.state_dict().items()}
    take_weights(task, source)
    expected = source.model.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in task.model.state_dict().items())
    decoder = task.decoder.model.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in decoder.items()) is not separate
    assert all(torch.equal(v, before[k]) for k, v in task.decoder.cross.state_dict().items())


def test_weights_that_do_not_go_with_the_model_are_named_and_nothing_is_copied(make_task):
    source = make_task("gru", vectorizer=Embedding(VOCABULARY, WIDTH))
    task = classifier()
    before = {name: value.clone() for name, value in task.state_dict().items()}
    with pytest.raises(TransferError, match=r"the model.*is missing in init_from"):
        take_weights(task, source)
    wide = make_task("lstm", vectorizer=Embedding(VOCABULARY, WIDTH + 1))
    with pytest.raises(TransferError, match=r"the vectorizer.*shape \(11, 9\).*\(11, 8\)"):
        take_weights(task, wide)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
