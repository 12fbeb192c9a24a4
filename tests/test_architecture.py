"""What the house promises beyond its import contracts (which `make check` holds)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lm_research"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "pytorch_lightning", "hydra", "omegaconf", "wandb", "plotly", "scipy", "datasets")
LONGEST = 400


def loaded(code: str) -> set[str]:
    """Which of the heavy packages ``code`` loads, in a process of its own."""
    show = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "name",
    ["lm_research", "lm_research.config", "lm_research.config.validation", "lm_research.cli.main"],
)
def test_import_is_light(name):
    assert loaded(f"import {name}") == set()


def test_composing_and_checking_imports_hydra_alone():
    code = "from lm_research.config.compose import compose\ncompose(['model=gru', 'text=bpe'])"
    assert loaded(code) <= {"hydra", "omegaconf"}


def test_what_reads_and_writes_runs_needs_no_torch():
    code = "import lm_research.analysis.summary, lm_research.tracking.recorder"
    assert not loaded(code) & {"torch", "pytorch_lightning", "wandb"}


def test_models_and_vectorizers_need_torch_and_nothing_of_the_loop():
    code = "import lm_research.models.lstm, lm_research.vectorizers.tfidf"
    assert not loaded(code) & {"pytorch_lightning", "hydra", "omegaconf", "wandb"}


def public(tree: ast.Module) -> list[ast.AST]:
    """The module, its public classes and functions, and the classes' public methods."""
    found: list[ast.AST] = [tree]
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                methods = (n for n in node.body if isinstance(n, ast.FunctionDef))
                found += [n for n in methods if not n.name.startswith("_")]
    return found


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_everything_public_says_what_it_is(path):
    for node in public(ast.parse(path.read_text(encoding="utf-8"))):
        assert ast.get_docstring(node), getattr(node, "name", "the module")


def test_files_are_short_and_named_for_what_they_hold():
    lengths = {relative(p): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    assert {name: length for name, length in lengths.items() if length >= LONGEST} == {}
    assert not [name for name in lengths if Path(name).stem in ("util", "utils", "helpers", "misc")]


def test_the_texts_of_others_stay_outside():
    """No file of the repository is a corpus: nothing but text of our own size."""
    kept = (p for p in PACKAGE.rglob("*") if p.is_file() and p.parent.name != "__pycache__")
    assert [p for p in kept if p.stat().st_size > 200_000] == []
