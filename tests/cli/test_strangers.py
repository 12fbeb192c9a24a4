"""Run folders that somebody else made: nothing in them runs, leads out, or ends in a traceback."""

import hashlib
import json
import os

import pytest
import torch

from lm_research.cli.evaluate import run as evaluate
from lm_research.cli.generate import run as generate
from lm_research.cli.report import ReportError, report
from lm_research.cli.saved import SavedRunError, load
from lm_research.cli.train import make_folder
from lm_research.config.problems import ConfigError, is_ours
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.run_folder import RunFolder

TARGETS = ("metrics.jsonl", "error.txt", ".lock", "checkpoints", "evaluations/val.npz")


class Evil:
    """What a pickle would run."""

    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.fixture
def run(train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return train("text=word")


def _claim_checkpoint(run, data: bytes) -> None:
    """Make ``data`` the newest checkpoint, with an index that vouches for it."""
    file = run / "checkpoints/step-00000099.ckpt"
    file.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    entry = {"file": file.name, "step": 99, "bytes": len(data), "sha256": digest, "score": None}
    index = {"format": 1, "checkpoints": [entry]}
    (run / "checkpoints/index.json").write_text(json.dumps(index))


def test_a_checkpoint_runs_no_code(run, tmp_path):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    _claim_checkpoint(run, (tmp_path / "evil.ckpt").read_bytes())
    with pytest.raises(SavedRunError, match=r"step-00000099\.ckpt: damaged"):
        load(str(run))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("name", "change", "error", "said"),
    [
        ("config.yaml", ("lm_research.models.lstm.LSTM", "os.mkdir"), ConfigError, "allow-list"),
        ("config.yaml", ("hidden_size: 8", "hidden_size: [8]"), ConfigError, "hidden_size"),
        ("config.yaml", ("seed: 1", "seed: 1\nseed: 2"), RunFolderError, "occurs twice"),
        ("config.yaml", ("seed: 1", "seed: !!python/name:os.system"), RunFolderError, "tag"),
        ("tokenizer.json", ('"pieces"', '"pisces"'), SavedRunError, "KeyError"),
        ("tokenizer.json", ('"pieces": [', '"pieces": [1, '), SavedRunError, "list of text"),
        ("tokenizer.json", ('"order": 5', '"order": 99999'), SavedRunError, "order"),
        ("checkpoints/index.json", ("step-", "../../step-"), SavedRunError, "no name of a check"),
        ("checkpoints/index.json", ('"bytes": ', '"bytes": "x'), RunFolderError, "index.json"),
        ("checkpoints/index.json", ('"step": ', '"step": -0.'), SavedRunError, "an integer"),
    ],
)
def test_a_changed_file_is_told_with_its_name(run, name, change, error, said):
    file = run / name
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change))
    with pytest.raises(error, match=said) as caught:
        load(str(run))
    assert is_ours(caught.value)
    assert file.name in str(caught.value)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_written_through_a_link(run, tmp_path, name, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious") if name != "checkpoints" else victim.mkdir()
    config = RunFolder(run).config
    place = run / name
    if place.exists():
        place.rename(tmp_path / "away")
    place.symlink_to(victim)
    with pytest.raises(RunFolderError, match="a link"):
        RunFolder.create(run, config)
    assert victim.is_dir() or victim.read_text() == "precious"


def test_links_of_wandb_do_not_keep_a_run_from_going_on(run):
    (run / "wandb" / "offline-run-1").mkdir(parents=True)
    (run / "wandb" / "latest-run").symlink_to("offline-run-1")
    assert make_folder(str(run)) == make_folder(str(run.parent)).joinpath(run.name)
    (run / "evaluations" / "mine.npz").symlink_to("elsewhere")
    with pytest.raises(RunFolderError, match="a link"):
        make_folder(str(run))


def test_scores_are_not_written_through_a_link(run, tmp_path, capsys):
    (tmp_path / "victim").write_text("precious")
    (run / "evaluations.jsonl").symlink_to(tmp_path / "victim")
    evaluate([f"run={run}"])
    assert "a link" in capsys.readouterr().err
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "tokenizer.json", "status.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    report(run, None)
    assert name == "tokenizer.json" or "not a plain file" in (run / "report.md").read_text()
    if name in ("config.yaml", "tokenizer.json"):
        with pytest.raises((RunFolderError, SavedRunError)):
            generate([f"run={run}"])


def test_a_report_replaces_nothing_but_reports(run, tmp_path):
    (tmp_path / "README.md").write_text("precious")
    with pytest.raises(ReportError, match=r"README\.md: is there already"):
        report(run, tmp_path / "README.html")
    assert (tmp_path / "README.md").read_text() == "precious"
    (tmp_path / "page.html").write_text("precious")
    with pytest.raises(ReportError, match=r"page\.html: is there already"):
        report(run, tmp_path / "page.html")
    with pytest.raises(ReportError, match=r"must end in \.html"):
        report(run, tmp_path / "page.md")
    report(run, tmp_path / "mine.html")
    report(run, tmp_path / "mine.html")


def test_status_and_error_of_a_stranger_on_the_terminal(run, capsys, monkeypatch):
    from lm_research.cli.tell import safe, tell

    monkeypatch.setenv("HF_TOKEN", "a" * 20)
    tell("\x1b]0;title\x07 \x9b31m \u202e [red]x[/] " + "a" * 20)
    said = capsys.readouterr().err
    assert said == "<U+001B>]0;title<U+0007> <U+009B>31m <U+202E> [red]x[/] <redacted>\n"
    assert safe("two\n\tlines") == "two\n\tlines"
