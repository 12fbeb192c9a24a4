"""``lm-research data fetch`` and what ``data list`` says of public corpora."""

from hashlib import sha256
from pathlib import Path

import pytest

from lm_research.cli.data_fetch import readiness
from lm_research.cli.main import main
from lm_research.config.build import build
from lm_research.data.vectors import word_vectors

TEXT = b"a line\n" * 100
OPTION = """# Three files, none of which has an address.
_target_: lm_research.data.sources.lines.Lines
name: three
language: en
category: news
licence: CC0-1.0
downloads: ${{downloads}}
files:
  - _target_: lm_research.data.downloads.RemoteFile
    name: three/train.txt
    split: train
    sha256: {digest}
    urls: []
  - _target_: lm_research.data.downloads.RemoteFile
    name: three/valid.txt
    split: validation
    sha256: null
    urls: []
"""


@pytest.fixture
def option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that know data=three, and a folder of downloads."""
    folder = tmp_path / "my_conf" / "data"
    folder.mkdir(parents=True)
    (folder / "three.yaml").write_text(OPTION.format(digest=sha256(TEXT).hexdigest()))
    (tmp_path / "downloads" / "three").mkdir(parents=True)
    monkeypatch.setenv("LM_RESEARCH_DOWNLOADS", str(tmp_path / "downloads"))
    return ["--config-dir", str(tmp_path / "my_conf"), "data=three"]


def run(*arguments: str) -> int:
    try:
        return main(list(arguments)) or 0
    except SystemExit as error:
        return int(error.code or 0)


def test_fetch_names_what_is_missing_and_where_copies_may_lie(option, tmp_path, capsys):
    assert run("data", "fetch", *option) == 1
    told = capsys.readouterr().err
    assert str(tmp_path / "downloads" / "three" / "train.txt") in told
    for name in ("train", "valid"):
        (tmp_path / "downloads" / "three" / f"{name}.txt").write_bytes(TEXT)
    assert run("data", "fetch", *option) == 0
    out = capsys.readouterr().out
    assert f"train.txt (sha256 {sha256(TEXT).hexdigest()[:12]}…)" in out
    assert "valid.txt (not verified)" in out


def test_fetch_of_a_mixture_gets_its_members(option, tmp_path, capsys):
    mixture = ["data=mixture", "data.weights={three: 1, python_docs: 1}"]
    assert run("data", "fetch", *option[:2], *mixture) == 1
    assert "data=three: 2 of its files cannot be had" in capsys.readouterr().err


def test_nothing_to_download_is_said(capsys):
    assert run("data", "fetch", "data=python_docs") == 0
    assert "nothing to download" in capsys.readouterr().out


def test_a_field_of_a_file_is_checked_before_anything_is_done(option, capsys):
    assert run("data", "fetch", *option, "data.files.0.splitt=train") == 2


def test_vectors_are_named(capsys):
    assert run("data", "fetch", "vectors=glove_7b") == 1
    assert "glove_6b_50d" in capsys.readouterr().err
    file = word_vectors("glove_6b_300d")
    assert file.urls == ["https://nlp.stanford.edu/data/glove.6B.zip#glove.6B.300d.txt"]


def test_readiness_tells_missing_wrong_and_unverified_files(tmp_path):
    def file(name: str, digest: str | None) -> dict[str, object]:
        target = "lm_research.data.downloads.RemoteFile"
        return {"_target_": target, "name": name, "urls": [], "sha256": digest}

    def source(*files: dict[str, object]) -> object:
        card = {"name": "x", "language": "en", "category": "news", "licence": ""}
        target = "lm_research.data.sources.lines.Lines"
        node = {"_target_": target, "files": list(files), "downloads": str(tmp_path), **card}
        return build(node)

    right, wrong = file("a.txt", sha256(TEXT).hexdigest()), file("a.txt", "0" * 64)
    assert readiness(source(right)) == "1 of 1 files not here: lm-research data fetch data=x"
    (tmp_path / "a.txt").write_bytes(TEXT)
    assert readiness(source(right)) == "yes, no network; checksums are right"
    assert readiness(source(wrong)) == "wrong checksum: a.txt"
    told = readiness(source(file("a.txt", None)))
    assert told == "yes, no network; not verified: 1 of its files have no checksum"
