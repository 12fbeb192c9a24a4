"""The verb ``train``: what it says before, after, and about what it will not do."""

import json
import sys

import pytest

from lm_research.cli.main import main
from lm_research.cli.train import split_flags

SMALL = [
    "budget=smoke",
    "budget.train_tokens=2048",
    "budget.train_bytes=20000",
    "budget.eval_bytes=2000",
    "trainer=cpu",
    "tracking=disabled",
    "model=rnn",
]


def lm_research(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    return exit.value.code or 0


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lm-research"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "seed=1,2", "--config-dir", "mine"],
        ["seed=1,2", "--config-dir", "mine", "-m"],
        ["--config-dir", "mine", "seed=1,2", "-m"],
    ],
)
def test_flags_may_stand_anywhere(arguments):
    flags, overrides = split_flags(arguments)
    assert overrides == ["seed=1,2"]
    assert sorted(flags) == ["--config-dir", "-m", "mine"]


def test_help_lists_every_group_and_its_options(capsys):
    assert lm_research("train", "--help") == 0
    text = capsys.readouterr().out
    assert "model         lstm, bag, char_cnn, cnn" in text
    assert "keras_lstm" in text


@pytest.mark.parametrize(
    "flag", [["--config-name", "x"], ["--config-path", "x"], ["-m", "--cfg=job"]]
)
def test_a_flag_that_does_not_fit_is_refused(flag, capsys):
    assert lm_research("train", *flag) == 2
    text = capsys.readouterr().err
    assert "problem in the configuration" in text
    assert "Traceback" not in text


def test_a_finished_run_says_so(tmp_path, capsys):
    assert lm_research("train", *SMALL, "output=out") == 0
    assert "next: lm-research generate run=out" in capsys.readouterr().out
    assert lm_research("train", *SMALL, "output=out") == 0
    assert "out: done already" in capsys.readouterr().out


def test_a_failed_run_of_several_is_told_and_the_others_go_on(tmp_path, capfd, read_json):
    assert lm_research("train", "-m", *SMALL, "data.sha256=wrong,null", "output=out") == 1
    text = capfd.readouterr().err
    assert "failed: out/0: " in text
    assert "sha256" in text
    assert "Traceback" not in text
    assert read_json(tmp_path / "out/1/status.json")["state"] == "done"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert lm_research("train", *SMALL, "output=file/run") == 1
    text = capsys.readouterr().err
    assert "file/run" in text
    assert "Traceback" not in text


def test_options_of_ones_own_serve_every_verb(tmp_path, capsys):
    (tmp_path / "mine/data").mkdir(parents=True)
    (tmp_path / "mine/data/poem.yaml").write_text(
        "defaults: [files]\npaths: [poem/*.txt]\nname: poem\n"
    )
    (tmp_path / "poem").mkdir()
    for number in range(60):
        (tmp_path / f"poem/{number}.txt").write_text(f"Rose number {number} is a rose.\n" * 9)
    own = ["--config-dir", "mine", "data=poem"]
    assert lm_research("train", *SMALL, *own, "output=out") == 0
    assert lm_research("evaluate", "run=out", *own) == 0
    assert lm_research("data", "show", *own) == 0
    assert "is a rose" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["evaluate", "generate"])
def test_a_damaged_checkpoint_is_named(verb, tmp_path, capsys):
    assert lm_research("train", *SMALL, "output=out") == 0
    file = max((tmp_path / "out/checkpoints").glob("*.ckpt"))
    file.write_bytes(file.read_bytes()[:1000])
    assert lm_research(verb, "run=out") == 1
    text = capsys.readouterr().err
    assert f"{file.name}: damaged" in text
    assert "checkpoint=best" in text


def test_what_was_skipped_and_where_else_it_was_scored_is_on_record(tmp_path, capsys, read_json):
    (tmp_path / "text.txt").write_text("\n\n".join(f"Line number {n} of many." for n in range(99)))
    (tmp_path / "program.txt").write_bytes(b"\x7fELF\0\0" * 99)
    data = [
        "data=files",
        "data.paths=['*.txt']",
        "data.document=paragraph",
        "evaluate_on=[code,tweets]",
    ]
    assert lm_research("train", *SMALL, *data, "output=out") == 0
    assert "skipped documents of the source: 1 binary" in capsys.readouterr().out
    texts = read_json(tmp_path / "out/data.json")["evaluated"]
    assert len({texts[name]["text_sha256"] for name in ("code", "tweets")}) == 2
    assert lm_research("evaluate", "run=out", "data=tweets") == 0
    row = json.loads((tmp_path / "out/evaluations.jsonl").read_text())
    assert row["text_sha256"] == texts["tweets"]["text_sha256"]
