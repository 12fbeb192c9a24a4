import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.config.cross_checks import cross_checks
from lm_research.config.hypotheses import HypothesisError, hypothesis_problems, parse

NAMES = st.text("abcxyz_.0123456789-", min_size=1, max_size=8)


def test_less_and_greater_say_whose_metric_is_lower() -> None:
    found = parse("model=lstm < model=rnn")
    assert (found.lower, found.higher, found.where) == ({"model": "lstm"}, {"model": "rnn"}, {})
    turned = parse("model=rnn>model=lstm")
    assert (turned.lower, turned.higher) == (found.lower, found.higher)


def test_several_axes_and_a_condition() -> None:
    found = parse(" model=lstm, text=bpe  < text=byte,model=rnn where data=code, optimizer.lr=1e-3")
    assert found.lower == {"model": "lstm", "text": "bpe"}
    assert found.higher == {"text": "byte", "model": "rnn"}
    assert found.where == {"data": "code", "optimizer.lr": "1e-3"}
    assert (
        found.text
        == "model=lstm, text=bpe < text=byte,model=rnn where data=code, optimizer.lr=1e-3"
    )


def test_one_evaluation_source_may_be_named() -> None:
    found = parse("data=all < data=code on tweets where model=gru")
    assert (found.on, found.where) == ("tweets", {"model": "gru"})
    assert (found.lower, found.higher) == ({"data": "all"}, {"data": "code"})
    assert parse("data=all < data=code").on is None


@given(NAMES, NAMES, NAMES)
def test_what_is_written_is_read(axis: str, first: str, second: str) -> None:
    if first != second:
        found = parse(f"{axis}={first} < {axis}={second}")
        assert (found.lower, found.higher) == ({axis: first}, {axis: second})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model=lstm", "one < or >"),
        ("model=a < model=b < model=c", "one < or >"),
        ("model=lstm <= model=rnn", "no AXIS=VALUE"),
        ("lstm < rnn", "'lstm', which is no AXIS=VALUE"),
        ("model= < model=rnn", "no AXIS=VALUE"),
        ("model=a < text=b", "other axes on each side (model and text)"),
        ("model=a < model=a", "has model=a on both sides; write `where model=a`"),
        ("model=a < model=b where model=c", "fixes model, which it compares"),
        ("model=a, model=b < model=c", "names model twice"),
        ("", "one < or >"),
        ("data=a < data=b on ", "no name of an evaluation source"),
        ("data=a < data=b on x, y", "no name of an evaluation source"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, said: str) -> None:
    with pytest.raises(HypothesisError) as error:
        parse(text)
    assert said in str(error.value)


def test_a_problem_names_field_value_and_form() -> None:
    (problem,) = hypothesis_problems(["model=a < model=b", "model=a"], "sweeps/x.yaml")
    assert str(problem).startswith("  sweep.hypotheses[1]=model=a: has to hold one < or >")
    assert "allowed: AXIS=VALUE < AXIS=VALUE" in str(problem)
    assert "sweeps/x.yaml" in str(problem)


def test_they_are_checked_before_anything_runs() -> None:
    config = {"sweep": {"hypotheses": ["model=a ? model=b"]}}
    found = list(cross_checks(config, lambda field: f"{field}.yaml"))
    assert [problem.field for problem in found] == ["sweep.hypotheses[0]"]
