"""expected.yaml: sound files as dataclasses, and every mistake told with its field."""

import re

import pytest
import yaml

from lm_research.cli.reproduce_runs import study_arguments
from lm_research.config.compose import compose
from lm_research.config.expected import Point, Row, read_expected
from lm_research.config.paths import experiments
from lm_research.config.problems import ConfigError
from lm_research.studies.experiments import claims_equality, find

SOUND = {
    "paper": "A. Author (2020)",
    "table": "Table 1",
    "direction": "minimize",
    "deterministic": False,
    "seeds": [1, 2],
    "data": {"files": {}},
    "cost": {"cpu": "1 min", "gpu": "none"},
    "sources": {"lr": "the paper"},
    "rows": [
        {"name": "a", "published": 2, "metric": "val/x", "mark": "M", "tolerance": 0.1, "why": "so"}
    ],
    "course": {
        "metric": "val/x",
        "source": "one run",
        "tolerance": 0.05,
        "why": "one seed",
        "points": [{"tokens": 10, "value": 3.0}],
    },
}


def written(folder, **changes):
    file = folder / "expected.yaml"
    file.write_text(yaml.safe_dump({**SOUND, **changes}))
    return file


def row(**changes):
    return [{**SOUND["rows"][0], **changes}]


def test_a_sound_file(tmp_path):
    expected = read_expected(written(tmp_path))
    assert expected.row("a") == Row("a", 2, "val/x", "M", 0.1, "so")
    assert expected.course.points == [Point(10, 3.0)]
    assert expected.data.option is None
    assert expected.differs == []
    assert read_expected(written(tmp_path, course=None)).course is None


def test_the_runs_of_a_mean_are_every_combination(tmp_path):
    over = {"a.fold": [0, 1], "b": ["x", "y"]}
    found = read_expected(written(tmp_path, rows=row(setting={"c": 1}, mean_over=over))).row("a")
    pairs = [(0, "x"), (0, "y"), (1, "x"), (1, "y")]
    assert found.settings() == [{"c": 1, "a.fold": f, "b": b} for f, b in pairs]
    assert read_expected(written(tmp_path)).row("a").settings() == [{}]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": []}, "rows=[]: has no published number"),
        ({"rows": SOUND["rows"][0]}, "must be a list"),
        ({"rows": row() * 2}, "rows=a: two rows have this name"),
        ({"rows": row(mark="X")}, "rows.0.mark=X: is not among the choices"),
        ({"rows": row(tolerance=-1)}, "rows.0.tolerance=-1: is out of range"),
        ({"rows": row(at="first")}, "rows.0.at=first: is not among the choices"),
        ({"rows": row(published="2 %")}, "rows.0.published=2 %: is text"),
        ({"rows": row(tolerence=1)}, "did you mean `tolerance`?"),
        ({"rows": [{"name": "a"}]}, "rows.0.published: is missing"),
        ({"rows": row(mean_over={"data.fold": [1]})}, "data.fold=[1]: is no list of values"),
        ({"rows": row(mean_over={"data.fold": [1, 1]})}, "data.fold=[1, 1]: is no list of values"),
        ({"rows": row(mean_over={"data.fold": 3})}, "rows.0.mean_over.data.fold=3"),
        ({"rows": row(mean_over={"x": [1, 2]}, setting={"x": 1})}, "is in setting, too"),
        ({"direction": "down"}, "direction=down"),
        ({"data": {"files": {}, "stand_in": {"option": "x", "files": {}}}}, "data.stand_in.why"),
        ({"rows": row(protocol="dynamic")}, "rows.0.protocol=dynamic"),
        ({"seeds": [1, 1]}, "seeds=[1, 1]: each once"),
        ({"seeds": []}, "seeds=[]: each once"),
        ({"deterministic": True}, "a deterministic method has one"),
        ({"course": {**SOUND["course"], "tolerance": 5}}, "course.tolerance=5: is out of range"),
        ({"course": {**SOUND["course"], "points": {"tokens": 1}}}, "course.points={'tokens'"),
        ({"cost": {"cpu": "an hour", "gpu": "none"}}, "cost.cpu=an hour: is no duration"),
        ({"cost": {"cpu": "none", "gpu": "~2 min"}}, "cost.cpu=none: is no duration"),
        ({"cost": {"cpu": "2 d", "gpu": "a while"}}, "~ for an estimate), none, unknown"),
        ({"papr": "x"}, "papr=x: the file has no field `papr`; did you mean `paper`?"),
    ],
)
def test_mistakes_are_told(tmp_path, changes, told):
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        read_expected(written(tmp_path, **changes))
    assert "expected.yaml" in str(caught.value)


def test_files_that_are_none(tmp_path):
    file = tmp_path / "expected.yaml"
    for content, told in (
        (b"[1]", "a mapping"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a: [", "cannot be read"),
    ):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=told):
            read_expected(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_expected(tmp_path / "absent.yaml")


OURS = [name for name, folder in experiments().items() if not claims_equality(folder)]


@pytest.mark.parametrize("name", OURS)
def test_every_experiment_composes_and_reads_the_files_it_says(name):
    experiment = find(name)
    option = experiment.expected.data.option
    if experiment.method is None:
        config = compose([f"experiment={name}"]).config
        told = {file["name"]: file["sha256"] for file in config["data"]["files"]}
        assert told == experiment.expected.data.files
        assert compose([f"data={option}"]).config["data"]["name"] == config["data"]["name"]
        assert any("sweep.name" in text for text in study_arguments(experiment, []))
    if (other := experiment.expected.data.stand_in) is not None:
        read = compose([f"data={other.option}"]).config["data"]["files"]
        assert {file["name"]: file["sha256"] for file in read} == other.files
        assert other.files != experiment.expected.data.files
    assert (experiment.folder / "README.md").exists()


def test_what_there_is_not(tmp_path):
    with pytest.raises(ConfigError, match="did you mean `kneser_ney_ptb`"):
        find("kneser_ney_ptv")
    with pytest.raises(ConfigError, match=r"pytest tests/experiments/test_keras_lstm\.py"):
        find("keras_lstm")
