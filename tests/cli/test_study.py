"""The command: its parts in order, gone on with, and the page from what is there."""

import pytest
import yaml

from lm_research.cli.main import main
from lm_research.cli.study import request, run
from lm_research.config.problems import ConfigError

NAME = "vectorization_and_sources"
TINY = {
    "defaults": [
        {"override /callbacks": "quiet"},
        {"override /tracking": "disabled"},
        {"override /hydra/hydra_logging": "none"},
        {"override /hydra/job_logging": "none"},
    ],
    "budget": {
        "train_tokens": 512, "batch_size": 4, "window": 16, "hidden_size": 8, "num_layers": 1,
        "train_bytes": 20000, "eval_bytes": 500,
    },
    "callbacks": {"samples": {"length": 2}},
    "trainer": {"precision": "32-true", "threads": 1},
}  # fmt: skip


@pytest.fixture
def study(tmp_path, monkeypatch):
    """experiments/mine, two parts of two runs each, in the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments/mine"
    (folder / "sweeps").mkdir(parents=True)
    for name, axis in (("one", {"model": ["rnn", "gru"]}), ("two", {"model.hidden_size": [4, 8]})):
        node = {"name": name, "title": f"Part {name}", "question": "Which?", "grid": axis,
                "metric": "val/bits_per_byte", "direction": "minimize", "seeds": 1,
                "report": f"reports/{name}.html", "hypotheses": []}  # fmt: skip
        text = yaml.safe_dump({**TINY, "sweep": node, "output": f"runs/{name}"})
        (folder / "sweeps" / f"{name}.yaml").write_text(text)
    file = {"title": "Mine", "question": "Which of mine?", "smoke": ["debug=limit"]}
    parts = [{"sweep": "one", "against": "model/parameters"}, {"sweep": "two"}]
    (folder / "study.yaml").write_text(yaml.safe_dump({**file, "parts": parts}))
    return folder


def test_a_study_is_run_part_by_part_and_gone_on_with(study, tmp_path, capsys) -> None:
    assert run(["mine", "part=two"]) == 0
    page = study / "results/README.md"
    text = page.read_text()
    assert "| Part one | 0 of 2 |" in text
    assert "**Incomplete.** 0 of 2 runs are done" in text
    assert "2 of 2 runs are done, 2 settings" in text
    assert run(["mine"]) == 0
    told = capsys.readouterr().out
    assert f"{'runs/two'}: all 2 jobs are done" in told
    text = page.read_text()
    assert "Incomplete" not in text
    assert str(tmp_path) not in text
    assert "lm-research sweep sweep=one\nlm-research sweep sweep=two" in text
    assert (study / "results/one_sizes.svg").is_file()


def test_the_page_alone_runs_nothing(study, tmp_path) -> None:
    assert run(["mine", "--page", f"output={tmp_path}/elsewhere"]) == 0
    text = (tmp_path / "elsewhere/page/README.md").read_text()
    assert text.count("**Incomplete.**") == 2
    assert not (tmp_path / "elsewhere/one").exists()
    assert not (study / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "must be named first"),
        (["nothing"], "there is none"),
        ([NAME, "part=study_unit"], "did you mean `study_units`"),
    ],
)
def test_a_wrong_command_is_told(arguments, said) -> None:
    with pytest.raises(ConfigError) as error:
        run(arguments)
    assert said in str(error.value)


def test_places_do_not_get_into_the_page_s_commands() -> None:
    asked = request([NAME, "--smoke", "output=/somewhere", "cache=/else", "seed=1,2"])
    assert asked.arguments(asked.file.parts[0])[-3:] == ["output=/somewhere/study_sources",
                                                        "cache=/else", "seed=1,2"]  # fmt: skip
    from lm_research.cli.study import _command

    assert _command(asked) == f"lm-research study {NAME} --smoke seed=1,2"


def test_parts_run_in_the_file_s_order() -> None:
    assert request([NAME, "part=study_bags,study_units"]).chosen == ("study_units", "study_bags")


@pytest.mark.slow
def test_our_own_study_runs_whole_at_the_smoke_scale(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["study", NAME, "--smoke", "tracking=disabled"])
    assert ended.value.code == 0, capsys.readouterr().err
    text = (tmp_path / "runs/study_smoke/page/README.md").read_text()
    assert "Incomplete" not in text
    assert "**Not tested**" not in text
    assert text.count("](study_") >= 14
