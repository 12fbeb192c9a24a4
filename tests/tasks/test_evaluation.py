"""Scores of a whole split: one stream, whatever the window; against loops over single tokens."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.data.batches import Batch
from lm_research.data.document import DataError
from lm_research.data.token_store import TokenSplit
from lm_research.models.ngram import KneserNey
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.evaluation import evaluate, evaluating, sampled_loss
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.text.bpe import BPETokenizer
from lm_research.text.byte import ByteTokenizer
from lm_research.text.character import CharacterTokenizer
from lm_research.text.tokenizer import Tokenizer
from lm_research.text.word import WordTokenizer
from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.tagged import TaggedVectorizer
from lm_research.vectorizers.tfidf import TfIdf

VOCABULARY = 11
WINDOWS = [1, 7, 64, 1000]
MODELS = ["rnn", "gru", "lstm", "cnn", "tcn", "min_gru", "min_lstm", "transformer"]


def random_documents(count: int, longest: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, longest + 1, count)
    return [rng.integers(1, VOCABULARY, size).tolist() for size in sizes]


def vectorizer(kind: str) -> Any:
    torch.manual_seed(1)
    if kind == "embedding":
        return Embedding(VOCABULARY, 5)
    tags = np.arange(VOCABULARY) % 3
    inner = TfIdf(VOCABULARY, window=6, projection=4)
    inner.fit([np.array(d) for d in random_documents(20, 30, seed=9) if d])
    return TaggedVectorizer(inner, tags, 3, 2)


def stream_of(split: TokenSplit) -> list[int]:
    return np.asarray(split.ids_N).tolist()


def naive_nats(task: LanguageModeling, split: TokenSplit) -> list[float]:
    """-ln p of every token after the first, each from all tokens before it, from scratch."""
    ids = stream_of(split)
    nats = []
    with evaluating(task), torch.no_grad():
        for position in range(1, len(ids)):
            prefix = torch.tensor([ids[:position]])
            y_BTH, _ = task.model(task.vectorizer(prefix))
            logits = task.head(y_BTH[0, -1]).tolist()
            largest = max(logits)
            log_sum = largest + math.log(math.fsum(math.exp(x - largest) for x in logits))
            nats.append(log_sum - logits[ids[position]])
    return nats


def per_document(nats: list[float], documents: list[list[int]]) -> list[float]:
    """A document's tokens and the separator that ends it."""
    iterator = iter(nats)
    return [math.fsum(next(iterator) for _ in range(len(d) + 1)) for d in documents]


@pytest.mark.parametrize("kind", ["embedding", "tagged tf-idf"])
@pytest.mark.parametrize("model", MODELS)
def test_a_split_costs_what_a_loop_over_its_tokens_says(make_task, make_split, model, kind) -> None:
    documents = random_documents(9, 14)
    split = make_split(documents, text_bytes=[3 * len(d) + 1 for d in documents])
    task = make_task(model, vectorizer(kind))
    nats = naive_nats(task, split)
    with evaluating(task):
        result = evaluate(task, split, window=5)
    size = sum(3 * len(d) + 1 for d in documents)
    # float64 throughout; the log-probabilities are summed in another order.
    assert result.scores["bits_per_byte"] == pytest.approx(
        math.fsum(nats) / size / math.log(2), rel=1e-12
    )
    assert result.scores["loss_nats"] == pytest.approx(np.mean(nats), rel=1e-12)
    assert result.scores["perplexity_token"] == pytest.approx(math.exp(np.mean(nats)), rel=1e-12)
    assert result.document_nats == pytest.approx(per_document(nats, documents), rel=1e-11)
    assert result.document_bytes.tolist() == [3 * len(d) + 1 for d in documents]
    assert result.scores["tokens"] == len(nats)
    assert result.scores["bytes"] == size


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
@pytest.mark.parametrize("kind", ["embedding", "tagged tf-idf"])
@pytest.mark.parametrize("model", MODELS)
def test_the_window_changes_no_score(make_task, make_split, model, kind, dtype, tolerance) -> None:
    split = make_split(random_documents(12, 40))
    task = make_task(model, vectorizer(kind), dtype)
    with evaluating(task):
        first, *others = [evaluate(task, split, window) for window in WINDOWS]
    for other in others:
        assert other.scores == pytest.approx(first.scores, rel=tolerance)
        assert other.document_nats == pytest.approx(first.document_nats, rel=tolerance, abs=1e-9)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_counted_model_does_not_depend_on_the_window_either(make_split, window) -> None:
    train = make_split(random_documents(40, 20, seed=1), name="train")
    split = make_split(random_documents(12, 30))
    counted = KneserNey(VOCABULARY, order=3)
    counted.fit(np.asarray(train.ids_N, np.int64))
    model = CountedLanguageModel(counted, VOCABULARY)
    ids = np.asarray(split.ids_N, np.int64)
    log_p = [counted.log_probabilities(ids[:n], n - 1, n)[0, ids[n]] for n in range(1, len(ids))]
    result = evaluate(model, split, window)
    assert result.scores["loss_nats"] == pytest.approx(-np.mean(log_p), rel=1e-12)
    assert evaluate(model, split, 1).document_nats == pytest.approx(result.document_nats, rel=1e-9)


