"""Bad input through the real command: a few lines that name it and the fix, or a counted skip."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lm_research.cli.main import main

SMALL = [
    "budget=smoke",
    "budget.train_tokens=1024",
    "budget.train_bytes=20000",
    "budget.eval_bytes=2000",
    "budget.hidden_size=8",
    "trainer=cpu",
    "tracking=disabled",
    "callbacks=quiet",
    "output=out",
]
FILES = [*SMALL, "data=files", "data.document=paragraph"]
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lm-research"])


@pytest.fixture
def refused(capfd):
    """Train, expect the exit code, and return what was said: a few lines and no traceback."""

    def refused(*overrides: str, code: int = 1) -> str:
        with pytest.raises(SystemExit) as exit:
            main(["train", *FILES, *overrides])
        said = capfd.readouterr().err
        assert exit.value.code == code, said
        assert "Traceback" not in said
        assert 1 <= len(said.splitlines()) <= 6, said
        return said

    return refused


@pytest.fixture
def trained(capfd, read_json):
    """Train, expect success, and return the run's data.json and its summary."""

    def trained(*overrides: str) -> tuple[dict, dict]:
        with pytest.raises(SystemExit) as exit:
            main(["train", *FILES, *overrides])
        said = capfd.readouterr().err
        assert exit.value.code in (0, None), said
        assert "Traceback" not in said
        return read_json("out/data.json"), read_json("out/summary.json")

    return trained


def paragraphs(count: int = 60, words: str = "is a paragraph of its own") -> str:
    return "\n\n".join(f"number {i} {words}" for i in range(count))


def test_an_empty_corpus(refused) -> None:
    Path("empty.txt").touch()
    said = refused("data.paths=[empty.txt]")
    assert all(part in said for part in ("empty.txt", "'empty': 1", "fix: give files with text"))


def test_a_binary_file_alone(refused) -> None:
    Path("program.txt").write_bytes(b"\x7fELF\0\0" + bytes(range(256)) * 50)
    said = refused("data.paths=[program.txt]")
    assert all(part in said for part in ("program.txt", "'binary': 1", "fix: give text"))


def test_a_binary_file_among_text_is_left_out_and_counted(trained) -> None:
    Path("program.txt").write_bytes(b"\x7fELF\0\0" + bytes(range(256)) * 50)
    Path("text.txt").write_text(paragraphs())
    data, _ = trained("data.paths=['*.txt']")
    assert data["left_out"]["skipped"] == {"binary": 1}
    assert sum(split["documents"] for split in data["splits"].values()) == 60


def test_mixed_encodings_are_left_out_and_counted(trained) -> None:
    Path("utf8.txt").write_text(paragraphs(60, "is für sich"), encoding="utf-8")
    Path("latin.txt").write_text(paragraphs(7, "est à part"), encoding="latin-1")
    Path("gb.txt").write_text(paragraphs(5, "自成一段"), encoding="gb18030")
    data, _ = trained("data.paths=['*.txt']")
    assert data["left_out"]["skipped"] == {"undecodable": 12}
    assert sum(split["documents"] for split in data["splits"].values()) == 60


def test_another_encoding_than_the_one_named(refused) -> None:
    Path("gb.txt").write_text(paragraphs(9, "自成一段"), encoding="gb18030")
    said = refused("data.paths=[gb.txt]")
    assert all(part in said for part in ("gb.txt", "'undecodable': 9", "data.encoding=gb18030"))
    said = refused("data.paths=[gb.txt]", "data.errors=error", "output=again")
    assert all(part in said for part in ("gb.txt#", "undecodable (byte 0x", "data.encoding"))


def write_rows(path: Path, column: str) -> None:
    rows = [{column: f"row {i}", "other": i} for i in range(60)]
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        lines = [f"{column},other", *(f"{row[column]},{row['other']}" for row in rows)]
        path.write_text("\n".join(lines))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_missing_column(refused, suffix: str) -> None:
    write_rows(Path(f"rows.{suffix}"), "texts")
    said = refused(f"data.paths=[rows.{suffix}]")
    assert f"rows.{suffix}: no column 'text' (text_field)" in said
    assert "'texts', 'other'; fix: data.text_field=texts" in said


def test_a_vocabulary_of_one(trained) -> None:
    Path("a.txt").write_text("\n\n".join("a" * (i + 1) for i in range(60)))
    data, summary = trained("data.paths=[a.txt]", "text=character")
    assert data["vocabulary_size"] == 3  # with the separator and the unknown token
    assert 0 < summary["val/bits_per_byte"] < 3


