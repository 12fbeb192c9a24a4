import pytest

from lm_research.analysis.metric import Metric, compact, fixed


def test_a_known_metric_has_a_label_and_a_direction() -> None:
    bits, accuracy = Metric.named("val/bits_per_byte"), Metric.named("test/accuracy")
    assert (bits.label, bits.lower_is_better) == ("bits per byte", True)
    assert (accuracy.label, accuracy.lower_is_better) == ("accuracy", False)
    assert bits.on("bbc_news") == "eval/bbc_news/bits_per_byte"
    assert bits.gain(2.0, 2.5) == 0.5
    assert accuracy.gain(0.5, 0.25) == 0.25


def test_an_unknown_metric_is_named_as_recorded() -> None:
    metric = Metric.named("val/some_score", "maximize")
    assert (metric.label, metric.lower_is_better) == ("some score", False)


@pytest.mark.parametrize(
    ("half_width", "text"),
    [(None, ""), (0.0, "±0.000"), (0.0001, "±<0.001"), (0.0006, "±0.001"), (0.25, "±0.250")],
)
def test_half_widths(half_width: float | None, text: str) -> None:
    assert Metric.named("val/bits_per_byte").plus_minus(half_width) == text


def test_undefined_is_a_word() -> None:
    assert Metric.named("val/bits_per_byte").text(None) == "undefined"


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.5, "−0.500"), (-0.0001, "0.000"), (0.0, "0.000"), (1234.5, "1,234.500")],
)
def test_fixed_numbers(value: float, text: str) -> None:
    assert fixed(value, 3) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (12.34, "12.3"), (999.9, "1k"), (12_345, "12.3k"), (1.25e6, "1.25M"),
     (3.4e9, "3.4G"), (2e12, "2T")],
)  # fmt: skip
def test_compact_counts(value: float | None, text: str) -> None:
    assert compact(value) == text
