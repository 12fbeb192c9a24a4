import shutil
from pathlib import Path

import pytest

from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import Sweep, load_sweep


def study_of(folder: Path):
    return analyse(find_runs(folder), load_sweep(folder))


def test_a_grid_is_understood(grid: Path) -> None:
    study = study_of(grid)
    assert study.axes == ("data", "vectorizer", "model")
    assert [effect.axis for effect in study.effects] == ["data", "vectorizer", "model"]
    assert study.sources == ("python_code", "bbc_news")
    assert study.seeds == (1, 2)
    assert (study.unfinished, study.notes) == ((), ())
    assert [level.value for level in study.effects[1].levels] == [
        "embedding",
        "one_hot",
        "bag_of_words",
    ]
    assert study.effects[0].evaluations == ("python_code", "bbc_news")


def test_data_are_not_ranked_by_their_own_validation_texts(make_run) -> None:
    """Bits per byte of code and of news say which is easier, not which teaches more."""
    for seed in (1, 2):
        for data, value in (("easy", 1.0), ("hard", 3.0)):
            choices = {"data": data, "vectorizer": "v", "model": "m"}
            folder = make_run(
                f"{data}{seed}", seed, {"val/bits_per_byte": value + seed}, choices=choices
            )
    assert study_of(folder.parent).effects == ()


def test_failed_and_unfinished_runs_enter_no_number(make_grid, make_run) -> None:
    folder = make_grid(sources=["bbc_news"], vectorizers=["one_hot"])
    before = study_of(folder)
    failed = make_run("failed", 3, {"val/bits_per_byte": 99.0}, state="failed", error="boom",
                      choices=dict(before.runs[0].choices))  # fmt: skip
    running = make_run("running", 4, {"val/bits_per_byte": 99.0}, state="running")
    for place in (failed, running):
        shutil.copytree(place, folder / place.name)
    after = study_of(folder)
    assert [run.id for run in after.unfinished] == ["failed", "running"]
    assert after.winners[0].estimate == before.winners[0].estimate
    assert "1 run has the state failed and enters no number." in after.notes


def test_a_finished_run_without_a_configuration_is_set_aside(make_grid) -> None:
    folder = make_grid(sources=["bbc_news"], vectorizers=["one_hot"])
    (folder / "0" / "config.yaml").unlink()
    study = study_of(folder)
    assert [run.id for run in study.unfinished] == ["0"]
    assert any("without a readable configuration or seed" in note for note in study.notes)
    assert "config.yaml: missing (1 run)." in study.notes


def test_caveats_are_said(make_run) -> None:
    base = {"data": "a", "vectorizer": "v", "model": "m"}
    values = {"byte": (2.0, 2.1), "word": (None, None), "ngram": (1.9, 1.9)}
    for text, (one, two) in values.items():
        for seed, value in ((1, one), (2, two)):
            folder = make_run(
                f"{text}{seed}", seed, {"val/bits_per_byte": value}, choices={**base, "text": text},
                environment={"git": {"commit": f"c{seed}", "dirty": seed == 2}},
            )  # fmt: skip
    notes = " ".join(study_of(folder.parent).notes)
    assert "Bits per byte is undefined in 1 setting" in notes
    assert "In 1 setting all seeds gave the same value (ngram)" in notes
    assert "Perplexity and accuracy count tokens" in notes
    assert "The runs come from 2 different commits" in notes
    assert "uncommitted changes" in notes


def test_uneven_and_single_seeds_are_said(make_run) -> None:
    for name, seed, data in (("1", 1, "a"), ("2", 2, "a"), ("3", 1, "b")):
        folder = make_run(name, seed, choices={"data": data, "vectorizer": "v", "model": "m"})
    assert any("1 with 1 seed, 1 with 2 seeds" in note for note in study_of(folder.parent).notes)
    single = analyse(find_runs(folder), Sweep("x", "x"))
    assert any(note.startswith("One seed only") for note in single.notes)


def test_axes_beyond_the_sweeps_are_said(make_run) -> None:
    for size in (1, 2):
        folder = make_run(str(size), 1, config={"model": {"hidden_size": size}})
    study = analyse(find_runs(folder.parent), Sweep("x", "x", axes=("data",)))
    assert study.axes == ("data", "model.hidden_size")
    assert any("also differ in model.hidden_size" in note for note in study.notes)


def test_a_repeated_seed_stops_the_analysis(make_run) -> None:
    make_run("1", 1)
    folder = make_run("2", 1)
    with pytest.raises(ValueError, match="seed 1 is repeated"):
        study_of(folder.parent)


def test_without_a_finished_run_there_is_an_empty_study(make_run) -> None:
    study = study_of(make_run("a", state="failed", error="boom").parent)
    assert (study.settings, study.effects, study.matrix, study.winners) == ((), (), None, ())
