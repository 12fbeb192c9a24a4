"""Studies of several sweeps: their files are checked, and what they expect can be looked at."""

import pytest
import yaml

from lm_research.config.compose import compose
from lm_research.config.hypotheses import parse
from lm_research.config.paths import studies, study_files
from lm_research.config.problems import ConfigError
from lm_research.config.study_file import find_study
from lm_research.studies.plan import Plan

NODE = {"title": "Which?", "question": "What?", "parts": [{"sweep": "demo"}]}
PARTS = [(name, part.sweep) for name in study_files() for part in find_study(name).parts]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write experiments/mine/study.yaml in the working folder."""
    monkeypatch.chdir(tmp_path)

    def _write(**changes):
        folder = tmp_path / "experiments/mine"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "study.yaml").write_text(yaml.safe_dump({**NODE, **changes}))

    return _write


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": []}, "parts=[]: has no sweep"),
        ({"parts": [{"sweep": "dmo"}]}, "parts.0.sweep=dmo: there is no such sweep"),
        ({"parts": [{"sweep": "demo"}] * 2}, "parts.0.sweep=demo: is there twice"),
        ({"parts": [{"sweep": "demo", "ratios": {"a": "b", "c": "d"}}]}, "are of one axis"),
        ({"parts": {"sweep": "demo"}}, "must be a list"),
        ({"titel": "x"}, "titel"),
    ],
)
def test_a_wrong_file_is_told(write, changes, said) -> None:
    write(**changes)
    with pytest.raises(ConfigError) as error:
        find_study("mine")
    assert said in str(error.value)
    assert "study.yaml" in str(error.value)


def test_there_is_none_of_that_name() -> None:
    with pytest.raises(ConfigError) as error:
        find_study("vectorisation_and_sources")
    assert "did you mean `vectorization_and_sources`" in str(error.value)


def test_parts_may_lie_in_the_study_s_own_folder(write, tmp_path) -> None:
    folder = tmp_path / "experiments/mine/sweeps"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("sweep: {name: own, title: t, question: q}\n")
    write(parts=[{"sweep": "own"}, {"sweep": "demo"}])
    assert [part.sweep for part in find_study("mine").parts] == ["own", "demo"]
    assert dict(studies("sweeps"))["own"] == folder / "own.yaml"


def values(setting: dict[str, str], config: dict, axis: str) -> str:
    """What a planned setting has on an axis, as reports name it."""
    if axis == "data" and "data.name" in setting:
        return setting["data.name"]
    if axis in config["choices"] and axis not in setting:
        return config["choices"][axis]
    return setting.get(axis, "")


@pytest.mark.parametrize(("study", "sweep"), PARTS)
def test_each_expectation_is_about_settings_that_will_run(study, sweep) -> None:
    config = compose([f"sweep={sweep}"]).config
    settings = Plan.of(config["sweep"]).settings()
    scored = set(config["evaluate_on"])
    for text in config["sweep"].get("hypotheses") or []:
        found = parse(text)
        assert found.on is None or found.on in scored, text
        for side in (found.lower, found.higher):
            wanted = {**side, **found.where}
            assert any(
                all(values(s, config, a).lower() == v.lower() for a, v in wanted.items())
                for s in settings
            ), (text, wanted)


@pytest.mark.parametrize(("study", "sweep"), PARTS)
def test_parts_need_no_download_and_one_thread(study, sweep) -> None:
    config = compose([f"sweep={sweep}"]).config
    plan = Plan.of(config["sweep"])
    assert config["trainer"]["threads"] == 1
    sources = {setting.get("data", config["choices"]["data"]) for setting in plan.settings()}
    for source in sources - {"mixture"}:
        assert not compose([f"data={source}"]).config["data"].get("files"), source
    assert len(plan.seeds) >= 3 or config["choices"]["model"] == "ngram"