def test_nothing_that_training_left_behind_matters(make_task, make_split) -> None:
    split = make_split(random_documents(6, 20))
    task = make_task("lstm")
    with evaluating(task):
        before = evaluate(task, split, 16)
    ids_BT = torch.randint(VOCABULARY, (5, 7))
    task.training_step(Batch(ids_BT, ids_BT, True), 0)  # a carried state of five lanes
    stream = task.stream
    with evaluating(task):
        after = evaluate(task, split, 16)
    assert after.scores == before.scores
    assert task.stream is stream  # nor does an evaluation disturb what training carries


def test_evaluation_mode_is_left_as_it_was(make_task) -> None:
    task = make_task("lstm")
    for mode in (True, False):
        task.train(mode)
        with evaluating(task):
            assert not task.training
            assert not task.model.training
        assert task.training is mode
    with evaluating(object()):
        pass


@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_documents_shares_sum_to_the_whole(make_task, make_split, count) -> None:
    documents = random_documents(count, 25, seed=count)
    spelling = [0.5 * i for i in range(count)]
    split = make_split(documents, spelling=spelling)
    task = make_task("gru")
    with evaluating(task):
        result = evaluate(task, split, 10)
    total = result.scores["loss_nats"] * result.scores["tokens"] + sum(spelling)
    assert result.document_nats.sum() == pytest.approx(total, rel=1e-12)
    bits = result.document_nats.sum() / result.document_bytes.sum() / math.log(2)
    assert bits == pytest.approx(result.scores["bits_per_byte"], rel=1e-12)


class Uniform:
    """Every token has the probability 1/V."""

    def __init__(self, vocabulary_size: int) -> None:
        self.vocabulary_size = vocabulary_size

    def start(self, batch: int) -> None:
        return None

    def advance(self, ids_BT: Tensor, stream: None) -> tuple[Tensor, None]:
        shape = (*ids_BT.shape, self.vocabulary_size)
        return torch.full(shape, -math.log(self.vocabulary_size), dtype=torch.float64), None


TRAINING_TEXTS = ["the cat sat on the mat; the dog too\n", "a dog, a cat, the mat: so it is\n"] * 3
HELD_OUT = ["the cät sat\n", "a zebra? 世界!", "", "the dog"]
TOKENIZERS = {
    "byte": ByteTokenizer(),
    "character": CharacterTokenizer(40, minimum_count=2),
    "word": WordTokenizer(20, minimum_count=2),
    "bpe": BPETokenizer(280),
    "lower-cased word": WordTokenizer(20, lowercase=True),
}


def trained(name: str) -> Tokenizer:
    tokenizer = TOKENIZERS[name]
    tokenizer.train(TRAINING_TEXTS)
    return tokenizer


def split_of_texts(make_split, tokenizer: Tokenizer, texts: list[str]) -> TokenSplit:
    encodings = [tokenizer.encode(text) for text in texts]
    return make_split(
        [e.ids_N for e in encodings],
        [len(text.encode()) for text in texts],
        [len(text.split()) for text in texts],
        [e.spelling_nats for e in encodings],
    )


@pytest.mark.parametrize("name", ["byte", "character", "word", "bpe"])
def test_a_uniform_model_has_its_closed_form(make_split, name) -> None:
    tokenizer = trained(name)
    size = tokenizer.vocabulary_size
    split = split_of_texts(make_split, tokenizer, HELD_OUT)
    result = evaluate(Uniform(size), split, 4)
    encodings = [tokenizer.encode(text) for text in HELD_OUT]
    tokens = sum(len(e.ids_N) + 1 for e in encodings)  # each document with its separator
    # Hand counts: UTF-8 bytes, and words between white space (Chinese has one here).
    text_bytes, words = 13 + 16 + 0 + 7, 3 + 3 + 0 + 2
    spelling = sum(e.spelling_nats for e in encodings)
    assert (spelling > 0) == (name in ("character", "word"))
    nats = tokens * math.log(size) + spelling
    assert result.scores["bits_per_byte"] == pytest.approx(
        nats / (text_bytes * math.log(2)), rel=1e-12
    )
    assert result.scores["perplexity_token"] == pytest.approx(size, rel=1e-12)
    word_perplexity = math.exp(nats / (words + len(HELD_OUT)))
    assert result.scores["perplexity_word"] == pytest.approx(word_perplexity, rel=1e-12)
    assert result.scores["tokens"] == tokens
    assert evaluate(Uniform(size), split, 4, words=False).scores["perplexity_word"] is None


@pytest.mark.parametrize("name", ["character", "word"])
def test_unknown_pieces_cost_their_spelling(make_split, name) -> None:
    tokenizer = trained(name)
    pieces = tokenizer.segment(HELD_OUT[1])
    unknown = [p for p in pieces if tokenizer.encode(p).ids_N.tolist() == [tokenizer.unknown_id]]
    assert len(unknown) >= 2
    split = split_of_texts(make_split, tokenizer, [HELD_OUT[1]])
    result = evaluate(Uniform(tokenizer.vocabulary_size), split, 100)
    nats = (len(pieces) + 1) * math.log(tokenizer.vocabulary_size)
    nats += sum(tokenizer.spelling.nats(piece) for piece in unknown)
    assert result.scores["bits_per_byte"] == pytest.approx(nats / 16 / math.log(2), rel=1e-12)
    assert result.document_nats == pytest.approx([nats], rel=1e-12)


