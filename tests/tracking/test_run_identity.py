import hashlib

import pytest

from lm_research.tracking.run_identity import (
    NOT_IDENTITY,
    config_hash,
    difference_table,
    differences,
)

CONFIG = {
    "model": {"_target_": "lm_research.models.lstm.LSTM", "hidden_size": 64, "dropout": 0.0},
    "evaluate_on": [],
    "seed": 1,
    "output": "runs/a",
}


def test_is_sha256_of_sorted_compact_json():
    text = '{"a":[1,"x",null,true],"b":{"c":0.5,"d":2}}'
    config = {"b": {"d": 2.0, "c": 0.5}, "a": [1, "x", None, True], "output": "there"}
    assert config_hash(config) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("key", sorted(NOT_IDENTITY))
def test_where_and_how_do_not_count(key):
    group, _, name = key.partition(".")
    config = CONFIG | {"callbacks": {"metrics": {"every": 5}}}
    change = config["callbacks"] | {name: "elsewhere"} if name else "elsewhere"
    assert config_hash(config | {group: change}) == config_hash(config)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"evaluate_on": ["code"]},
        {"callbacks": {"metrics": {"every": 5}}},
        {"checkpoint": 1},
        {"trainer": {"precision": "bf16"}},
        {"model": {**CONFIG["model"], "output": 3}},
    ],
)
def test_everything_else_counts(change):
    assert config_hash(CONFIG | change) != config_hash(CONFIG)


def test_true_is_not_one_and_text_is_no_number():
    assert len({config_hash({"a": value}) for value in (1, True, "1", None, [1])}) == 5


def test_differences_are_dotted_with_both_values():
    new = {**CONFIG, "seed": 2, "model": {"hidden_size": 65, "dropout": 0}, "evaluate_on": ["x"]}
    assert differences(CONFIG, new) == {
        "evaluate_on": ("[]", "(absent)"),
        "evaluate_on.0": ("(absent)", '"x"'),
        "model._target_": ('"lm_research.models.lstm.LSTM"', "(absent)"),
        "model.hidden_size": ("64", "65"),
        "seed": ("1", "2"),
    }
    assert "  model.hidden_size: 64 -> 65" in difference_table(CONFIG, new).splitlines()


def test_at_most_ten_differences_are_shown():
    table = difference_table({}, {f"k{i:02}": "v" * 99 for i in range(12)}).splitlines()
    assert len(table) == 11
    assert table[-1] == "  and 2 more"
    assert all(len(line) < 100 for line in table)
