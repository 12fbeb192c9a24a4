"""Streams: every compression and encoding gives the same UTF-8; cuts fall on borders."""

import bz2
import gzip
import io
import lzma
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lm_research.data.document import DataError
from lm_research.data.sources.streams import READ_ERRORS, open_utf8, pieces, record_lines

TEXT = "Grüße, 世界\n" * 20_000
COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    ".zstd": zstandard.compress,
}


@pytest.mark.parametrize("suffix", COMPRESS)
def test_every_compression_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](TEXT.encode()))
    with open_utf8(path) as stream:
        assert stream.read() == TEXT.encode()


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix])
def test_a_truncated_file_raises_at_its_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text.txt{suffix}"
    content = COMPRESS[suffix](TEXT.encode())
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(READ_ERRORS), open_utf8(path) as stream:
        stream.read()


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix])
def test_a_file_with_the_wrong_suffix_raises(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text.txt{suffix}"
    path.write_bytes(TEXT.encode())
    with pytest.raises(READ_ERRORS), open_utf8(path) as stream:
        stream.read()


def test_several_zstandard_frames_are_one_stream(tmp_path: Path) -> None:
    path = tmp_path / "text.txt.zst"
    path.write_bytes(zstandard.compress(b"one\n") + zstandard.compress(b"two\n"))
    with open_utf8(path) as stream:
        assert stream.read() == b"one\ntwo\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "UTF8"])
def test_every_encoding_gives_utf_8_without_a_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding=encoding)
    with open_utf8(path, encoding) as stream:
        assert stream.read().decode() == TEXT


def test_undecodable_bytes_stay_undecodable_and_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("世界".encode("gb18030") + b"\n\xff\n" + "你好".encode("gb18030"))
    with open_utf8(path, "gb18030") as stream:
        assert stream.read() == "世界\n".encode() + b"\xff\n" + "你好".encode()


def test_broken_utf_16_ends_in_an_undecodable_byte(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("good\n".encode("utf-16-le") + b"\x00\xdc\x00")
    with open_utf8(path, "utf-16-le") as stream, pytest.raises(UnicodeDecodeError):
        stream.read().decode()


texts = st.text(alphabet="ab é世\n", max_size=400)


@given(texts, st.integers(64, 200), st.sampled_from(["file", "line"]))
def test_pieces_are_the_text_within_the_limit(text: str, limit: int, unit: str) -> None:
    found = list(pieces(io.BytesIO(text.encode()), unit, limit))
    assert b"".join(found).decode() == text
    assert all(0 < len(piece) <= limit for piece in found)
    assert all(piece.decode() for piece in found)  # no character is cut in two


@given(texts)
def test_paragraphs_are_what_blank_lines_separate(text: str) -> None:
    found = [piece.decode() for piece in pieces(io.BytesIO(text.encode()), "paragraph", 10_000)]
    paragraphs: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    expected = ["\n".join(lines) for lines in paragraphs if lines]
    assert [piece.strip("\n") for piece in found if piece.strip()] == expected


def test_a_long_text_is_cut_at_a_paragraph_else_a_line_else_a_space() -> None:
    def cut(text: str) -> list[bytes]:
        return list(pieces(io.BytesIO(text.encode()), "file", 64))

    paragraph, line, words = "p" * 38 + "\n\n", "l" * 15 + "\n", "word " * 30
    assert cut(paragraph + line * 2) == [paragraph.encode(), (line * 2).encode()]
    assert cut(line * 5) == [(line * 4).encode(), line.encode()]
    assert cut("p\n\n" + line * 5) == [("p\n\n" + line * 3).encode(), (line * 2).encode()]
    assert cut(words)[0] == b"word " * 12
    assert [len(piece) for piece in cut("x" * 130)] == [63, 63, 4]


@pytest.mark.parametrize("unit", ["file", "paragraph", "line"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "text.txt.zst"
    with zstandard.open(path, "wb") as file:
        for _ in range(60):
            file.write((b"a line of text, and more of it " * 30 + b"\n\n") * 1000)
    tracemalloc.start()
    with open_utf8(path) as stream:
        size = sum(len(piece) for piece in pieces(stream, unit, 2**20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 55_000_000
    assert peak < 16_000_000


def test_one_endless_line_is_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("世".encode() * 1_000_000)
    with open_utf8(path) as stream:
        found = list(pieces(stream, "line", 2**16))
    assert all(len(piece) <= 2**16 and piece.decode() for piece in found)
    assert b"".join(found) == path.read_bytes()


def test_a_record_longer_than_the_limit_raises() -> None:
    assert list(record_lines(io.BytesIO(b"one\ntwo"), 10)) == [b"one\n", b"two"]
    with pytest.raises(DataError, match="a line is longer than 10 bytes"):
        list(record_lines(io.BytesIO(b"one\n" + b"x" * 11), 10))
