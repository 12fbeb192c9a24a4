"""Local files in every format and compression, and everything that can be wrong with them."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from lm_research.data.document import DataError, Document
from lm_research.data.sources.files import LocalFiles

ROWS = [
    {"text": "first, with a comma", "label": "a", "target": "erstens", "id": "x1"},
    {"text": 'second "quoted"\nline', "label": "b", "target": "zweitens", "id": "x2"},
    {"text": "第三", "label": "a", "target": "drittens", "id": "x3"},
]


def source(paths: Any, **options: Any) -> LocalFiles:
    paths = [str(path) for path in paths] if isinstance(paths, list) else str(paths)
    return LocalFiles(
        paths, name="mine", language="en", category="web", licence="unknown", **options
    )


def texts(paths: Any, **options: Any) -> list[str]:
    return [document.text for document in source(paths, **options)]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def separated(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


FORMATS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "jsonl": jsonl,
    "csv": separated,
    "parquet": parquet,
}
COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    ".zstd": zstandard.compress,
}


@pytest.mark.parametrize(
    ("format", "suffix"),
    [("parquet", ""), *((format, suffix) for format in ("jsonl", "csv") for suffix in COMPRESS)],
)
def test_records_in_every_format_and_compression(tmp_path: Path, format: str, suffix: str) -> None:
    path = tmp_path / f"data.{format}{suffix}"
    path.write_bytes(COMPRESS[suffix](FORMATS[format](ROWS)))
    given = {"label_field": "label", "target_field": "target", "id_field": "id"}
    assert list(source(path, **given)) == [
        Document(row["text"], "mine", f"mine/{row['id']}", row["label"], row["target"])
        for row in ROWS
    ]
    assert [document.id for document in source(path)] == [
        f"mine/{path.name}#{number}" for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_plain_text_in_every_compression(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix]("one\r\ntwo\n\nthree 世界\n".encode()))
    assert list(source(path)) == [Document("one\ntwo\n\nthree 世界\n", "mine", f"mine/{path.name}")]
    assert texts(path, document="line") == ["one", "two", "three 世界"]
    assert texts(path, document="paragraph") == ["one\ntwo", "three 世界"]


def test_an_unquoted_tsv_keeps_its_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\nsay "hi\t1\n"ok" \t0\n')
    assert texts(path) == ['say "hi', '"ok" ']
    path.write_bytes(separated(ROWS, "\t"))
    assert texts(path, quoting="standard") == [row["text"] for row in ROWS]


def test_columns_name_what_a_file_without_a_header_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("1\tgood\n0\tbad\n")
    found = list(source(path, columns=["label", "text"], label_field="label"))
    assert [(document.label, document.text) for document in found] == [("1", "good"), ("0", "bad")]


def test_official_splits_are_read_from_a_column(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([{"text": "x", "part": part} for part in ("train", "Dev", "test")]))
    found = [document.split for document in source(path, split_field="part")]
    assert found == ["train", "validation", "test"]
    path.write_bytes(jsonl([{"text": "x", "part": "held"}]))
    with pytest.raises(DataError, match="split 'held'; allowed are train, training, validation"):
        list(source(path, split_field="part"))


def test_files_are_found_by_pattern_folder_and_list_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "deep/er/c.txt", "deep/d.md", "other.xyz", "note[1].txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert texts(tmp_path / "*.txt") == ["a.txt", "b.txt", "note[1].txt"]
    everything = ["a.txt", "b.txt", "deep/d.md", "deep/er/c.txt", "note[1].txt"]
    assert texts(tmp_path) == everything
    assert texts(tmp_path / "**" / "*.txt") == [name for name in everything if name != "deep/d.md"]
    assert texts([tmp_path / "b.txt", tmp_path / "*.txt"]) == ["b.txt", "a.txt", "note[1].txt"]
    assert texts(tmp_path / "note[1].txt") == ["note[1].txt"]
    assert texts(tmp_path / "other.xyz") == ["other.xyz"]
    ids = [document.id for document in source(tmp_path / "**" / "*.txt")]
    assert ids == ["mine/a.txt", "mine/b.txt", "mine/deep/er/c.txt", "mine/note[1].txt"]


def test_no_matching_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mine: no file matches '.*none\*' .*fix: data.paths="):
        list(source(tmp_path / "none*"))
    with pytest.raises(DataError, match="no file matches"):
        source(tmp_path / "none*").signature()


def test_a_large_file_is_cut_at_paragraphs_into_numbered_documents(tmp_path: Path) -> None:
    paragraphs = [f"{number} " + "word " * 15 + "\n\n" for number in range(50)]
    path = tmp_path / "a.txt"
    path.write_text("".join(paragraphs))
    found = list(source(path, max_document_bytes=300))
    assert "".join(document.text for document in found) == path.read_text()
    assert all(len(document.text.encode()) <= 300 for document in found)
    assert all(document.text.endswith("\n\n") for document in found)
    assert [document.id for document in found][:2] == ["mine/a.txt#0", "mine/a.txt#1"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_long_record_is_cut_with_its_label_or_left_out_with_its_target(
    tmp_path: Path, format: str
) -> None:
    path = tmp_path / f"a.{format}"
    text = "line of text\n" * 20
    path.write_bytes(FORMATS[format]([ROWS[0] | {"text": text, "label": "x"}, ROWS[0]]))
    found = list(source(path, label_field="label", max_document_bytes=100))
    assert "".join(document.text for document in found[:-1]) == text
    assert {document.label for document in found[:-1]} == {"x"}
    assert found[0].id == f"mine/a.{format}#1#0"
    whole = source(path, target_field="target", max_document_bytes=100)
    assert [document.text for document in whole] == [ROWS[0]["text"]]
    assert whole.skipped == {"too_long": 1}


def test_undecodable_documents_are_counted_replaced_or_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "b.txt").write_bytes(b"good\n")
    mine = source(tmp_path)
    assert [document.text for document in mine] == ["good\n"]
    assert mine.skipped == {"undecodable": 1}
    assert texts(tmp_path, errors="replace") == ["caf\ufffd\n", "good\n"]
    assert texts(tmp_path, encoding="latin-1") == ["café\n", "good\n"]
    with pytest.raises(DataError, match=r"a\.txt: undecodable \(byte 0xe9\); fix: .*encoding"):
        texts(tmp_path, errors="error")


def test_in_a_file_of_mixed_encodings_only_the_broken_lines_are_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("gut\ngrün\n".encode() + "grün\n".encode("latin-1") + b"last\n")
    mine = source(path, document="line")
    assert [document.text for document in mine] == ["gut", "grün", "last"]
    assert mine.skipped == {"undecodable": 1}


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_in_records_only_the_broken_row_is_lost(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    path.write_bytes(FORMATS[format](ROWS).replace(b"first", b"f\xffrst"))
    mine = source(path)
    assert [document.text for document in mine] == [row["text"] for row in ROWS[1:]]
    assert mine.skipped == {"undecodable": 1}
    assert texts(path, errors="replace")[0] == "f\ufffdrst, with a comma"
    with pytest.raises(DataError, match="undecodable"):
        texts(path, errors="error")


def test_broken_utf_8_inside_parquet_is_counted(tmp_path: Path) -> None:
    strings = pyarrow.array([b"good", b"b\xffd"]).cast(pyarrow.binary()).view(pyarrow.string())
    table = pyarrow.table({"text": strings, "label": strings.dictionary_encode()})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    mine = source(tmp_path / "a.parquet", label_field="label")
    assert [(document.text, document.label) for document in mine] == [("good", "good")]
    assert mine.skipped == {"undecodable": 1}
    assert texts(tmp_path / "a.parquet", errors="replace") == ["good", "b\ufffdd"]


def test_a_lone_surrogate_in_json_is_undecodable(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a \\ud83d"}\n{"text": "\\ud83d\\ude00"}\n')
    mine = source(path)
    assert [document.text for document in mine] == ["😀"]
    assert mine.skipped == {"undecodable": 1}
    assert texts(path, errors="replace") == ["a \ufffd", "😀"]


def test_binary_files_and_documents_with_nul_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x7fELF\0\0" + bytes(range(256)) * 50)
    (tmp_path / "b.txt").write_bytes(b"good\n" * 2000 + b"b\0d\n" + b"good\n")
    (tmp_path / "c.jsonl").write_text('{"text": "n\\u0000l"}\n{"text": "good"}\n')
    mine = source(tmp_path, document="line")
    assert len(list(mine)) == 2002
    assert mine.skipped == {"binary": 3}


def test_utf_16_is_text_when_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("grün\n", encoding="utf-16")
    assert texts(path, encoding="utf-16") == ["grün\n"]
    with pytest.raises(DataError, match=r"mine: no document in .*left out: \{'binary': 1\}"):
        texts(path)


def test_empty_documents_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "b.txt").write_text(" \n\n")
    (tmp_path / "c.jsonl").write_bytes(jsonl([{"text": None}, {"text": " "}, {"text": "good"}]))
    (tmp_path / "d.csv").write_bytes(b"")
    mine = source(tmp_path)
    assert [document.text for document in mine] == ["good"]
    assert mine.skipped == {"empty": 5}


def test_a_source_without_any_document_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(DataError, match=r"mine: no document in .*left out: \{'empty': 1\}"):
        texts(tmp_path)
    with pytest.raises(DataError, match=r"fix: give files with text in them$"):
        texts(tmp_path)
    (tmp_path / "b.txt").write_bytes("grün".encode("latin-1"))
    with pytest.raises(DataError, match=r"fix: .*text in them; name the encoding \(data.encoding="):
        texts(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"text\n")
    with pytest.raises(DataError, match=r"left out: nothing"):
        texts(tmp_path / "a.csv")


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_column_names_the_columns_and_the_fix(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    path.write_bytes(FORMATS[format](ROWS))
    with pytest.raises(DataError) as caught:
        texts(path, text_field="txt")
    assert f"a.{format}: no column 'txt' (text_field)" in str(caught.value)
    assert "its columns are 'text', 'label', 'target', 'id'" in str(caught.value)
    assert "fix: data.text_field=text" in str(caught.value)
    with pytest.raises(DataError, match=r"no column 'sentiment' \(label_field\)"):
        texts(path, label_field="sentiment")


def test_json_records_may_lack_a_field_later_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([{"text": "one", "n": 1}, {"n": 2}, {"text": "three"}, {"text": 4}]))
    mine = source(path)
    assert [document.text for document in mine] == ["one", "three", "4"]
    assert mine.skipped == {"missing_field": 1}


def test_bad_json_lines_are_counted_and_a_bad_first_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    deep = b"[" * 100_000
    bad = [b'{"text": "cut of', b"[1, 2]", b'{"text": ["a"]}', b'{"text": ' + deep]
    path.write_bytes(b"\n" + jsonl(ROWS[:1]) + b"\n".join(bad) + b"\n" + jsonl(ROWS[2:]))
    mine = source(path)
    assert [document.text for document in mine] == [ROWS[0]["text"], ROWS[2]["text"]]
    assert mine.skipped == {"malformed": 4}
    with pytest.raises(DataError, match=r"a.jsonl#3: malformed"):
        texts(path, errors="error")
    path.write_text('[{"text": "one"}, {"text": "two"}]')
    with pytest.raises(DataError, match=r"a.jsonl: line 1 is no JSON object, .*fix: one object"):
        texts(path)


def test_csv_rows_of_another_width_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\none,1\ntwo\n\nthree,3,3\nfour,4\n")
    mine = source(path)
    assert [document.text for document in mine] == ["one", "four"]
    assert mine.skipped == {"malformed": 2}
    with pytest.raises(DataError, match="1 cells where the header has 2"):
        texts(path, errors="error")


def test_long_csv_cells_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "x" * 500_000 + "\n")
    assert len(texts(path)[0]) == 500_000


def test_csv_that_cannot_be_parsed_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\rone,1\rtwo,2\r")
    with pytest.raises(DataError, match=r"a.csv: line 1: .*"):
        texts(path)


def test_an_overlong_record_names_the_file(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("lm_research.data.sources.files.LONGEST_RECORD", 1000)
    for name in ("a.jsonl", "a.csv"):
        (tmp_path / name).write_bytes(b"x" * 2000)
        with pytest.raises(DataError, match=f"{name}: a line is longer than 1000 bytes"):
            texts(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.zst", "a.csv.xz", "a.txt.bz2", "a.parquet"])
def test_truncated_files_name_themselves(tmp_path: Path, name: str) -> None:
    rows = [{"text": os.urandom(300).hex()} for _ in range(300)]
    plain = FORMATS.get(name.split(".")[1], jsonl)(rows)
    compress = {".gz": gzip, ".xz": lzma, ".bz2": bz2, ".zst": zstandard}
    suffix = Path(name).suffix
    content = compress[suffix].compress(plain) if suffix in compress else plain
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"{name}: .*fix: copy"):
        texts(tmp_path / name)


def test_files_of_another_format_name_themselves(tmp_path: Path) -> None:
    for name in ("a.txt.gz", "a.txt.zst", "a.txt.xz", "a.parquet", "a.parquet.gz"):
        (tmp_path / name).write_text("plain text, whatever the name says\n")
        with pytest.raises(DataError, match=rf"{name}: .*fix: "):
            texts(tmp_path / name)
    assert texts(tmp_path / "a.parquet", format="txt") == ["plain text, whatever the name says\n"]


def test_duplicate_ids_are_kept_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([{"text": text, "id": id} for text, id in ("ax", "bx", "cy")]))
    mine = source(path, id_field="id")
    assert [document.id for document in mine] == ["mine/x", "mine/x", "mine/y"]
    assert mine.duplicate_ids == 1
    assert mine.skipped == {}


def test_iterating_twice_gives_the_same_and_counts_anew(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff")
    (tmp_path / "b.csv").write_bytes(separated(ROWS))
    (tmp_path / "c.parquet").write_bytes(parquet(ROWS * 400))
    mine = source(tmp_path, id_field="id")
    first = list(mine)
    assert len(first) == 3 + 1200
    assert list(mine) == first
    assert (mine.skipped, mine.duplicate_ids) == ({"undecodable": 1}, 1200)


def test_the_signature_follows_the_files_and_the_options(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    before = source(tmp_path).signature()
    assert source(tmp_path).signature() == before
    assert source(tmp_path, document="line").signature() != before
    (tmp_path / "b.txt").write_text("two")
    added = source(tmp_path).signature()
    (tmp_path / "b.txt").write_text("2.0")
    os.utime(tmp_path / "b.txt", ns=(1, 1))
    assert len({before, added, source(tmp_path).signature()}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "utf-9"}, "encoding='utf-9' is unknown"),
        ({"errors": "ignore"}, "errors='ignore': allowed are 'skip', 'replace', 'error'"),
        ({"max_document_bytes": 10}, "max_document_bytes=10: at least 64"),
        ({"format": "xml"}, "format='xml': allowed are 'auto', 'txt'"),
        ({"document": "word"}, "document='word': allowed are 'file', 'paragraph', 'line'"),
        ({"quoting": "all"}, "quoting='all': allowed are 'auto', 'standard', 'none'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source("a.txt", **options)


LISTS = [["a", "b"], [], None, "c", ["b", 3], [["a"]], {"a": 1}]


def test_a_list_in_the_labels_field_is_several_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([{"text": f"t{i}", "label": row} for i, row in enumerate(LISTS)]))
    mine = source(path, label_field="label")
    found = [(document.label, document.labels) for document in mine]
    assert found == [(None, ("a", "b")), (None, ()), (None, None), ("c", None), (None, ("b", "3"))]
    assert mine.skipped == {"malformed": 2}


def test_several_labels_in_a_cell_are_parted(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\none\t3, 27\ntwo\t\nthree\t5\n")
    found = [d.labels for d in source(path, label_field="label", label_separator=",")]
    assert found == [("3", "27"), (), ("5",)]
    assert [d.label for d in source(path, label_field="label")] == ["3, 27", "", "5"]
    plain, parted = source(path), source(path, label_separator=";")
    assert plain.signature() != parted.signature()
    with pytest.raises(ValueError, match="label_separator=''"):
        source(path, label_separator="")


def test_lists_of_labels_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet([{"text": "x", "label": ["a", "b"]}, {"text": "y", "label": []}]))
    assert [d.labels for d in source(path, label_field="label")] == [("a", "b"), ()]
