"""Bits per byte and perplexity against hand counts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.metrics.information import bits_per_byte, perplexity


def test_bits_per_byte_by_hand() -> None:
    # "héllo" is six bytes. Three tokens of probability 1/2, 1/4, 1/8 and a separator of 1/4 cost
    # 1 + 2 + 3 + 2 = 8 bits; one unknown piece, spelled with probability 1/16, four more.
    nats = -sum(math.log(p) for p in (1 / 2, 1 / 4, 1 / 8, 1 / 4))
    assert len("héllo".encode()) == 6
    assert bits_per_byte(nats, 0.0, 6) == pytest.approx(8 / 6, rel=1e-15)
    assert bits_per_byte(nats, math.log(16), 6) == pytest.approx(12 / 6, rel=1e-15)


def test_a_uniform_byte_model_costs_eight_bits_a_byte() -> None:
    assert bits_per_byte(1000 * math.log(256), 0.0, 1000) == pytest.approx(8, rel=1e-15)


def test_what_is_undefined_is_no_number() -> None:
    nan = float("nan")
    assert bits_per_byte(10.0, nan, 5) is None
    assert bits_per_byte(nan, 0.0, 5) is None
    assert bits_per_byte(10.0, 0.0, 0) is None
    assert perplexity(nan, 5) is None
    assert perplexity(10.0, 0) is None


def test_perplexity_by_hand() -> None:
    # The geometric mean of 1/p: of 2, 4, 8 and 4 it is (2 * 4 * 8 * 4) ** (1 / 4) = 4.
    assert perplexity(math.log(2 * 4 * 8 * 4), 4) == pytest.approx(4, rel=1e-15)
    assert perplexity(0.0, 7) == 1.0


def test_a_perplexity_beyond_float_is_infinite() -> None:
    assert perplexity(1e6, 1) == math.inf


@given(st.floats(0, 1e4), st.floats(0, 1e3), st.integers(1, 10**6), st.integers(1, 10**6))
def test_perplexity_and_bits_per_byte_are_one_number_in_two_units(
    nats: float, spelling: float, units: int, text_bytes: int
) -> None:
    bits = bits_per_byte(nats, spelling, text_bytes)
    per_unit = perplexity(nats + spelling, units)
    assert bits is not None
    assert per_unit is not None
    if math.isfinite(per_unit):
        assert math.log2(per_unit) * units == pytest.approx(bits * text_bytes, rel=1e-9, abs=1e-6)
