"""Protocols of evaluation against loops written out in float64; no token learns from itself."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lm_research.data.batches import TrainingBatches
from lm_research.models.ngram import KneserNey
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.evaluation import evaluate
from lm_research.tasks.protocols.dynamic_rms import DynamicRMS
from lm_research.tasks.protocols.dynamic_sgd import DynamicSGD
from lm_research.tasks.protocols.neural_cache import NeuralCache
from lm_research.tasks.protocols.protocol import ProtocolError

VOCABULARY = 11
RATE, DECAY, SEGMENT = 0.7, 0.05, 3
DYNAMIC = {
    "sgd": DynamicSGD(rate=RATE, segment=SEGMENT, decay=DECAY),
    "token by token": DynamicSGD(rate=0.3, segment=1),
    "rms": DynamicRMS(rate=0.004, segment=SEGMENT, decay=0.3, epsilon=1e-4, statistics_batch=4),
}
PROTOCOLS = {
    **DYNAMIC,
    "cache": NeuralCache(size=6, theta=0.8, share=0.3),
    "cache of one": NeuralCache(size=1, theta=0.8, share=0.3),
    "cache of all": NeuralCache(size=500, theta=2.0, share=0.1),
}


def ids_of(seed, count):
    return np.random.default_rng(seed).integers(1, VOCABULARY, count).tolist()


@pytest.fixture
def training(make_split):
    split = make_split([ids_of(7, 90)], name="train")
    return lambda: split


class WrittenOut(nn.Module):
    """The fixture's two-layer LSTM of PyTorch's own modules, with the task's weights."""

    def __init__(self, task):
        super().__init__()
        self.embedding = nn.Embedding(*task.vectorizer.weight.shape)
        self.layers = nn.ModuleList(
            nn.LSTM(layer.input_size, layer.hidden_size, batch_first=True)
            for layer in task.model.layers
        )
        self.head = nn.Linear(task.head.weight.shape[1], VOCABULARY)
        self.double()
        self.embedding.weight.data.copy_(task.vectorizer.weight)
        for mine, theirs in zip(self.layers, task.model.layers, strict=True):
            mine.load_state_dict(theirs.state_dict())
        self.head.weight.data.copy_(task.head.weight)
        self.head.bias.data.copy_(task.head.bias)

    def forward(self, ids_BT, states):
        y_BTH, after = self.embedding(ids_BT), []
        for layer, state in zip(self.layers, states, strict=True):
            y_BTH, state = layer(y_BTH, state)
            after.append(tuple(part.detach() for part in state))
        return self.head(y_BTH), after


def written_roots(model, batches, steps):
    """The root of the mean squared gradient over training batches, state carried."""
    squares, states = [0.0] * len(list(model.parameters())), [None, None]
    for step in range(steps):
        batch = batches.batch(step)
        logits, states = model(batch.ids_BT, states)
        loss = F.cross_entropy(logits.flatten(0, 1), batch.targets_BT.flatten())
        grads = torch.autograd.grad(loss, list(model.parameters()))
        squares = [s + g**2 for s, g in zip(squares, grads, strict=True)]
    return [(s / steps).sqrt() for s in squares]


def written_dynamic(model, ids, segment, rule):
    """nats of each token after the first, scored before the weights move."""
    trained = [p.detach().clone() for p in model.parameters()]
    nats, states = [], [None, None]
    for start in range(0, len(ids) - 1, segment):
        piece = torch.tensor([ids[start : start + segment + 1]])
        logits, states = model(piece[:, :-1], states)
        losses = F.cross_entropy(logits[0], piece[0, 1:], reduction="none")
        nats += losses.tolist()
        grads = torch.autograd.grad(losses.mean(), list(model.parameters()))
        with torch.no_grad():
            for number, (p, p0, g) in enumerate(
                zip(model.parameters(), trained, grads, strict=True)
            ):
                p.copy_(rule(number, p, p0, g))
    return nats