def test_a_source_of_one_document(refused) -> None:
    Path("one.txt").write_text("only one document here\n")
    said = refused("data.paths=[one.txt]")
    assert "no document for the " in said
    assert "documents: train 1, validation 0, test 0" in said
    assert "fix: splits are by document" in said


@pytest.mark.parametrize("callbacks", ["quiet", "none"])
def test_a_loss_that_is_not_a_number(refused, read_json, callbacks: str) -> None:
    Path("text.txt").write_text(paragraphs())
    # A decay of (1 - 1000) a step: the weights leave the range of float32 within 13 steps, which
    # the loss tells at once (inf), or with nobody looking the evaluation (NaN).
    explode = ["optimizer=sgd", "optimizer.lr=1000", "optimizer.weight_decay=1"]
    length = ["budget.train_tokens=16384", "trainer.gradient_clip=0", f"callbacks={callbacks}"]
    length.append("trainer.precision=32-true")
    if callbacks == "quiet":
        length += ["callbacks.divergence.ceiling=1e38", "~callbacks.samples"]  # which see it first
    said = refused("data.paths=[text.txt]", *explode, *length)
    assert ("train/loss_nats is inf" if callbacks == "quiet" else "NaN") in said
    assert "lower optimizer.lr" in said
    assert "trainer.gradient_clip" in said
    assert read_json("out/status.json")["state"] == "failed"


@pytest.mark.parametrize("path", ["nowhere.txt", "nowhere/**/*.txt"])
def test_a_file_or_pattern_that_matches_nothing(refused, path: str) -> None:
    said = refused(f"data.paths=['{path}']")
    assert f"no file matches '{path}'" in said
    assert "fix: data.paths=" in said


MEASURED = """
from lm_research.cli.main import main
try:
    main()
finally:
    with open("/proc/self/status") as file:
        print(*(line for line in file if line.startswith("VmHWM")))
"""


def peak_memory(*overrides: str) -> int:
    """Bytes that a run in a process of its own takes at most; it has to end well."""
    command = [sys.executable, "-c", MEASURED, "train", *FILES, *overrides]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-2]) * 1024


@pytest.mark.slow
def test_a_line_of_fifty_megabytes_takes_no_memory(read_json) -> None:
    block = " ".join(f"word{i}" for i in range(5000))
    with Path("long.txt").open("w") as file:
        file.writelines(f"block {i} {block} " for i in range(50 * 10**6 // len(block)))
    Path("short.txt").write_text(paragraphs(2000))
    short = peak_memory("data.paths=[short.txt]", "output=short")
    long = peak_memory("data.paths=[long.txt]", "data.document=file", "output=long")
    # The buffer of the shuffle (32 MiB), and a few documents of at most 1 MiB.
    assert long - short < 48 * MIB
    assert read_json("long/data.json")["left_out"]["selection"]["cut"] > 1


def two_gigabytes(path: Path, start: bytes = b"") -> None:
    """A line of 2 GiB without an end, in a few megabytes: one compressed part many times over."""
    part = " ".join(f"word{i % 977}" for i in range(1 << 17)).encode()[: MIB - 1] + b" "
    packed = gzip.compress(part)
    with path.open("wb") as file:
        file.write(gzip.compress(start))
        file.writelines(packed for _ in range(2048))


@pytest.mark.slow
@pytest.mark.parametrize("document", ["file", "paragraph", "line", "sentence"])
def test_a_line_of_two_gigabytes_is_cut_in_bounded_memory(read_json, document: str) -> None:
    two_gigabytes(Path("long.txt.gz"))
    Path("short.txt").write_text(paragraphs(2000))
    short = peak_memory("data.paths=[short.txt]", "output=short")
    long = peak_memory("data.paths=[long.txt.gz]", f"data.document={document}", "output=long")
    assert long - short < 64 * MIB  # the shuffle's buffer (32 MiB), a document and its pieces
    left_out = read_json("long/data.json")["left_out"]["selection"]
    assert left_out["cut"] > 1


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_record_of_two_gigabytes_is_refused_in_bounded_memory(suffix: str) -> None:
    two_gigabytes(Path(f"long.{suffix}.gz"), b'{"text": "' if suffix == "jsonl" else b'text\n"')
    command = [sys.executable, "-c", MEASURED, "train", *FILES, f"data.paths=[long.{suffix}.gz]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert f"long.{suffix}.gz: a line is longer than 67108864 bytes" in done.stderr
    assert "Traceback" not in done.stderr
    assert int(done.stdout.split()[-2]) * 1024 < 1024 * MIB  # of which PyTorch takes half
