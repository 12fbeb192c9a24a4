"""Secrets planted wherever a user may have some, looked for in everything that a run leaves."""

import logging
import subprocess
import sys

import pytest

from lm_research.cli.tell import SafeRecord

SECRETS = {
    "WANDB_API_KEY": "wb" + "0123456789abcdef" * 3,
    "HF_TOKEN": "hf_" + "abcdefghij" * 3,
    "DB_PASSWORD": "s3cr3t" + "-pw",
}
SMALL = (
    "budget=smoke",
    "budget.train_tokens=256",
    "budget.hidden_size=8",
    "budget.batch_size=4",
    "budget.window=16",
    "data=files",
    "data.paths=[text.txt]",
    "data.document=paragraph",
    "callbacks.samples.length=5",
    "tracking=disabled",
    "trainer=cpu",
)
URL = "url" + "password1"  # whole in no file of the repository, whose diff a run keeps
QUERY = "query" + "token1"
TYPED = "hunter2" * 2
PLANTED = [*SECRETS.values(), URL, QUERY, TYPED]
OVERRIDES = [
    "tracking=offline",
    f"tracking.notes='https://bob:{URL}@host/x?access_token={QUERY}'",
    f"tracking.tags=[{SECRETS['WANDB_API_KEY']}]",
    f"callbacks.samples.prompts=['{SECRETS['DB_PASSWORD']} is']",
    f"data.citation='Bearer {SECRETS['HF_TOKEN']}'",
]


@pytest.fixture
def lm_research(tmp_path, monkeypatch):
    """The command, in a process of its own; returns its exit status and all it said."""
    (tmp_path / "text.txt").write_text("\n\n".join(f"The cat saw {i} mice." for i in range(90)))
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
    code, said = lm_research("train", *SMALL, *OVERRIDES, "output=run")
    assert code == 0, said
    for verb in (["report", "runs=run"], ["evaluate", "run=run"]):
        code, more = lm_research(*verb)
        assert code == 0, more
        said += more
    assert not _found(tmp_path)
    assert not [secret for secret in PLANTED if secret in said]


@pytest.mark.slow
def test_a_run_that_fails(lm_research, tmp_path):
    missing = f"data.paths=['https://bob:{URL}@host/x?access_token={QUERY}']"
    code, said = lm_research("train", *SMALL, missing, "output=run")
    assert code == 1
    assert "no file matches" in said
    assert not _found(tmp_path)
    assert not [secret for secret in PLANTED if secret in said]


def test_a_mistake_in_the_command(lm_research, tmp_path):
    code, said = lm_research("train", f"+tracking.password={TYPED}", "+tracking.x=hf_a")
    assert code == 2
    assert "password=<redacted>" in said
    assert TYPED not in said


@pytest.mark.slow
def test_several_runs(lm_research, tmp_path):
    rest = ["-m", "seed=1,2", "output=runs"]
    code, said = lm_research("train", *SMALL, *OVERRIDES[:2], *rest)
    assert code == 2
    assert "holds a secret" in said
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/s.yaml").write_text(f"tracking: {{notes: 'https://b:{URL}@host/x'}}\n")
    code, said = lm_research("train", *SMALL, "sweep=s", *rest)
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


def test_a_secret_that_a_study_varies(lm_research, tmp_path):
    (tmp_path / "sweeps").mkdir()
    study = "name: s, title: s, question: q, metric: val/bits_per_byte, direction: minimize"
    axis = f"grid: {{tracking.notes: ['https://bob:{URL}@host/x', b]}}"
    (tmp_path / "sweeps/s.yaml").write_text(f"sweep: {{{study}, report: r.html, {axis}}}\n")
    code, said = lm_research("sweep", *SMALL, "sweep=s", "output=runs")
    assert code == 2
    assert "holds a secret" in said
    assert URL not in said
    assert not (tmp_path / "runs").exists()
