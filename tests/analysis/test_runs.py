import json
import math
from pathlib import Path

import pytest

from lm_research.analysis.runs import find_runs, load_run


def test_a_whole_run_is_read_without_notes(grid: Path) -> None:
    run = load_run(grid / "0")
    assert run.notes == ()
    assert (run.done, run.seed, run.source, run.source_name) == (
        True,
        1,
        "python_code",
        "python_code",
    )
    assert run.choices["vectorizer"] == "one_hot"
    assert run.summary["model/parameters"] == 98_560
    assert len(run.curve) == 13
    assert run.seconds() == 11.0
    assert run.environment["python"] == "3.11.9"
    assert run.data["left_out"]["skipped"] == {"empty": 2}


def test_runs_are_found_in_natural_order_and_not_within_runs(grid: Path, make_run) -> None:
    assert [run.id for run in find_runs(grid)] == [str(i) for i in range(24)]
    outer = make_run("outer")
    (outer / "checkpoints" / "nested").mkdir(parents=True)
    (outer / "checkpoints" / "nested" / "status.json").write_text("{}")
    (outer.parent / ".hydra").mkdir()
    (outer.parent / ".hydra" / "metrics.jsonl").write_text("")
    assert [run.folder for run in find_runs(outer.parent)] == [outer]
    assert [run.folder for run in find_runs(outer)] == [outer]


def test_no_folder_and_no_run_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        find_runs(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no runs in it"):
        find_runs(tmp_path)
    with pytest.raises(FileNotFoundError, match="a run is a folder"):
        load_run(tmp_path / "nowhere")


def test_damaged_lines_are_counted(make_run) -> None:
    folder = make_run("a", rows=[{"step": 1, "tokens": 10, "val/bits_per_byte": 4.0}])
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 2, "tok\n[1, 2]\n\xff\xfe\n\n')
    run = load_run(folder)
    assert len(run.curve) == 2
    assert run.notes == ("metrics.jsonl: 3 damaged lines left out (first: 3)",)


@pytest.mark.parametrize("name", ["config.yaml", "status.json", "metrics.jsonl", "summary.json"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\x00\xff", b"42", b"a: [b"])
def test_no_damage_to_a_file_is_fatal(make_run, name: str, content: bytes | None) -> None:
    folder = make_run("a")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    run = load_run(folder)
    if name != "metrics.jsonl" or content != b"":
        assert any(note.startswith(name) for note in run.notes), run.notes


def test_a_missing_summary_is_taken_from_the_final_row(make_run) -> None:
    folder = make_run("a", summary={"val/bits_per_byte": 2.5, "val/accuracy": None})
    (folder / "summary.json").unlink()
    assert load_run(folder).summary == {"val/bits_per_byte": 2.5, "val/accuracy": None}


def test_the_recorded_row_wins_over_a_differing_summary(make_run) -> None:
    folder = make_run("a", summary={"val/bits_per_byte": 2.5})
    (folder / "summary.json").write_text(
        json.dumps({"val/bits_per_byte": 1.0, "eval/b/accuracy": 0.5})
    )
    run = load_run(folder)
    assert run.summary == {"val/bits_per_byte": 2.5, "eval/b/accuracy": 0.5}
    assert "differs from metrics.jsonl" in run.notes[0]


def test_what_is_not_finite_is_undefined_and_noted(make_run) -> None:
    folder = make_run("a", summary={"val/bits_per_byte": math.nan, "model/parameters": 3})
    run = load_run(folder)
    assert run.summary == {"val/bits_per_byte": None, "model/parameters": 3.0}
    assert any("not a finite number" in note for note in run.notes)


def test_speed_is_the_median_over_the_rows_where_the_summary_has_none(make_run) -> None:
    rows = [
        {"step": i, "tokens": i, "perf/tokens_per_s": s} for i, s in enumerate((5.0, 90.0, 100.0))
    ]
    assert load_run(make_run("a", rows=rows)).summary["perf/tokens_per_s"] == 90.0
    given = {"perf/tokens_per_s": 7.0}
    assert load_run(make_run("b", summary=given, rows=rows)).summary["perf/tokens_per_s"] == 7.0


def test_points_rise_in_tokens_and_a_repeated_step_counts_once(make_run) -> None:
    rows = [
        {"step": 1, "tokens": 10, "x": 4.0},
        {"step": 2, "tokens": 20, "x": 3.0},
        {"step": 1, "tokens": 10, "x": 3.9},  # resumed from a checkpoint before step 1
        {"step": 3, "tokens": 30, "x": None},
        {"step": 3, "x": 1.0},
    ]
    assert load_run(make_run("a", rows=rows)).points("x") == [(10.0, 3.9), (20.0, 3.0)]


def test_without_choices_the_names_and_classes_stand_in(make_run) -> None:
    config = {"data": {"name": "tweets"}, "model": {"_target_": "a.b.LSTM"}, "choices": None}
    run = load_run(make_run("a", config=config))
    assert run.choices["data"] == "tweets"
    assert run.choices["model"] == "LSTM"
    assert run.source == "tweets"


def test_a_run_that_failed_before_its_first_record_is_found(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "last_error.txt").write_text("RunFolderError: no space\n")
    (run,) = find_runs(tmp_path)
    assert (run.state, run.status["error"]) == ("failed", "RunFolderError: no space")


def test_a_seed_must_be_a_whole_number(make_run) -> None:
    assert load_run(make_run("a", config={"seed": True})).seed is None
    assert load_run(make_run("b", config={"seed": "1"})).seed is None
