"""Beam search against a search of everything, greedy and sampled texts, and batches against one."""

import itertools
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.config.paths import shipped
from lm_research.config.problems import ConfigError
from lm_research.data.document_batches import PADDING
from lm_research.data.pair_batches import END, inputs_of, pair_batch
from lm_research.models.attention import Attention
from lm_research.tasks.decoding import Search
from lm_research.tasks.sampling import Sampling
from lm_research.tasks.sequence_to_sequence import SequenceToSequence, turned
from lm_research.tasks.writing import write_batch, write_texts
from lm_research.vectorizers.embedding import Embedding


def options(group):
    return sorted(file.stem for file in (shipped("conf") / group).glob("*.yaml"))


MODELS = [m for m in options("model") if m not in ("ngram", "bag", "char_cnn", "kim_cnn")]


@cache
def node(group, option):
    return compose(["budget=smoke", "budget.hidden_size=8", f"{group}={option}"]).config[group]


def model_of(vectorizer="embedding", model="gru", size=12, target_size=None, width=None, **task):
    torch.manual_seed(0)
    given = {**node("vectorizer", vectorizer), **({"dim": width} if width else {})}

    def vectors(vocabulary_size):
        made = build(given, vocabulary_size=vocabulary_size)
        if made.needs_fit and getattr(made, "path", None) is None:
            rng = np.random.default_rng(1)
            made.fit([rng.integers(1, vocabulary_size, 30) for _ in range(20)])
        return made

    def make_model(input_size):
        return build(node("model", model), input_size=input_size)

    source = vectors(size)
    target = vectors(target_size) if target_size else None
    adam = partial(torch.optim.Adam, lr=0.01)
    task["target_vectorizer"] = target
    inner = make_model(source.dim)
    task = SequenceToSequence(source, inner, make_model, adam, lambda _: 1.0, **task)
    with torch.no_grad():
        task.head.weight.mul_(6)  # decided enough for texts to end, and to differ
    return task.double().eval()


SOURCES = [np.arange(1, 8), np.array([3]), np.array([5, 2, 2]), np.arange(1, 12), np.array([9, 9])]


def everything(task, ids_N, limit, how):
    """The score of each text of at most ``limit`` tokens, each read in one teacher-forced pass."""
    size = task.vocabulary_size
    texts = [y for n in range(limit + 1) for y in itertools.product(range(1, size), repeat=n)]
    batch = pair_batch([ids_N] * len(texts), [np.array(y, np.int64) for y in texts])
    log_p_BTV, weight_BTS = task.read(batch)
    there = batch.target_BT >= 0
    picked = log_p_BTV.gather(-1, batch.target_BT.clamp(min=0)[..., None])[..., 0]
    log_p = picked.masked_fill(~there, 0).sum(1)
    covered = weight_BTS.masked_fill(~there[..., None], 0).sum(1)
    return {
        y: how.score(float(p), len(y) + 1, c) for y, p, c in zip(texts, log_p, covered, strict=True)
    }


@pytest.mark.parametrize(("length", "coverage"), [(0.0, 0.0), (1.0, 0.0), (0.7, 0.3)])
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("model", ["gru", "transformer"])
def test_a_wide_beam_finds_what_a_search_of_everything_finds(model, copy, length, coverage):
    task, limit = model_of(model=model, size=4, copy=copy), 4
    how = Search(400, length, coverage, n_best=5)
    sources = [np.array([1, 2, 3, 1]), np.array([2]), np.array([3, 3])]
    found = write_batch(task, sources, how, [limit] * 3)
    for ids_N, texts in zip(sources, found, strict=True):
        expected = everything(task, ids_N, limit, how)
        best = sorted(expected.items(), key=lambda item: -item[1])[:5]
        assert [tuple(text.ids) for text in texts] == [y for y, _ in best]
        np.testing.assert_allclose([t.score for t in texts], [s for _, s in best], rtol=1e-9)


def repeats(ids, size):
    grams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
    return len(set(grams)) < len(grams)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_n_tokens_in_a_row_are_written_twice(size):
    task, limit = model_of(size=4), 5
    how = Search(2000, 0.6, no_repeat_ngram_size=size, n_best=5)
    sources = [np.array([1, 2, 3, 1]), np.array([2])]
    found = write_batch(task, sources, how, [limit] * 2)
    for ids_N, texts in zip(sources, found, strict=True):
        expected = everything(task, ids_N, limit, how)
        allowed = [(y, s) for y, s in expected.items() if not repeats(y, size)]
        best = sorted(allowed, key=lambda item: -item[1])[:5]
        assert [tuple(text.ids) for text in texts] == [y for y, _ in best]
        assert any(repeats(y, size) for y in expected)


