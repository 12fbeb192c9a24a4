"""What can be wrong with files, through `prepare`: a counted omission or an error with its fix.

Every case ends within a deadline. The same through the command is in tests/cli/test_bad_input.py.
"""

import gzip
import io
import json
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from lm_research.data.document import DataError
from lm_research.data.preparation import prepare
from lm_research.data.sources.files import LocalFiles

LINES = [f"line {i} is a document of its own" for i in range(60)]
GOOD = "\n".join(LINES).encode()
TEXT = {
    "cleaning": [],
    "tokenizer": {"_target_": "lm_research.text.byte.ByteTokenizer"},
    "tagger": None,
}
DEADLINE_S = 20


@pytest.fixture(autouse=True)
def _deadline() -> Iterator[None]:
    """A case that hangs fails."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {DEADLINE_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(DEADLINE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Prepare files of ``tmp_path/text``; returns data.json's values with the sum of documents."""

    def read(paths: Any = None, kind: str = "files.LocalFiles", **options: Any) -> dict[str, Any]:
        if kind == "files.LocalFiles":
            options.setdefault("document", "line")
        node = {
            "_target_": f"lm_research.data.sources.{kind}",
            "paths": str(paths or tmp_path / "text"),
            "name": "mine", "language": "en", "category": "web", "licence": "unknown", **options,
        }  # fmt: skip
        splits = {"validation": 0.2, "test": 0.2, "seed": 0}
        budget = {"train_bytes": 10**9, "eval_bytes": 10**9}
        meta = prepare(node, TEXT, splits, budget, tmp_path / "cache").store.meta
        return {**meta, "documents": sum(s["documents"] for s in meta["splits"].values())}

    return read


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "good.txt").write_bytes(GOOD)

    def write(name: str, content: bytes) -> Path:
        path = tmp_path / "text" / name
        path.write_bytes(content)
        return path

    return write


BYTES = {
    "broken UTF-8": (b"caf\xc3\nfine\n\xe4\xb8\n\xf0\x9f\x98\n\xed\xa0\x80", {"undecodable": 4}, 1),
    "overlong UTF-8": (b"\xc0\xafetc\nfine", {"undecodable": 1}, 1),
    "NUL bytes at the start": (b"a\0b\nfine", {"binary": 1}, 0),
    "NUL bytes far behind": (b"fine " * 4000 + b"\na\0b", {"binary": 1}, 1),
    "GB18030": ("自成一段\n第二段\nfine".encode("gb18030"), {"undecodable": 2}, 1),
    "Latin-1": ("à part\nfine\nfür sich".encode("latin-1"), {"undecodable": 2}, 1),
    "UTF-16": ("one\ntwo".encode("utf-16"), {"binary": 1}, 0),
    "UTF-16 without mark": ("一\n二".encode("utf-16-be"), {"binary": 1}, 0),
    "empty": (b"", {"empty": 1}, 0),
    "white space": (b" \n\t\n\n", {"empty": 3}, 0),
}


@pytest.mark.parametrize("case", BYTES)
def test_documents_that_are_no_text_are_counted(read, write, case: str) -> None:
    content, skipped, kept = BYTES[case]
    write("bad.txt", content)
    found = read()
    assert found["left_out"]["skipped"] == skipped
    assert found["documents"] == 60 + kept


def test_four_encodings_in_one_file_lose_their_own_lines_alone(read, write) -> None:
    parts = [("自成一段", "gb18030"), ("für sich", "latin-1"), ("für sich", "utf-8")]
    write("mixed.txt", b"\n".join(text.encode(encoding) for text, encoding in parts))
    found = read()
    assert found["left_out"]["skipped"] == {"undecodable": 2}
    assert found["documents"] == 61


def rows(text_field: str = "text") -> list[dict[str, Any]]:
    return [{text_field: line, "id": i} for i, line in enumerate(LINES)]


def jsonl(found: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, found)).encode()


def parquet() -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows()), out)
    return out.getvalue()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("suffix", ["txt.gz", "txt.zst", "jsonl.gz", "parquet"])
