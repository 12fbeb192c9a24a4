"""Sampling: which tokens may come, how often they do, where it ends."""

import copy
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from lm_research.tasks.evaluation import DivergenceError
from lm_research.tasks.generation import generate, generate_several
from lm_research.tasks.sampling import Sampling, choose, choose_rows
from lm_research.tasks.streaming import select, stepper
from lm_research.text.byte import ByteTokenizer
from lm_research.vectorizers.bag_of_words import BagOfWords

DRAWS = 4000
MODELS = ["rnn", "gru", "lstm", "cnn", "transformer", "nplm", "log_bilinear"]
MODELS += ["tcn", "min_gru", "min_lstm"]
P = [0.05, 0.4, 0.1, 0.25, 0.2]
LOG_P = torch.tensor(P, dtype=torch.float64).log()


def draws(log_p_V: Tensor, count: int = DRAWS, **options: float) -> list[int]:
    generator = torch.Generator().manual_seed(0)
    sampling = Sampling(**options)
    return [choose(log_p_V, sampling, generator) for _ in range(count)]


def p_value(found: list[int], expected: dict[int, float]) -> float:
    """That draws come from these probabilities; a token of none must not come at all."""
    counts = Counter(found)
    assert set(counts) <= set(expected)
    if len(expected) == 1:
        return 1.0
    total = sum(expected.values())
    wanted = [len(found) * p / total for p in expected.values()]
    return chisquare([counts[i] for i in expected], wanted).pvalue


def test_draws_come_with_the_probabilities_of_the_model() -> None:
    assert p_value(draws(LOG_P), dict(enumerate(P))) > 1e-3


def test_a_test_for_wrong_probabilities_would_see_it() -> None:
    assert p_value(draws(LOG_P), dict(enumerate([0.2] * 5))) < 1e-9


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_log_probabilities(temperature: float) -> None:
    expected = {i: p ** (1 / temperature) for i, p in enumerate(P)}
    assert p_value(draws(LOG_P, temperature=temperature), expected) > 1e-3


def test_a_high_temperature_is_uniform_and_a_low_one_greedy() -> None:
    assert p_value(draws(LOG_P, temperature=1e9), dict.fromkeys(range(5), 0.2)) > 1e-3
    for temperature in (0, 1e-3, 1e-300, 5e-324):
        assert set(draws(LOG_P, 50, temperature=temperature)) == {1}


@pytest.mark.parametrize(
    ("top_k", "kept"), [(1, [1]), (2, [1, 3]), (3, [1, 3, 4]), (5, range(5)), (99, range(5))]
)
def test_top_k_keeps_the_k_most_probable(top_k: int, kept: list[int]) -> None:
    assert p_value(draws(LOG_P, top_k=top_k), {i: P[i] for i in kept}) > 1e-3


@pytest.mark.parametrize(
    ("top_p", "kept"),
    # In order: 0.4 0.25 0.2 0.1 0.05; together 0.4 0.65 0.85 0.95 1.
    [
        (0.01, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.64, [1, 3]),
        (0.66, [1, 3, 4]),
        (0.9, [1, 2, 3, 4]),
        (0.96, range(5)),
        (1.0, range(5)),
    ],
)
def test_top_p_keeps_the_fewest_that_hold_it(top_p: float, kept: list[int]) -> None:
    assert p_value(draws(LOG_P, top_p=top_p), {i: P[i] for i in kept}) > 1e-3


def test_top_p_is_measured_after_temperature_and_top_k() -> None:
    # Of the three best, 0.4 0.25 0.2, the first two hold 0.76 of what is left.
    assert p_value(draws(LOG_P, top_k=3, top_p=0.75), {1: 0.4, 3: 0.25}) > 1e-3
    # Cold enough, the best alone holds more than a half.
    assert set(draws(LOG_P, 200, temperature=0.25, top_p=0.5)) == {1}


def test_of_equal_tokens_those_of_lower_id_are_kept() -> None:
    equal = torch.full((6,), -math.log(6))
    assert set(draws(equal, 100, top_k=1)) == set(draws(equal, 5, temperature=0)) == {0}
    assert set(draws(equal, 300, top_k=2)) == {0, 1}
    assert set(draws(equal, 300, top_p=0.4)) == {0, 1, 2}


@given(st.lists(st.floats(-30, 0), min_size=1, max_size=20), st.integers(0, 9))
def test_one_candidate_is_the_greedy_one(scores: list[float], seed: int) -> None:
    log_p_V = torch.tensor(scores).log_softmax(0)
    generator = torch.Generator().manual_seed(seed)
    greedy = choose(log_p_V, Sampling(temperature=0), generator)
    assert greedy == int(log_p_V.argmax())
    assert choose(log_p_V, Sampling(top_k=1), generator) == greedy
    assert choose(log_p_V, Sampling(top_p=1e-9), generator) == greedy


