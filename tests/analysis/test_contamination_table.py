"""The table of clean scores appears where documents are contaminated, and only there."""

from lm_research.analysis.report import write_report
from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import load_sweep
from lm_research.analysis.tables import (
    all_tables,
    clean_matrix_table,
    contamination_table,
    mixtures_table,
)

from .conftest import write_run


def study(folder, count, clean, name="code"):
    for seed in (1, 2):
        summary = {
            "val/bits_per_byte": 2.0 + seed / 10,
            "val/bits_per_byte_clean": None if clean is None else clean + seed / 10,
            "val/contaminated_documents": count,
            "eval/tweets/bits_per_byte": 3.0,
            "eval/tweets/bits_per_byte_clean": 3.0,
            "eval/tweets/contaminated_documents": 0,
        }
        write_run(folder / str(seed), {"data": name, "model": "lstm"}, seed, summary)
    return analyse(find_runs(folder), load_sweep(folder))


def test_whole_and_clean_stand_side_by_side(tmp_path) -> None:
    found = study(tmp_path, 7, 2.5)
    table = contamination_table(found)
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows == [["code", "code, validation", "7", "2.150", "2.650"]]
    assert table in all_tables(found)
    page = write_report(find_runs(tmp_path), load_sweep(tmp_path), tmp_path / "r.html").read_text()
    assert "Without what is also in the training text" in page


def test_nothing_is_shown_where_nothing_is_shared(tmp_path) -> None:
    found = study(tmp_path, 0, 2.0)
    assert contamination_table(found) is None
    assert all("training text" not in table.title for table in all_tables(found))


def test_a_score_without_clean_documents_is_not_a_number(tmp_path) -> None:
    table = contamination_table(study(tmp_path, 9, None))
    assert [cell.text for cell in table.rows[0]][-1] == "–"


def test_the_clean_matrix_stands_beside_the_whole_one(tmp_path) -> None:
    found = study(tmp_path, 7, 2.5)
    table = clean_matrix_table(found)
    assert [column.head for column in table.columns] == ["trained on", "tweets"]
    assert [[cell.text for cell in row] for row in table.rows] == [["code", "3.000 ±0.000"]]
    assert "bits per byte (clean)" in table.title
    assert table in all_tables(found)
    assert clean_matrix_table(study(tmp_path / "other", 0, 2.0)) is None


def mixed(folder, data):
    for seed in (1, 2):
        summary = {"val/bits_per_byte": 2.0, "eval/a/bits_per_byte": 3.0}
        choices = {"data": "mixture", "model": "lstm"}
        config = {"data": {"name": "both", "weights": {"a": 1, "b": 1}}}
        write_run(folder / str(seed), choices, seed, summary, config=config, data=data(seed))
    return analyse(find_runs(folder), load_sweep(folder))


def test_mixtures_state_what_was_asked_and_what_was_read(tmp_path) -> None:
    halves = {"a": 0.5, "b": 0.5}
    prepared = {"asked": halves, "achieved": {"a": 0.9, "b": 0.1}}
    found = mixed(tmp_path / "plain", lambda seed: prepared)
    rows = [[cell.text for cell in row] for row in mixtures_table(found).rows]
    assert rows == [["both", "a", "0.500", "0.900", "–"], ["", "b", "0.500", "0.100", "–"]]
    assert "data.schedule={}" in mixtures_table(found).notes[-1]

    def read(seed):
        a = {"share": 0.48 + seed / 50, "asked": 0.5, "epochs": seed}
        return {**prepared, "mixture": {"a": a, "b": {"share": 0.49, "asked": 0.5, "epochs": 2}}}

    found = mixed(tmp_path / "held", read)
    rows = [[cell.text for cell in row] for row in mixtures_table(found).rows]
    assert rows == [
        ["both", "a", "0.500", "0.510", "1.500"],
        ["", "b", "0.500", "0.490", "2.000"],
    ]
    assert len(mixtures_table(found).notes) == 1
    page = write_report(find_runs(tmp_path / "held"), load_sweep(tmp_path), tmp_path / "r.html")
    assert "Shares of the mixtures" in page.read_text()
    assert mixtures_table(study(tmp_path / "other", 0, 2.0)) is None
