from pathlib import Path

import pytest

from lm_research.analysis.sweep import load_sweep


def test_a_recorded_sweep(grid: Path) -> None:
    sweep = load_sweep(grid)
    assert (sweep.name, sweep.axes) == ("demo", ("data", "vectorizer", "model"))
    assert sweep.metric.key == "val/bits_per_byte"
    assert sweep.metric.lower_is_better
    assert sweep.question.startswith("Which choice matters most")


def test_without_a_file_the_folder_names_the_sweep(tmp_path: Path) -> None:
    sweep = load_sweep(tmp_path)
    assert (sweep.name, sweep.axes) == (tmp_path.name, ())


def test_a_metric_to_be_maximised(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("metric: val/accuracy\nquestion: |\n  a\n  b\n")
    sweep = load_sweep(tmp_path)
    assert not sweep.metric.lower_is_better
    assert sweep.question == "a b"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("axes: data", "axes: 'data'; must be a list"),
        ("axes: [1]", "must be a list of names"),
        ("direction: down", "direction 'down': must be minimize or maximize"),
        ("hypotheses: model=a", "hypotheses: 'model=a'; must be a list"),
        ("hypotheses: [model=a]", "sweep.hypotheses[0]=model=a: has to hold one < or >"),
        ("- a", "must hold a mapping"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"sweep\.yaml") as error:
        load_sweep(tmp_path)
    assert named in str(error.value)