def test_a_token_of_no_probability_never_comes() -> None:
    log_p_V = torch.tensor([-math.inf, math.log(0.5), -math.inf, math.log(0.5)])
    for options in ({}, {"temperature": 100.0}, {"top_k": 3}, {"top_p": 1.0}):
        assert set(draws(log_p_V, 200, **options)) == {1, 3}


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"top_k": 2}])
def test_a_model_that_diverged_is_told(options: dict[str, float]) -> None:
    with pytest.raises(DivergenceError, match=r"not numbers.*lower optimizer\.lr"):
        draws(torch.tensor([0.0, math.nan]), 1, **options)


def drawn_alone(log_p_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """A draw as its definition has it: the row sorted in float64, and torch.multinomial."""
    if sampling.temperature == 0:
        return int(log_p_V.argmax())
    ordered, ids = log_p_V.double().sort(descending=True, stable=True)
    p = ((ordered - ordered[0]) / sampling.temperature)[: sampling.top_k].softmax(0)
    if sampling.top_p is not None:
        p = p[p.cumsum(0) - p < sampling.top_p]
    return int(ids[torch.multinomial(p, 1, generator=generator)])


HOW = [
    {},
    {"temperature": 0},
    {"temperature": 0.3, "top_k": 5},
    {"temperature": 2.0, "top_k": 5},
    {"top_p": 0.9},
    {"temperature": 1.5, "top_k": 40, "top_p": 0.7},
    {"top_k": 1000},
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 2, 17, 300])
def test_many_rows_are_each_drawn_as_alone(size: int, dtype: torch.dtype) -> None:
    """Rows of all kinds at once, equal scores and scores of minus infinity among them."""
    draw = torch.Generator().manual_seed(size)
    how = [Sampling(**HOW[row % len(HOW)]) for row in range(20)]
    together, alone = ([torch.Generator().manual_seed(n) for n in range(20)] for _ in range(2))
    for _ in range(30):
        scores_RV = (torch.randn(20, size, generator=draw, dtype=dtype) * 8).round() / 4
        scores_RV[:, 1:][torch.rand(20, size - 1, generator=draw) < 0.1] = -math.inf
        scores_RV[scores_RV == 0] *= torch.randn(1, generator=draw, dtype=dtype).sign()
        found = choose_rows(scores_RV, how, together)
        assert found == [*map(drawn_alone, scores_RV, how, alone)]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_row_that_is_no_distribution_is_told(wrong: float, dtype: torch.dtype) -> None:
    scores_RV = torch.randn(4, 6, dtype=dtype)
    if wrong == -math.inf:
        scores_RV[2] = wrong
    else:
        scores_RV[2, 3] = wrong
    generators = [torch.Generator() for _ in range(4)]
    with pytest.raises(DivergenceError, match="not numbers"):
        choose_rows(scores_RV, [Sampling()] * 4, generators)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature": -0.1}, "temperature=-0.1: allowed is a number at least 0"),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"temperature": math.inf}, "temperature=inf: .* finite"),
        ({"top_k": 0}, "top_k=0: allowed is a number at least 1"),
        ({"top_p": 0.0}, r"top_p=0.0: allowed is a number within \(0, 1\]"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"top_p": math.nan}, "top_p=nan"),
    ],
)
def test_wrong_values_are_told(options: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Sampling(**options)


class Alphabet:
    """After byte b, b + 1 has the probability 0.9 and "z" 0.1; after "e" the document ends.

    Notes what it was asked, and carries all that it has read.
    """

    vocabulary_size = 257

    def __init__(self) -> None:
        self.read: list[list[int]] = []

    def start(self, batch: int) -> list[int]:
        assert batch == 1
        return []

    def advance(self, ids_BT: Tensor, stream: list[int]) -> tuple[Tensor, list[int]]:
        stream = stream + ids_BT[0].tolist()
        self.read.append(stream)
        log_p_BTV = torch.full((1, ids_BT.shape[1], 257), -math.inf)
        for position, id in enumerate(ids_BT[0].tolist()):
            ends = id == ord("e") + 1
            log_p_BTV[0, position, 0 if ends else (id + 1) % 257] = math.log(0.9)
            log_p_BTV[0, position, ord("z") + 1] = math.log(0.1)
        return log_p_BTV, stream


def text(prompt: str = "a", length: int = 10, **options: float) -> str:
    ids = generate(Alphabet(), ByteTokenizer(), prompt, length, Sampling(**options))
    return ByteTokenizer().decode(ids)


def test_greedy_is_the_same_whatever_the_seed() -> None:
    assert {text(temperature=0, seed=seed) for seed in range(5)} == {"bcde"}
    assert {text(top_k=1, seed=seed) for seed in range(5)} == {"bcde"}


def test_it_ends_at_the_separator_or_at_the_length() -> None:
    assert text(length=10, temperature=0) == "bcde"
    assert text(length=4, temperature=0) == "bcde"
    assert text(length=3, temperature=0) == "bcd"
    assert text(length=0, temperature=0) == ""
    assert text(prompt="e", temperature=0) == ""


def test_a_seed_is_reproducible_and_seeds_differ() -> None:
    found = [text(length=200, prompt="0", seed=seed) for seed in range(8)]
    assert found == [text(length=200, prompt="0", seed=seed) for seed in range(8)]
    assert len(set(found)) > 4
    torch.manual_seed(5)  # nor does anybody else's generator matter
    torch.rand(3)
    assert text(length=200, prompt="0", seed=3) == found[3]
    before = torch.get_rng_state()
    text(seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_prompt_is_read_as_the_beginning_of_a_document() -> None:
    model = Alphabet()
    list(generate(model, ByteTokenizer(), "ab", 2, Sampling(temperature=0)))
    assert model.read[0] == [0, ord("a") + 1, ord("b") + 1]
    assert model.read[1] == [*model.read[0], ord("c") + 1]
    model = Alphabet()
    ids = list(generate(model, ByteTokenizer(), "", 2, Sampling(temperature=0)))
    assert model.read[0] == [0]
    assert ids == [1, 2]


class Tokens(ByteTokenizer):
    """Few."""

    def encode(self, text: str):
        encoding = super().encode(text)
        return encoding._replace(ids_N=encoding.ids_N % 11)


@pytest.mark.parametrize("name", MODELS)
def test_several_at_once_are_each_what_it_is_alone(make_task, name: str) -> None:
    task = make_task(name).eval()
    how = [Sampling(temperature=1.0 + seed / 9, seed=seed) for seed in range(9)]
    alone = [list(generate(task, Tokens(), "some prompt", 30, each)) for each in how]
    assert generate_several(task, Tokens(), "some prompt", 30, how) == alone
    assert len(set(map(len, alone))) > 2  # some end before others
    assert generate_several(task, Tokens(), "some prompt", 30, how[4:6]) == alone[4:6]
    assert generate_several(task, Tokens(), "", 0, how[:1]) == [[]]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("vectorizer", [None, BagOfWords(11, window=3)], ids=["embedding", "bag"])
def test_prepared_steps_have_the_probabilities_of_float64(make_task, name, vectorizer) -> None:
    """Float32 steps of several streams, some of which leave, beside the whole text at once."""
    exact = make_task(name, copy.deepcopy(vectorizer)).eval()
    task = copy.deepcopy(exact).float()
    ids_BT = torch.randint(11, (5, 12), generator=torch.Generator().manual_seed(0))
    expected, _ = exact.advance(ids_BT, exact.start(5))
    _, stream = task.advance(ids_BT[:, :2], task.start(5))
    step, rows = stepper(task), torch.arange(5)
    for t in range(2, 12):
        if t == 6:
            rows = torch.tensor([4, 0, 2])
            stream = select(stream, rows)
        scores_BV, stream = step(ids_BT[rows, t], stream)
        assert scores_BV.dtype == torch.float32
        found = scores_BV.double().log_softmax(-1)
        torch.testing.assert_close(found, expected[rows, t], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_a_stepper_is_of_the_weights_when_it_was_made(make_task, name: str) -> None:
    task = make_task(name, dtype=torch.float32).eval()
    how, length = Sampling(temperature=0), 12
    before = list(generate(task, Tokens(), "some prompt", length, how))
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator()))
    fresh = make_task(name, dtype=torch.float32).eval()
    fresh.load_state_dict(task.state_dict())
    after = list(generate(task, Tokens(), "some prompt", length, how))
    assert after == list(generate(fresh, Tokens(), "some prompt", length, how)) != before


@pytest.mark.parametrize("name", MODELS)
def test_cached_steps_are_those_of_the_whole_text(make_task, name: str) -> None:
    """Greedy continuation, worked out anew from the whole prefix at every token."""
    seed = int(name == "min_gru")  # the other one ends its text at once
    task = make_task(name, seed=seed).eval()
    found = list(generate(task, Tokens(), "some prompt", 15, Sampling(temperature=0)))
    prefix = [0, *Tokens().encode("some prompt").ids_N.tolist()]
    expected = []
    with torch.no_grad():
        while len(expected) < 15:
            y_BTH, _ = task.model(task.vectorizer(torch.tensor([prefix + expected])))
            token = int(task.head(y_BTH[0, -1]).argmax())
            if token == 0:
                break
            expected.append(token)
    assert found == expected
    assert len(found) > 3