def test_lost_capitals_leave_bits_per_byte_undefined(make_split) -> None:
    tokenizer = trained("lower-cased word")
    split = split_of_texts(make_split, tokenizer, ["the cat", "The cat"])
    result = evaluate(Uniform(tokenizer.vocabulary_size), split, 100)
    assert result.scores["bits_per_byte"] is None
    assert result.scores["perplexity_word"] is None
    assert result.scores["perplexity_token"] == pytest.approx(tokenizer.vocabulary_size)
    assert np.isnan(result.document_nats).tolist() == [False, True]


def test_a_split_without_documents_is_an_error(make_split) -> None:
    with pytest.raises(DataError, match=r"the test split has no document.*splits\.test"):
        evaluate(Uniform(5), make_split([], name="test"), 4)


def test_a_document_without_tokens_costs_its_separator(make_split) -> None:
    result = evaluate(Uniform(5), make_split([[], [1, 2], []]), 2)
    assert result.document_nats == pytest.approx([math.log(5), 3 * math.log(5), math.log(5)])


def test_progress_is_told(make_split) -> None:
    told = []
    evaluate(Uniform(5), make_split([[1, 2, 3, 4]]), 2, progress=lambda *n: told.append(n))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_every_process_scores_for_itself(make_split, monkeypatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("one process waits for the others")

    monkeypatch.setattr("torchmetrics.metric.jit_distributed_available", lambda: True)
    monkeypatch.setattr("torchmetrics.metric.gather_all_tensors", refuse)
    assert evaluate(Uniform(5), make_split([[1, 2, 3, 4]]), 2).scores["tokens"] == 5


def test_half_precision_is_scored_in_single(make_task) -> None:
    for dtype, expected in (
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        task = make_task("cnn", dtype=dtype).eval()
        log_p_BTV, _ = task.advance(torch.tensor([[1, 2]]), task.start(1))
        assert log_p_BTV.dtype == expected
        assert not log_p_BTV.requires_grad


@pytest.mark.parametrize(("window", "stride"), [(7, 7), (7, 3), (7, 1), (500, 2)])
@pytest.mark.parametrize("model", ["lstm", "tcn", "transformer"])
def test_by_stride_each_token_has_its_window_alone(
    make_task, make_split, model, window, stride
) -> None:
    documents = random_documents(9, 14)
    split, task = make_split(documents), make_task(model)
    ids, nats = stream_of(split), []
    with evaluating(task), torch.no_grad():
        result = evaluate(task, split, window, stride=stride)
        for position in range(1, len(ids)):
            # The first window whole; then the least window that is a multiple of strides on.
            begin = -(-max(position - window, 0) // stride) * stride
            begin = max(min(begin, len(ids) - 1 - window), 0)
            y_BTH, _ = task.model(task.vectorizer(torch.tensor([ids[begin:position]])))
            log_p_V = task.head(y_BTH[0, -1]).log_softmax(-1)
            nats.append(-float(log_p_V[ids[position]]))
    assert result.scores["loss_nats"] == pytest.approx(np.mean(nats), rel=1e-11)
    assert result.document_nats == pytest.approx(per_document(nats, documents), rel=1e-11)


def test_a_reach_within_the_context_needs_no_stride(make_task, make_split) -> None:
    """The TCN of two blocks sees 13 tokens: strided windows with as many say what a stream says."""
    split, task = make_split(random_documents(12, 40)), make_task("tcn")
    assert task.model.receptive_field == 13
    with evaluating(task):
        whole, strided = evaluate(task, split, 64), evaluate(task, split, 30, stride=30 - 12)
    assert strided.scores == pytest.approx(whole.scores, rel=1e-12)


def test_random_batches_mean_what_a_loop_over_them_does(make_task, make_split) -> None:
    split, task = make_split(random_documents(30, 40)), make_task("lstm")
    ids = np.asarray(split.ids_N, np.int64)
    with evaluating(task), torch.no_grad():
        found = sampled_loss(task, split, 3, 8, 4, seed=5)
        losses = []
        for number in range(4):
            for start in np.random.default_rng((5, number)).integers(len(ids) - 8, size=3):
                window = torch.from_numpy(ids[start : start + 9])[None]
                y_BTH, _ = task.model(task.vectorizer(window[:, :-1]))
                log_p_TV = task.head(y_BTH[0]).log_softmax(-1)
                losses.append(float(F.nll_loss(log_p_TV, window[0, 1:])))
        assert found == pytest.approx(np.mean(losses), rel=1e-12)
        assert sampled_loss(task, split, 3, 8, 4, seed=5) == found
        assert sampled_loss(task, split, 3, 8, 4, seed=6) != found
