"""Secrets planted wherever a user may have some, looked for in everything that a run leaves."""

import logging
import subprocess
import sys

import pytest
from conftest import TINY

from lm_research.cli.tell import SafeRecord

SECRETS = {
    "WANDB_API_KEY": "wb" + "0123456789abcdef" * 3,
    "HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyz",
    "DB_PASSWORD": "s3cr3t-pw",
}
PLANTED = [*SECRETS.values(), "urlpassword1", "querytoken1", "hunter2hunter2"]
OVERRIDES = [
    "tracking=offline",
    "tracking.notes='https://bob:urlpassword1@host/x?access_token=querytoken1'",
    f"tracking.tags=[{SECRETS['WANDB_API_KEY']}]",
    f"callbacks.samples.prompts=['{SECRETS['DB_PASSWORD']} is']",
    f"data.citation='Bearer {SECRETS['HF_TOKEN']}'",
]


@pytest.fixture
def lm_research(tmp_path, monkeypatch):
    """The command, in a process of its own; returns its exit status and all it said."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    def lm_research(*arguments: str):
        script = "from lm_research.cli.main import main; main()"
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    return lm_research


def _found(folder) -> list[str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    names = [f"{s} names {f}" for f in files for s in PLANTED if s in str(f)]
    return names + [f"{s} in {f}" for f in files for s in PLANTED if s.encode() in f.read_bytes()]


def test_a_run_and_what_follows_it(lm_research, tmp_path):
    code, said = lm_research("train", *TINY, *OVERRIDES, "output=run")
    assert code == 0, said
    for verb in (["report", "runs=run"], ["evaluate", "run=run"]):
        code, more = lm_research(*verb)
        assert code == 0, more
        said += more
    assert not _found(tmp_path)
    assert not [secret for secret in PLANTED if secret in said]


def test_a_run_that_fails(lm_research, tmp_path):
    missing = "data.paths=['https://bob:urlpassword1@host/x?access_token=querytoken1']"
    code, said = lm_research("train", *TINY, "data=files", missing, "output=run")
    assert code == 1
    assert "no file matches" in said
    assert not _found(tmp_path)
    assert not [secret for secret in PLANTED if secret in said]


def test_a_mistake_in_the_command(lm_research, tmp_path):
    code, said = lm_research("train", "+tracking.password=hunter2hunter2", "+tracking.x=hf_a")
    assert code == 2
    assert "password=<redacted>" in said
    assert "hunter2hunter2" not in said


def test_several_runs(lm_research, tmp_path):
    rest = ["-m", "seed=1,2", "output=runs"]
    code, said = lm_research("train", *TINY, *OVERRIDES[:2], *rest)
    assert code == 2
    assert "holds a secret" in said
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/s.yaml").write_text("tracking: {notes: 'https://b:urlpassword1@host/x'}\n")
    code, said = lm_research("train", *TINY, "sweep=s", *rest)
    assert code == 0, said
    assert (tmp_path / "runs/multirun.yaml").is_file()
    assert not [f for f in _found(tmp_path) if "sweeps/s.yaml" not in f]


def test_a_log_record(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRETS["HF_TOKEN"])
    try:
        raise ValueError(SECRETS["HF_TOKEN"])
    except ValueError:
        info = sys.exc_info()
    record = SafeRecord("n", logging.ERROR, "f", 1, "%s\x1b[1m", (SECRETS["HF_TOKEN"],), info)
    text = logging.Formatter().format(record)
    assert SECRETS["HF_TOKEN"] not in text
    assert "\x1b" not in text
    assert "Traceback" in text
