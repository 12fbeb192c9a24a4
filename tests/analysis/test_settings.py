from pathlib import Path

import pytest

from lm_research.analysis.runs import find_runs, load_run
from lm_research.analysis.settings import (
    ReplicateError,
    differing_fields,
    find_axes,
    flatten,
    group_settings,
    value_of,
)

AXES = ("data", "vectorizer", "model")


def choices(**given: str) -> dict[str, str]:
    return {"data": "a", "text": "byte", "vectorizer": "one_hot", "model": "rnn", **given}


def test_a_grid_becomes_settings_in_the_order_of_the_sweep(grid: Path) -> None:
    runs = find_runs(grid)
    assert find_axes(runs) == AXES
    settings = group_settings(runs, AXES)
    assert len(settings) == 12
    assert all([run.seed for run in setting.runs] == [1, 2] for setting in settings)
    assert settings[0].values == ("python_code", "one_hot", "rnn")
    assert settings[0].label == "one_hot · rnn"
    assert settings[0]["model"] == "rnn"
    assert settings[0].others("vectorizer") == ("python_code", "rnn")


def test_an_estimate_is_over_the_seeds(make_run) -> None:
    runs = [
        load_run(make_run(str(s), s, {"val/bits_per_byte": 2.0 + s, "perf/x": 1.0})) for s in (1, 2)
    ]
    (setting,) = group_settings(runs, AXES)
    assert setting.values_by_seed("val/bits_per_byte") == {1: 3.0, 2: 4.0}
    estimate = setting.estimate("val/bits_per_byte")
    assert estimate is not None
    assert (estimate.mean, estimate.n) == (3.5, 2)
    assert setting.average("perf/x") == 1.0
    assert setting.average("perf/y") is None


def test_one_undefined_seed_leaves_the_setting_undefined(make_run) -> None:
    runs = [
        load_run(make_run("1", 1, {"val/bits_per_byte": 2.0})),
        load_run(make_run("2", 2, {"val/bits_per_byte": None})),
    ]
    (setting,) = group_settings(runs, AXES)
    assert setting.undefined("val/bits_per_byte")
    assert setting.estimate("val/bits_per_byte") is None
    assert not setting.undefined("val/accuracy")


def test_runs_that_differ_in_more_than_the_seed_are_refused_by_name(make_run) -> None:
    runs = [
        load_run(make_run(str(size), i, config={"model": {"hidden_size": size, "layers": 1}}))
        for i, size in enumerate((64, 128))
    ]
    with pytest.raises(ReplicateError, match=r"model\.hidden_size \(64, 128\)") as error:
        group_settings(runs, AXES)
    assert "model.layers" not in str(error.value)
    assert "add the field to the axes" in str(error.value)


def test_a_field_that_one_run_lacks_is_a_difference(make_run) -> None:
    runs = [
        load_run(make_run("1", 1, config={"optimizer": {"lr": 0.1}})),
        load_run(make_run("2", 2, config={"optimizer": {"lr": 0.1, "beta": 0.9}})),
    ]
    assert differing_fields(runs) == {"optimizer.beta": [None, 0.9]}


def test_a_seed_that_is_the_runs_own_is_no_axis(make_run) -> None:
    """A vectorizer that is fitted has a seed; another of the same study has none."""
    chosen = {"data": "a", "vectorizer": "glove", "model": "rnn"}
    runs = [load_run(make_run(f"one_hot-{s}", s)) for s in (1, 2)]
    for seed in (1, 2):
        config = {"vectorizer": {"dim": 8, "seed": seed}}
        runs.append(load_run(make_run(f"glove-{seed}", seed, choices=chosen, config=config)))
    assert find_axes(runs, ["vectorizer"]) == ("vectorizer",)
    assert [len(s.runs) for s in group_settings(runs, ["vectorizer"])] == [2, 2]
    other = {"vectorizer": {"dim": 8, "seed": 7}}
    runs.append(load_run(make_run("glove-3", 3, choices=chosen, config=other)))
    assert find_axes(runs, ["vectorizer"]) == ("vectorizer", "vectorizer.seed")


