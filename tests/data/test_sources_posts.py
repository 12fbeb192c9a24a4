"""Posts and threads of social media."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from lm_research.data.document import DataError
from lm_research.data.sources.posts import Posts

PAPERS: dict[str, Any] = {"name": "p", "language": "en", "category": "social", "licence": "unknown"}
THREAD = [
    {"id": "r", "parent_id": None, "author": "ann", "text": "Root", "at": 1},
    {"id": "x", "parent_id": "t3_r", "author": "bob", "text": "late, @ann", "at": 9},
    {"id": "y", "parent_id": "t3_r", "author": "cyd", "text": "[deleted]", "at": 2},
    {"id": "z", "parent_id": "t1_y", "author": "ann", "text": "to cyd: u/bob is @nobody", "at": 3},
    {"id": "o", "parent_id": "t1_gone", "author": "bob", "text": "orphan", "at": 4},
]


def posts(path: Path, **options: Any) -> Posts:
    return Posts(str(path), **PAPERS | options)


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(path: Path, **options: Any) -> list[str]:
    return [document.text for document in posts(path, **options)]


def test_a_document_is_a_post(tmp_path: Path) -> None:
    mine = posts(write(tmp_path / "a.jsonl", THREAD))
    assert [document.id for document in mine] == ["p/r", "p/x", "p/z", "p/o"]
    assert mine.skipped == {"deleted": 1}


def test_a_thread_is_a_tree_with_letters_for_its_authors(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", list(reversed(THREAD)))
    mine = posts(path, document="thread", time_field="at")
    found = {document.id: document.text for document in mine}
    assert found == {
        "p/r": "A: Root\nA: to cyd: C is D\nC: late, A",
        "p/o": "A: orphan",
    }
    assert mine.skipped == {"deleted": 1}
    assert next(iter(mine)).id == "p/o"
    in_file_order = posts(write(path, THREAD), document="thread")
    assert next(iter(in_file_order)).text.startswith("A: Root\nB: late, A\nA: to cyd")


def test_circles_and_repeated_ids_are_counted_and_end(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "parent_id": "b", "text": "one"},
        {"id": "b", "parent_id": "a", "text": "two"},
        {"id": "c", "parent_id": "c", "text": "of itself"},
        {"id": "d", "text": "kept"},
        {"id": "d", "text": "again"},
    ]
    mine = posts(write(tmp_path / "a.jsonl", rows), document="thread")
    assert [document.text for document in mine] == ["A: of itself", "A: kept"]
    assert mine.skipped == {"circle": 2, "repeated": 1}


def test_a_long_chain_of_replies_is_cut_and_ends(tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "parent_id": str(i - 1) if i else None, "author": "a", "text": f"reply {i}"}
        for i in range(5000)
    ]
    found = list(
        posts(write(tmp_path / "a.jsonl", rows), document="thread", max_document_bytes=1000)
    )
    assert all(len(document.text.encode()) <= 1000 for document in found)
    assert "\n".join(document.text for document in found).count("reply") == 5000
    assert found[0].id == "p/0#0"


def test_keys_within_objects_titles_and_html(tmp_path: Path) -> None:
    row = {
        "id": 7,
        "account": {"acct": "ann@a.test"},
        "content": "<p>one &amp; <a href='x'>two</a></p><p>three<br>four</p>",
        "title": "T",
    }
    options = {"text_field": "content", "title_field": "title", "markup": "html"}
    path = write(tmp_path / "a.jsonl", [row])
    assert texts(path, **options) == ["T\none & two\nthree\nfour"]
    in_thread = texts(path, document="thread", author_field="account.acct", **options)
    assert in_thread == ["A: T\none & two\nthree\nfour"]


@pytest.mark.parametrize("document", ["post", "thread"])
def test_broken_lines_are_counted_and_the_rest_is_kept(tmp_path: Path, document: str) -> None:
    lines = [
        b'{"id": 1, "text": "good"}',
        b'{"id": 2, "text": "cut',
        b"[1]",
        b'{"id": 3, "text": "caf\xe9"}',
        b'{"id": 4}',
        b'{"id": 5, "text": ["a"]}',
        b'{"id": 6, "text": "n\0l"}',
        b'{"id": 7, "text": "\\ud83d lone"}',
        b"[" * 100_000,
        b"",
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    packed = gzip.compress(b'{"id": 9, "text": "lost"}\n' * 9)
    (tmp_path / "b.jsonl.gz").write_bytes(packed[:-9])
    (tmp_path / "circle").symlink_to(tmp_path)
    mine = posts(tmp_path, document=document)
    start = "" if document == "post" else "A: "
    assert [d.text for d in mine][:2] == [start + "good", start + "? lone"]
    expected = {"malformed": 3, "undecodable": 1, "missing_field": 2, "binary": 1, "unreadable": 1}
    assert {key: mine.skipped[key] for key in expected} == expected
    with pytest.raises(DataError, match=r"a.jsonl#2: malformed"):
        texts(tmp_path, document=document, errors="error")


def test_impossible_options_are_refused_and_nothing_found_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs id_field and parent_field"):
        posts(tmp_path, document="thread", id_field=None)
    with pytest.raises(ValueError, match="document='tree': allowed are 'post', 'thread'"):
        posts(tmp_path, document="tree")
    write(tmp_path / "a.jsonl", [{"id": 1, "body": "x"}])
    with pytest.raises(DataError, match=r"'missing_field': 1"):
        texts(tmp_path)
