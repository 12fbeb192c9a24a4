"""Which settings a study has: against the product written out by hand."""

from itertools import product

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from lm_research.config.problems import ConfigError
from lm_research.studies.plan import Plan, override_text

STUDY = {
    "grid": {"data": ["code", "bbc_news"], "optimizer.lr": [0.1, 0.01]},
    "zip": [{"model": ["rnn", "lstm"], "model.hidden_size": [64, 32]}],
    "exclude": [{"data": "code", "model": "rnn"}, {"optimizer.lr": 0.1, "model": "lstm"}],
    "cases": [{"model": "ngram"}],
    "seeds": 3,
}


def test_grid_zip_exclude_and_cases():
    plan = Plan.of(STUDY)
    expected = [
        {"data": data, "optimizer.lr": lr, "model": model, "model.hidden_size": size}
        for data, lr, (model, size) in product(
            ["code", "bbc_news"], ["0.1", "0.01"], [("rnn", "64"), ("lstm", "32")]
        )
        if not (data == "code" and model == "rnn") and not (lr == "0.1" and model == "lstm")
    ]
    assert plan.settings() == [*expected, {"model": "ngram"}]
    assert plan.seeds == (1, 2, 3)
    assert plan.axes == ["data", "optimizer.lr", "model"]


def test_a_study_without_axes_is_one_setting_and_cases_alone_are_all():
    assert Plan.of({}).settings() == [{}]
    assert Plan.of({}).seeds == (1,)
    assert Plan.of({"cases": [{"model": "rnn"}]}).settings() == [{"model": "rnn"}]


def test_a_case_that_the_product_has_is_no_second_setting():
    study = {"grid": {"model": ["rnn", "lstm"]}, "cases": [{"model": "lstm"}, {"model": "gru"}]}
    assert [setting["model"] for setting in Plan.of(study).settings()] == ["rnn", "lstm", "gru"]


def test_the_command_line_replaces_fixes_and_adds():
    plan = Plan.of({"grid": {"data": ["code", "tweets"], "model": ["rnn", "lstm"]}})
    assert plan.narrowed([], {"model": ["gru", "cnn"]}).grid["model"] == ["gru", "cnn"]
    assert list(plan.narrowed(["model=gru"], {}).grid) == ["data"]  # it stays an override of all
    added = plan.narrowed([], {"optimizer.lr": ["1", "2"], "seed": ["4", "5"]})
    assert list(added.grid) == ["data", "model", "optimizer.lr"]
    assert added.seeds == (4, 5)
    assert plan.narrowed(["seed=7"], {}).seeds == (7,)


def test_rows_are_chosen_by_value():
    study = {
        "zip": [{"model": ["rnn", "lstm"], "x": [1, 2]}],
        "cases": [{"model": "gru"}, {"y": 1}],
    }
    chosen = Plan.of(study).narrowed(["model='lstm'"], {})
    assert chosen.settings() == [{"model": "lstm", "x": "2"}, {"y": "1"}]
    with pytest.raises(ConfigError, match=r"model=cnn: .*\n.*allowed: gru, lstm, rnn"):
        Plan.of(study).narrowed(["model=cnn"], {})
    with pytest.raises(ConfigError, match=r"seed=one: is no seed"):
        Plan.of(study).narrowed(["seed=one"], {})


@pytest.mark.parametrize(
    ("study", "said"),
    [
        (
            {"zip": [{"a": [1, 2], "b": [1]}]},
            r"sweep.zip\[0\]=a 2, b 1: lists of different",
        ),
        ({"zip": [{}]}, r"sweep.zip\[0\]"),
        ({"grid": {"a": []}}, "sweep.grid.a=.*has no values"),
        ({"grid": {"a": [1]}, "zip": [{"a": [1]}]}, r"sweep\.\*\.a: is varied in two places"),
        ({"grid": {"seed": [1]}}, "sweep.seeds"),
        ({"grid": {"a": [1]}, "exclude": [{"b": 1}]}, r"sweep.exclude\[0\].b: .*\n.*allowed: a"),
        ({"seeds": [1, 2, 1]}, "sweep.seeds=1: a seed twice"),
        ({"seeds": []}, "has no seeds"),
        ({"seeds": 10**9}, "sweep.seeds=1000000000: are too many"),
        ({"grid": {c: list(range(100)) for c in "abcdef"}}, "makes 1,000,000,000,000 settings"),
    ],
)
def test_what_does_not_fit_together_is_told(study, said):
    with pytest.raises(ConfigError, match=said):
        Plan.of(study)


def test_everything_excluded_is_told():
    plan = Plan.of({"grid": {"a": [1]}, "exclude": [{"a": 1}]})
    with pytest.raises(ConfigError, match="nothing is left"):
        plan.narrowed([], {})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(VALUES)
def test_hydra_reads_a_value_as_it_was_written(value):
    override = OverridesParser.create().parse_override(f"key={override_text(value)}")
    assert _plain(override.value()) == value


def _plain(value):
    """Hydra keeps the quotes of text in an object of its own."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return getattr(value, "text", value)