def test_a_beam_of_one_is_greedy_and_a_wider_one_finds_nothing_less_probable():
    task = model_of(size=12)
    for ids_N in SOURCES:
        greedy = []
        for _ in range(9):
            log_p, _ = task.read(pair_batch([ids_N], [np.array(greedy, np.int64)]))
            token = int(log_p[0, len(greedy)].argmax())
            if token == END or len(greedy) == 8:
                break
            greedy.append(token)
        one = write_batch(task, [ids_N], Search(1, 0.0), [8])[0][0]
        assert one.ids == greedy
        assert write_batch(task, [ids_N], Search(12, 0.0), [8])[0][0].log_p >= (one.log_p - 1e-12)


EVERY = list(itertools.product(options("vectorizer"), MODELS))


@pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_every_vectorizer_and_model_writes_alone_as_in_a_batch_and_takes_a_step(share):
    targets = [ids_N[::-1].copy() for ids_N in SOURCES]
    # With one in four, each block of four gives another of its places, so that all options occur.
    chosen = [n for n in range(len(EVERY)) if n % share == n // share % share]
    for number, (vectorizer, model) in ((n, EVERY[n]) for n in chosen):
        kinds = ("multiplicative",) if model == "transformer" else ("additive", "multiplicative")
        task = model_of(vectorizer, model, attention=kinds[number % len(kinds)], target_size=10)
        name = f"{vectorizer} {model}"
        targets = [np.minimum(ids_N, 9) for ids_N in targets]
        together, weights = task.read(pair_batch(SOURCES, targets))
        how = Search(2, 1.0, 0.2, n_best=2)
        limits = [len(ids_N) % 5 + 2 for ids_N in SOURCES]
        written = write_batch(task, SOURCES, how, limits)
        for row, ids_N in enumerate(SOURCES):
            alone, weight = task.read(pair_batch([ids_N], [targets[row]]))
            torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], msg=name)
            torch.testing.assert_close(weights[row, : alone.shape[1], : len(ids_N)], weight[0])
            texts = write_batch(task, [ids_N], how, limits[row : row + 1])[0]
            assert [t.ids for t in texts] == [t.ids for t in written[row]], name
            expected = [t.score for t in written[row]]
            np.testing.assert_allclose([t.score for t in texts], expected, rtol=1e-9)
        task.float().train()
        task.training_step(pair_batch(SOURCES, targets), 0).backward()
        missing = [n for n, p in task.named_parameters() if p.requires_grad and p.grad is None]
        assert not [n for n in missing if "start" not in n], (name, missing)


def test_draws_follow_from_the_name_of_a_source_and_have_the_models_probabilities():
    task, how = model_of(size=5), Search(n_best=400, sampling=Sampling(seed=3))
    source = np.array([1, 2])
    draws = write_batch(task, [source], how, [2], [7])[0]
    again = write_batch(task, [SOURCES[0] % 5, source], how, [2, 2], [1, 7])[1]
    assert [t.ids for t in draws] == [t.ids for t in again]
    exact = everything(task, source, 2, Search(1, 0.0))
    counts = {y: np.mean([tuple(t.ids) == y for t in draws]) for y in exact}
    # A text that has reached its limit was ended whatever the model says.
    free = {y: np.exp(s) for y, s in exact.items() if len(y) < 2}
    for y, p in free.items():
        assert abs(counts[y] - p) < 4 * np.sqrt(p * (1 - p) / 400) + 1e-9, y
    assert all(abs(t.score - exact[tuple(t.ids)]) < 1e-9 for t in draws)


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_attention_is_the_published_formula(kind):
    torch.manual_seed(0)
    attention = Attention(kind, 4, 6)
    query, memory = torch.randn(1, 2, 4), torch.randn(1, 3, 6)
    context, weights = attention(
        query, attention.keys(memory), memory, torch.tensor([[False, False, True]])
    )
    for t in range(2):
        q, scores = query[0, t], []
        for m in memory[0, :2]:
            if kind == "additive":
                inner = attention.query.weight @ q + attention.key.weight @ m + attention.key.bias
                scores.append((attention.score.weight @ inner.tanh())[0])
            else:
                scores.append(q @ (attention.key.weight @ m))
        expected = torch.stack(scores).softmax(0)
        torch.testing.assert_close(weights[0, t, :2], expected)
        torch.testing.assert_close(context[0, t], expected @ memory[0, :2])
    assert (weights[..., 2] == 0).all()


def test_the_training_loss_is_pytorchs_without_the_padding():
    task = model_of(label_smoothing=0.2)
    batch = pair_batch(SOURCES, SOURCES)
    log_p, _ = task.read(batch)
    rows = zip(log_p, batch.target_BT, batch.target_lengths_B.tolist(), strict=True)
    flat = [(p[:n], y[:n]) for p, y, n in rows]
    logits, targets = (torch.cat(part) for part in zip(*flat, strict=True))
    expected = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.2)
    torch.testing.assert_close(task.training_step(batch, 0), expected)


