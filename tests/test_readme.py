"""The README is run: its commands, its Python, and the model, source and vectorizer it adds."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lm_research.cli.main import VERBS
from lm_research.config.paths import shipped

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+(?:/\w+)+\.(?:py|yaml))\n")

SMALLER = [
    "budget.train_tokens=1024",
    "budget.batch_size=4",
    "budget.window=16",
    "budget.hidden_size=8",
    "budget.train_bytes=20000",
    "budget.eval_bytes=2000",
    "callbacks.samples.length=5",
    "trainer=cpu",
]
UNTRACKED = ["tracking=disabled"]
FEWER = ["data=code", "vectorizer=one_hot", "model=rnn", "seed=1,2", "hydra.launcher.n_jobs=1"]
DRIVER = """
import json, os, shlex, sys, traceback
commands, added, scripts = json.loads(sys.stdin.read())
from lm_research.cli.main import main
for number, line in enumerate(commands):
    words = shlex.split(line)
    if words[0] == "export":
        os.environ.update(word.split("=", 1) for word in words[1:])
        sys.path.insert(0, os.environ["PYTHONPATH"])
        continue
    code = None
    try:
        main(words[1:] + added[number])
    except SystemExit as exit:
        code = exit.code
    except BaseException:
        traceback.print_exc()
    if code != 0:
        sys.exit(f"{line}: ended with {code}")
for script in scripts:
    exec(script, {})
"""
SHAPES = "\nassert y_BTH.shape == (4, 33, 64) and log_p_BTV.shape == (4, 33, 256)"


def blocks(language: str) -> list[str]:
    """Fenced blocks of one language, in order."""
    return [code for name, code in BLOCK.findall(README) if name == language]


def files() -> dict[str, str]:
    """Blocks that begin with the path of the file that they are."""
    found = ((FILE.match(code), code) for code in [*blocks("python"), *blocks("yaml")])
    return {match[1]: code for match, code in found if match}


def commands() -> list[str]:
    """Lines of the shell blocks, without the one that needs the environment of ``make demo``."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    assert lines.pop(0) == "source .venv/bin/activate"
    return lines


def smaller(command: str) -> list[str]:
    """What makes a command of the README a matter of a second."""
    verb = command.split()[1]
    if verb == "train" and "--cfg" not in command:
        return SMALLER + UNTRACKED * ("runs/first" not in command)
    if verb == "sweep" and "status" not in command:
        return SMALLER + UNTRACKED + FEWER
    return []


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the README in it, and the files that the README says to write."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(ROOT / "README.md", folder)
    for path, code in files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(code, encoding="utf-8")
    return folder


def python(place: Path, code: str, given: str = "") -> str:
    """Run ``code`` in ``place`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=given,
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_commands_run_and_leave_what_is_said(place):
    lines = commands()
    pieces, rows = [code for code in blocks("python") if not FILE.match(code)]
    given = [lines, list(map(smaller, lines)), [pieces + SHAPES, rows]]
    printed = python(place, DRIVER, json.dumps(given))
    assert re.search(r"^\[\(\d+, \d+\.\d+\)", printed, re.MULTILINE)
    runs = place / "runs"
    assert (place / "reports/cells.html").is_file()
    assert list(runs.glob("first/wandb/offline-run-*"))
    for name in ("first", "own", "mixed", "pairs/0", "sums", "hashed"):
        assert json.loads((runs / name / "status.json").read_text())["state"] == "done", name
    described = re.search(r"A run's folder holds (.*?)\.\n\n", README, re.DOTALL)
    assert described
    for name in re.findall(r"`([^`]+)`", described[1]):
        assert (runs / "first" / name).exists(), name
    config = yaml.safe_load((runs / "pairs/0/config.yaml").read_text())
    assert config["model"]["_target_"] == "mine.pairs.Pairs"
    scores = json.loads((runs / "sums/summary.json").read_text())
    assert min(scores["eval/code/bits_per_byte"], scores["val/bits_per_byte"]) > 0


def test_own_model_streams_like_the_contract_says(place, monkeypatch):
    import torch

    monkeypatch.syspath_prepend(place)
    from mine.pairs import Pairs

    model, x_BTD = Pairs(3, 5), torch.randn(2, 7, 3)
    whole, state = model(x_BTD)
    first, between = model(x_BTD[:, :4])
    rest, end = model(x_BTD[:, 4:], between)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)
    assert torch.equal(state, end)


def test_adding_takes_under_ten_lines_of_each():
    own = files()
    assert {path.split("/")[1] for path in own if path.endswith("yaml")} == {
        "model",
        "data",
        "vectorizer",
    }
    for path, code in own.items():
        lines = code[code.find("class ") :] if path.endswith("py") else code.partition("\n")[2]
        assert len(lines.splitlines()) < 10, path


def test_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"make ([a-z-]+) ", README)
    assert {"demo", "test"} <= set(named) <= set(targets)


def test_every_path_exists():
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    tops = "tests|conf|sweeps|experiments|benchmarks|docs|lm_research"
    shown = re.findall(rf"`((?:{tops})/[^`]*)`", README)
    assert linked
    assert shown
    for path in [*linked, *shown]:
        assert (ROOT / path).exists(), path
    rooms = {p.name for p in (ROOT / "lm_research").iterdir() if (p / "__init__.py").is_file()}
    assert {
        path.split("/")[1] for path in shown if re.fullmatch(r"lm_research/\w+/", path)
    } == rooms


def test_nothing_is_promised_that_is_not_there():
    verbs = set(re.findall(r"lm-research ([a-z]+)", README))
    assert verbs == set(VERBS)
    raw = {"web_pages", "web_archive", "wiki_dump", "posts", "code_files"}
    from_elsewhere = {"files", "hugging_face", "mixture", "mixture_en", *raw}
    files = list((shipped("conf") / "data").glob("*.yaml"))
    downloaded = {p.stem for p in files if "${downloads}" in p.read_text()}
    shipped_sources = {p.stem for p in files} - from_elsewhere - downloaded
    assert f"| {len(shipped_sources)} sources of real text" in README
    assert f"| {len(downloaded)} public corpora" in README
    assert (ROOT / "docs/images/report.png").stat().st_size < 300_000
