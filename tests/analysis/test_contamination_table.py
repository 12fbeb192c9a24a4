"""The table of clean scores appears where documents are contaminated, and only there."""

from lm_research.analysis.report import write_report
from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import load_sweep
from lm_research.analysis.tables import all_tables, contamination_table

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