@pytest.mark.parametrize("model", ["gru", "transformer"])
@pytest.mark.parametrize("target_size", [None, 10])
def test_an_output_layer_can_be_the_matrix_of_the_targets_vectors(model, target_size):
    task = model_of(model=model, target_size=target_size, tie_weights=True, width=8)
    targets = task.target_vectorizer or task.vectorizer
    assert task.head.weight is targets.weight
    task.training_step(pair_batch(SOURCES, [ids_N % 9 for ids_N in SOURCES]), 0).backward()
    assert (task.head.weight.grad[1:] != 0).any(1).all()  # of every token, read or not
    with pytest.raises(ValueError, match=r"vectorizer\.dim=8"):
        model_of(model=model, tie_weights=True, width=6)
    with pytest.raises(ValueError, match="OneHot has none"):
        model_of("one_hot", tie_weights=True)


def test_a_turned_row_is_its_real_part_in_reverse():
    x = torch.arange(1.0, 9).view(2, 4, 1)
    assert turned(x, torch.tensor([4, 2]))[..., 0].tolist() == [[4, 3, 2, 1], [6, 5, 0, 0]]


@pytest.mark.slow
def test_texts_come_back_in_the_order_of_their_sources():
    task = model_of()
    expected = [write_texts(task, [ids_N])[0][0].ids for ids_N in SOURCES * 9]
    assert [h[0].ids for h in write_texts(task, SOURCES * 9)] == expected


def test_vectors_of_both_sides_are_one_module_where_the_vocabulary_is():
    torch.manual_seed(0)
    task = model_of()
    assert sum(isinstance(m, Embedding) for m in task.modules()) == 1


@pytest.mark.parametrize("model", ["gru", "transformer"])
def test_a_copying_decoder_mixes_the_vocabulary_with_the_tokens_of_the_source(model):
    task = model_of(model=model, copy=True)
    batch = pair_batch(SOURCES, SOURCES)
    log_p, weights = (x.clone() for x in task.read(batch))
    plain = model_of(model=model)
    plain.load_state_dict(
        {k: v for k, v in task.state_dict().items() if not k.startswith("generates")}
    )
    of_vocabulary, same_weights = (x.clone() for x in plain.read(batch))
    torch.testing.assert_close(weights, same_weights)
    memory, state = task.begin(batch.source_BS, batch.source_lengths_B)
    attended, _, _ = task.decode(inputs_of(batch.target_BT), memory, state)
    gate = task.generates(attended).sigmoid()[..., 0].detach()
    for row, ids_N in enumerate(SOURCES):
        for t in range(len(ids_N) + 1):
            expected = gate[row, t] * of_vocabulary[row, t].exp()
            for s, token in enumerate(ids_N):
                expected[token] = expected[token] + (1 - gate[row, t]) * weights[row, t, s]
            torch.testing.assert_close(log_p[row, t].exp(), expected)


@pytest.mark.parametrize("model", ["gru", "transformer"])
def test_training_reads_its_own_tokens_more_and_more(model):
    task = model_of(model=model, scheduled_sampling=0.9, steps=10)
    batch = pair_batch(SOURCES * 40, SOURCES * 40)
    memory, state = task.begin(batch.source_BS, batch.source_lengths_B)
    true = inputs_of(batch.target_BT)
    there = (true != PADDING) & (torch.arange(true.shape[1]) > 0)
    for share in (0.0, 0.3, 0.9):
        own = task._own_tokens(true, memory, state, share)
        assert (own[:, 0] == END).all()
        assert (own[true == PADDING] == PADDING).all()
        changed = (own != true)[there].double().mean()
        assert changed <= share + 0.05
        assert changed >= 0.5 * share
    losses = []
    for step in (0, 5, 10):
        torch.manual_seed(1)
        task.trainer = SimpleNamespace(global_step=step)
        losses.append(task.training_step(batch, 0).item())
    plain = model_of(model=model)
    assert losses[0] == plain.training_step(batch, 0).item()
    assert len(set(losses)) == 3


def changed_in(task, place):
    """Where the encoder's outputs differ when the token at ``place`` does, of five."""
    ids_BS, lengths_B = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]), torch.tensor([5, 5])
    ids_BS[1, place] = 7
    with torch.no_grad():
        outputs_BSM = task.begin(ids_BS, lengths_B)[0].outputs_BSM
    return [bool((outputs_BSM[0, s] != outputs_BSM[1, s]).any()) for s in range(5)]


def test_a_transformers_encoder_sees_the_whole_source_or_what_is_behind():
    assert changed_in(model_of(model="transformer"), 2) == [True] * 5
    one_way = model_of(model="transformer", bidirectional=False)
    assert changed_in(one_way, 2) == [False, False, True, True, True]


def test_what_a_model_that_attends_in_its_layers_has_no_use_for_is_told():
    for option in ({"attention": "additive"}, {"input_feeding": True}):
        with pytest.raises(ValueError, match="Transformer attends in its layers"):
            model_of(model="transformer", **option)


def test_weights_of_a_transformer_that_attended_behind_its_last_layer_are_refused():
    task = model_of(model="transformer")
    with pytest.raises(ConfigError, match=r"(?s)model=Transformer.*run of before.*train it again"):
        task.load_state_dict({**task.state_dict(), "combine.weight": torch.zeros(8, 24)})