def nats_of(reader, ids, cuts=(1000,)):
    """nats of each token after the first, the stream handed over in pieces."""
    place, nats, start = reader.start(1), [], 0
    for number in range(len(ids)):
        size = cuts[number % len(cuts)]
        piece = torch.tensor([ids[start : start + size]])
        if start >= len(ids) - 1:
            return nats
        log_p_BTV, place = reader.advance(piece, place)
        after = ids[start + 1 : start + 1 + size]
        nats += [-log_p_BTV[0, at, target].item() for at, target in enumerate(after)]
        start += size
    return nats


@pytest.mark.parametrize("name", ["sgd", "token by token"])
def test_dynamic_sgd_is_the_loop_written_out(make_task, training, name):
    task, ids, protocol = make_task("lstm").eval(), [0, *ids_of(1, 40), 0], DYNAMIC[name]

    def rule(number, p, p0, g):
        return p + protocol.decay * (p0 - p) - protocol.rate * g

    expected = written_dynamic(WrittenOut(task), ids, protocol.segment, rule)
    found = nats_of(protocol.reader(task, training), ids)
    assert found == pytest.approx(expected, rel=1e-9)
    static = nats_of(task, ids)
    assert found[: protocol.segment] == pytest.approx(static[: protocol.segment], rel=1e-12)
    assert max(abs(a - b) for a, b in zip(found, static, strict=True)) > 0.01


def test_dynamic_rms_is_the_loop_written_out(make_task, training):
    task, ids, protocol = make_task("lstm").eval(), [0, *ids_of(1, 40), 0], DYNAMIC["rms"]
    model = WrittenOut(task)
    batches = TrainingBatches(training(), protocol.statistics_batch, SEGMENT, 1, seed=0)
    roots = written_roots(model, batches, batches.windows_per_pass)
    mean = sum(float(root.mean()) for root in roots) / len(roots)
    norms = [torch.minimum(root / mean, torch.tensor(1 / protocol.decay)) for root in roots]
    assert any((root / mean).max() > 1 / protocol.decay for root in roots)  # the bound matters

    def rule(number, p, p0, g):
        decayed = protocol.decay * norms[number] * (p0 - p)
        return p + decayed - protocol.rate * g / (roots[number] + protocol.epsilon)

    expected = written_dynamic(model, ids, SEGMENT, rule)
    assert nats_of(protocol.reader(task, training), ids) == pytest.approx(expected, rel=1e-8)


def test_the_training_gradients_may_be_of_some_batches_alone(make_task, training):
    task, ids = make_task("lstm").eval(), [0, *ids_of(1, 20)]
    whole = TrainingBatches(training(), 4, SEGMENT, 1, seed=0).windows_per_pass
    assert whole > 3
    by = {
        steps: nats_of(
            DynamicRMS(0.004, SEGMENT, 0.1, 1e-4, 4, statistics_steps=steps).reader(task, training),
            ids,
        )
        for steps in (1, whole, whole + 5, None)
    }
    assert by[whole] == by[None] == by[whole + 5]
    assert by[1] != by[None]


def written_cache(states, log_p, ids, cache):
    """Grave et al., equations 2 to 4, token by token: nats of each token after the first."""
    nats = []
    for t in range(len(ids) - 1):
        weights = Counter()
        for i in range(max(t - cache.size, 0), t):
            weights[ids[i + 1]] += math.exp(cache.theta * float(states[t] @ states[i]))
        p = math.exp(log_p[t][ids[t + 1]])
        if weights:
            share = weights[ids[t + 1]] / sum(weights.values())
            p = (1 - cache.share) * p + cache.share * share
        nats.append(-math.log(p))
    return nats