def test_truncated_files_are_named(read, write, suffix: str, share: float) -> None:
    plain = jsonl(rows()) if "jsonl" in suffix else GOOD
    whole = {
        "gz": gzip.compress(plain, 0),
        "zst": zstandard.compress(plain),
        "parquet": parquet(),
    }[suffix.rpartition(".")[2]]
    path = write(f"cut.{suffix}", whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=rf"cut\.{suffix}: .*fix: "):
        read(path)


def test_a_csv_without_the_column_names_those_it_has(read, write) -> None:
    path = write("rows.csv", b"body,id\n" + b"\n".join(b"a,1" for _ in range(60)))
    with pytest.raises(DataError, match=r"rows\.csv: no column 'text'.*'body', 'id'; fix: "):
        read(path)


def test_duplicate_ids_are_kept_and_counted(read, write) -> None:
    path = write("ids.jsonl", jsonl([{**row, "id": row["id"] // 2} for row in rows()]))
    found = read(path, id_field="id")
    assert found["documents"] == 60
    assert found["left_out"]["selection"]["duplicate_ids"] == 30


def test_an_empty_source_says_what_was_left_out(read, write) -> None:
    path = write("empty.txt", b"")
    with pytest.raises(DataError, match=r"empty\.txt.*'empty': 1.*fix: "):
        read(path)


@pytest.mark.parametrize("pattern", ["", "**/*.txt", "**", "**/**/*.txt", "a/**/b/**/*.txt"])
def test_links_in_circles_end_and_repeat_nothing(read, write, tmp_path, pattern: str) -> None:
    """Two of them: each round doubles the paths that lead to a file."""
    folder = tmp_path / "text"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "good.txt").write_bytes(GOOD)
    (folder / "good.txt").unlink()
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "b" / "here").symlink_to(".")
    (folder / "itself.txt").symlink_to("itself.txt")
    (folder / "nowhere.txt").symlink_to("nothing")
    found = read(folder / pattern if pattern else folder)
    assert found["documents"] == 60


def test_a_file_that_vanishes_while_others_are_read_is_named(tmp_path, write) -> None:
    path = write("later.txt", b"never read")
    card = {"name": "mine", "language": "en", "category": "web", "licence": "unknown"}
    mine = LocalFiles(str(tmp_path / "text"), document="line", **card)
    before = mine.signature()
    documents = iter(mine)
    assert next(documents).text == LINES[0]
    path.unlink()
    with pytest.raises(DataError, match=r"later\.txt: was there .* is gone; fix: "):
        list(documents)
    assert mine.signature() != before


def test_a_file_that_vanishes_before_it_is_looked_at(read, write, monkeypatch) -> None:
    path = write("later.txt", b"never read")
    found = LocalFiles._files

    def gone(self: LocalFiles) -> list[tuple[Path, str]]:
        files = found(self)
        path.unlink(missing_ok=True)
        return files

    monkeypatch.setattr(LocalFiles, "_files", gone)
    assert read()["documents"] == 60


def test_a_folder_that_vanishes_while_it_is_read_is_named(tmp_path, read, write) -> None:
    write("good.txt", GOOD).rename(tmp_path / "moved.txt")
    with pytest.raises(DataError, match=r"no file matches .*fix: "):
        read()


def test_bombs_of_html_are_counted(read, write) -> None:
    """Depth, one large tag, and 40 MB out of 40 KB."""
    page = "<html><body><p>{}</p></body></html>"
    sentence = "Nobody knows how many boats pass the lock on a day in summer, page {}. "
    for i in range(60):
        write(f"{i}.html", page.format(sentence.format(i) * 5).encode())
    write("deep.html", b"<div>" * 200_000 + b"text")
    write("wide.html", b"<p " + b"a=1 " * 300_000 + b">x</p>")
    write("large.html.gz", gzip.compress(b"<p>" + b"a" * 40_000_000))
    tracemalloc.start()
    found = read(kind="web_pages.WebPages")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["documents"] == 60
    assert found["left_out"]["skipped"] == {"too deep": 1, "too large": 2}
    assert peak < 64 << 20