def test_different_data_under_one_name_are_refused(make_run) -> None:
    runs = [load_run(make_run(str(s), s, data={"fingerprint": f"sha256:{s}"})) for s in (1, 2)]
    with pytest.raises(ReplicateError, match=r"data\.json: fingerprint"):
        group_settings(runs, find_axes(runs))


def test_data_drawn_by_the_runs_own_seed_are_no_difference(make_run) -> None:
    """Folds of cross-validation; drawn by another seed they are one."""
    runs = []
    for seed in (1, 2):
        config, data = {"data": {"fold_seed": seed}}, {"fingerprint": f"sha256:{seed}"}
        runs.append(load_run(make_run(str(seed), seed, config=config, data=data)))
    assert differing_fields(runs) == {}
    other = {"data": {"fold_seed": 7}}
    runs.append(load_run(make_run("3", 3, config=other, data={"fingerprint": "sha256:7"})))
    assert set(differing_fields(runs)) == {"data.fold_seed", "data.json: fingerprint"}


def test_a_repeated_seed_is_refused_with_both_folders(make_run) -> None:
    runs = [load_run(make_run("first", 1)), load_run(make_run("again", 1))]
    with pytest.raises(ReplicateError, match=r"seed 1 is repeated \(.*first and .*again\)"):
        group_settings(runs, AXES)


def test_a_run_without_a_seed_is_refused(make_run) -> None:
    with pytest.raises(ReplicateError, match="no whole-number seed"):
        group_settings([load_run(make_run("a", config={"seed": None}))], AXES)


def test_what_cannot_move_a_number_may_differ(make_run) -> None:
    free = [
        {"output": "x", "tracking": {"mode": "offline"}, "evaluate_on": {"b": {"name": "b"}}},
        {"output": "y", "tracking": {"mode": "online"}, "cache": "/elsewhere", "resume": False},
    ]
    runs = [load_run(make_run(str(i), i, config=config)) for i, config in enumerate(free)]
    assert len(group_settings(runs, AXES)) == 1


def test_a_swept_field_becomes_an_axis(make_run) -> None:
    runs = [
        load_run(make_run(f"{size}-{s}", s, config={"model": {"hidden_size": size}}))
        for size in (64, 128)
        for s in (1, 2)
    ]
    axes = find_axes(runs)
    assert axes == (*AXES, "model.hidden_size")
    assert [s["model.hidden_size"] for s in group_settings(runs, axes)] == ["64", "128"]


def test_an_unlisted_choice_that_tells_runs_apart_becomes_an_axis(make_run) -> None:
    runs = [load_run(make_run(text, 1, choices=choices(text=text))) for text in ("byte", "word")]
    assert find_axes(runs, ["data"]) == ("data", "text")


def test_a_choice_that_follows_the_data_is_no_axis(make_run) -> None:
    pairs = [("a", "byte", "rnn"), ("b", "chinese_word", "rnn"), ("a", "byte", "lstm")]
    runs = [
        load_run(make_run(str(i), 1, choices=choices(data=d, text=t, model=m)))
        for i, (d, t, m) in enumerate(pairs)
    ]
    assert find_axes(runs) == ("data", "model")


def test_where_nothing_varies_the_usual_axes_name_the_setting(make_run) -> None:
    assert find_axes([load_run(make_run("a"))]) == AXES


def test_values_are_found_by_choice_and_by_field(make_run) -> None:
    run = load_run(make_run("a", config={"optimizer": {"lr": 0.1, "decay": None}}))
    assert value_of(run, "model") == "rnn"
    assert value_of(run, "optimizer.lr") == "0.1"
    assert value_of(run, "optimizer.decay") == "–"
    assert value_of(run, "optimizer.lr.deeper") == "–"


def test_flatten_keeps_lists_whole() -> None:
    nested = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": {}}
    assert flatten(nested) == {"a.b.c": 1, "a.d": [1, {"e": 2}], "f": {}}