@pytest.mark.parametrize("name", ["cache", "cache of one", "cache of all"])
def test_the_neural_cache_is_the_loop_written_out(make_task, training, name):
    task, ids = make_task("lstm").eval(), [0, *ids_of(2, 30), 0]
    with torch.no_grad():
        y_BTH, _ = task.hidden(torch.tensor([ids[:-1]]), task.start(1))
        log_p_BTV = task.head.log_probs(y_BTH)
    expected = written_cache(y_BTH[0].numpy(), log_p_BTV[0].tolist(), ids, PROTOCOLS[name])
    found = nats_of(PROTOCOLS[name].reader(task, training), ids)
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_counted_model_has_a_unigram_cache(make_split, training):
    model, ids = counted(), [0, *ids_of(2, 30), 0]
    cache = NeuralCache(size=9, theta=0.0, share=0.2)
    log_p = model.model.log_probabilities(np.array(ids), 0, len(ids) - 1)
    expected = written_cache(np.zeros((len(ids), 1)), log_p.tolist(), ids, cache)
    assert nats_of(cache.reader(model, training), ids) == pytest.approx(expected, rel=1e-12)


def counted():
    model = KneserNey(VOCABULARY, order=3)
    model.fit(np.array([0, *ids_of(5, 200), 0]))
    return CountedLanguageModel(model, VOCABULARY)


def test_what_a_counted_model_cannot_do_is_said(training):
    with pytest.raises(ProtocolError, match=r"theta=0\.3 compares hidden states.*theta=0"):
        NeuralCache().reader(counted(), training)
    for protocol in (DynamicSGD(), DynamicRMS()):
        with pytest.raises(ProtocolError, match="a counted model"):
            protocol.reader(counted(), training)


@pytest.mark.parametrize("model", ["rnn", "gru", "lstm", "cnn", "transformer", "nplm"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_token_learns_from_itself_or_from_a_later_one(make_task, training, model, name):
    """Another token at place 20 changes no score of the tokens before it; it changes later ones."""
    task, ids = make_task(model).eval(), [0, *ids_of(3, 40), 0]
    other = [*ids[:20], ids[20] % (VOCABULARY - 1) + 1, *ids[21:]]
    found, changed = (
        nats_of(PROTOCOLS[name].reader(task, training), stream) for stream in (ids, other)
    )
    assert found[:19] == changed[:19]
    assert found[19] != changed[19]
    assert found[20:] != changed[20:]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_how_a_stream_is_cut_changes_no_score(make_task, training, name):
    task, ids = make_task("lstm").eval(), [0, *ids_of(4, 50), 0]
    reader = PROTOCOLS[name].reader(task, training)
    whole = nats_of(reader, ids)
    for cuts in ((1,), (2, 5), (7,), (4, 1, 30)):
        assert nats_of(reader, ids, cuts) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_model_is_left_as_it_is_and_a_second_reading_begins_anew(
    make_task, make_split, training, name
):
    task, split = make_task("gru").eval(), make_split([ids_of(i, 9) for i in range(5)])
    before = {key: value.clone() for key, value in task.state_dict().items()}
    reader = PROTOCOLS[name].reader(task, training)
    first, second = (evaluate(reader, split, window) for window in (16, 16))
    assert first.scores == second.scores
    assert np.array_equal(first.document_nats, second.document_nats)
    assert all(torch.equal(before[key], value) for key, value in task.state_dict().items())
    assert all(p.grad is None for p in task.parameters())
    assert first.scores["loss_nats"] != evaluate(task, split, 16).scores["loss_nats"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_probabilities_sum_to_one_and_lanes_are_read_side_by_side(make_task, training, name):
    task = make_task("lstm").eval()
    reader = PROTOCOLS[name].reader(task, training)
    log_p_BTV, _ = reader.advance(torch.tensor([ids_of(1, 12), ids_of(2, 12)]), reader.start(2))
    assert torch.allclose(log_p_BTV.exp().sum(-1), torch.ones(2, 12).double())
    assert not log_p_BTV.requires_grad


@pytest.mark.parametrize("name", [*DYNAMIC, "cache of all"])
def test_a_text_that_repeats_itself_becomes_easier(make_task, make_split, training, name):
    task = make_task("lstm").eval()
    split = make_split([[1, 5, 2, 7, 3, 3, 9, 4] * 12])
    loss = evaluate(PROTOCOLS[name].reader(task, training), split, 64).scores["loss_nats"]
    assert loss < evaluate(task, split, 64).scores["loss_nats"]
