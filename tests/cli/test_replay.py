"""``debug=replay``: where a run went wrong."""

import pytest

from lm_research.cli.main import main

pytestmark = pytest.mark.slow

DIVERGES = [
    "model=rnn",
    "model.nonlinearity=relu",
    "model.num_layers=2",
    "optimizer=sgd",
    "optimizer.lr=300",
    "trainer=cpu",
    "trainer.gradient_clip=0",
    "budget=smoke",
    "budget.train_bytes=20000",
    "budget.eval_bytes=2000",
    "callbacks=quiet",
    "callbacks.checkpoint.every=1",
    "callbacks.divergence.ceiling=1.0e+300",
    "tracking=disabled",
    "output=out",
]


@pytest.fixture
def lm_research(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return int(ended.value.code or 0)

    return command


def files(folder):
    return {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file()}


def test_a_replay_finds_where_it_began_and_writes_nothing(lm_research, tmp_path, capsys):
    assert lm_research("train", *DIVERGES) == 1
    assert "debug=replay" in capsys.readouterr().err
    before = files(tmp_path / "out")
    assert lm_research("train", *DIVERGES, "debug=replay") == 0
    said = capsys.readouterr().out
    assert "first that is not finite: output of model" in said
    assert files(tmp_path / "out") == before


def test_a_replay_of_a_huge_loss_names_the_largest(lm_research, capsys):
    assert lm_research("train", *DIVERGES, "callbacks.divergence.ceiling=1000") == 1
    assert "above callbacks.divergence.ceiling" in capsys.readouterr().err
    assert lm_research("train", *DIVERGES, "callbacks.divergence.ceiling=1000", "debug=replay") == 0
    assert "all is finite; the largest is weights after of model" in capsys.readouterr().out


def test_there_must_be_something_to_replay(lm_research, capsys):
    assert lm_research("train", *DIVERGES, "optimizer.lr=0.01") == 0
    assert lm_research("train", *DIVERGES, "optimizer.lr=0.01", "debug=replay") == 1
    assert "no step diverged" in capsys.readouterr().err
    assert lm_research("train", *DIVERGES, "debug=replay") == 1
    assert "optimizer.lr: 0.01 -> 300" in capsys.readouterr().err


def test_several_processes_are_refused(lm_research, capsys):
    several = ["trainer=ddp", "trainer.accelerator=cpu", "debug=replay"]
    assert lm_research("train", *DIVERGES, *several) == 1
    assert "for runs of one process" in capsys.readouterr().err
