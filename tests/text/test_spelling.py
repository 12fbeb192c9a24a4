import itertools
import json
import math
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.spelling import END_SYMBOL, SYMBOLS, SpellingModel

WORDS = ["cat", " cats", "cart", "naïve", "日本", " the", "them", "a" * 20]


def trained(words, **kwargs):
    model = SpellingModel(**kwargs)
    model.train(Counter(words))
    return model


MODEL = trained(WORDS)


@given(st.one_of(st.binary(max_size=8), st.sampled_from([w.encode() for w in WORDS])))
def test_each_step_is_a_distribution(prefix):
    p_S = MODEL.distribution(prefix)
    assert p_S.shape == (SYMBOLS,)
    assert (p_S > 0).all()
    assert math.fsum(p_S) == pytest.approx(1, abs=1e-12)


@given(st.text(max_size=12))
def test_a_piece_costs_the_sum_of_its_steps(piece):
    data = piece.encode()
    steps = [MODEL.distribution(data[:i])[byte] for i, byte in enumerate(data)]
    steps.append(MODEL.distribution(data)[END_SYMBOL])
    assert MODEL.nats(piece) == pytest.approx(-np.log(steps).sum(), rel=1e-12)


def test_short_strings_have_less_than_all_the_probability():
    model = trained(["ab", "ba", "abb"])
    strings = ("".join(s) for n in range(9) for s in itertools.product("ab", repeat=n))
    total = math.fsum(math.exp(-model.nats(s)) for s in strings)
    assert 0.4 < total < 1


def test_untrained_it_is_uniform():
    assert SpellingModel().nats("é") == pytest.approx(3 * math.log(257))


def test_witten_bell_by_hand():
    """Types "ab" and "ac", order 2.

    Empty context: a 2, b 1, c 1, end 2; N = 6, T = 4. Start: a 2; N = 2, T = 1. After "a":
    b 1, c 1; N = 2, T = 2. After "b": end 1; N = 1, T = 1.
    """
    model = trained(["ab", "ac"], order=2)
    uniform = 1 / 257
    a = (2 + 4 * uniform) / 10
    b = (1 + 4 * uniform) / 10
    end = (2 + 4 * uniform) / 10
    expected = (2 + 1 * a) / 3 * (1 + 2 * b) / 4 * (1 + 1 * end) / 2
    assert model.nats("ab") == pytest.approx(-math.log(expected), rel=1e-14)
    z = 4 * uniform / 10  # never seen: what the start leaves to the empty context, times that
    # After "z", a context never seen, the empty context decides.
    assert model.nats("z") == pytest.approx(-math.log(1 * z / 3 * end), rel=1e-14)


def test_order_one_ignores_the_context():
    model = trained(["ab", "b"], order=1)
    np.testing.assert_allclose(model.distribution(b"a"), model.distribution(b""), rtol=0)


def test_it_learns_from_types_seen_once_where_there_are_enough():
    rare = [f"rare{i}" for i in range(50)]
    assert trained([*rare, "common", "common"]).state_dict()["types"] == sorted(rare)
    few = trained(["common", "common", "rare"])
    assert few.state_dict()["types"] == ["common", "rare"]


def test_likely_spellings_cost_less():
    assert MODEL.nats("cat") < MODEL.nats("tac") < MODEL.nats("qzj")


def test_many_types_are_thinned_evenly_and_reproducibly():
    words = [f"w{i:04d}" for i in range(1000)]
    kept = trained(words, maximum_types=100).state_dict()["types"]
    assert len(kept) == 100
    assert kept == trained(words[::-1], maximum_types=100).state_dict()["types"]
    assert 20 < sum(word < "w0500" for word in kept) < 80


def test_state_survives_json_and_pickle():
    other = SpellingModel(order=2)
    other.load_state_dict(json.loads(json.dumps(MODEL.state_dict())))
    copy = pickle.loads(pickle.dumps(MODEL))
    for piece in ("cat", "dog", "日本", ""):
        assert other.nats(piece) == copy.nats(piece) == MODEL.nats(piece)


def test_the_cache_does_not_change_answers(monkeypatch):
    monkeypatch.setattr("lm_research.text.spelling._CACHE_LIMIT", 3)
    small = trained(WORDS)
    assert [small.nats(w) for w in WORDS * 2] == [MODEL.nats(w) for w in WORDS * 2]
    assert len(small._nats_of_piece) <= 3
    assert len(small._nats_of_ngram) <= 3


def test_an_order_below_one_is_an_error():
    with pytest.raises(ValueError, match="order is 0"):
        SpellingModel(order=0)
