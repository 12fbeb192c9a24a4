"""Web pages and web archives: what is kept, what is left out, and what a stranger may send."""

import bz2
import gzip
import os
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("resiliparse", reason="the extra web is not installed")
pytest.importorskip("fastwarc", reason="the extra web is not installed")

from lm_research.data.document import DataError
from lm_research.data.sources.web_archive import WebArchive
from lm_research.data.sources.web_pages import WebPages

PAPERS: dict[str, Any] = {"name": "w", "language": "en", "category": "web", "licence": "unknown"}
SENTENCE = "The river rose by two metres in the night, and the lower town was under water by six. "
PAGE = (
    '<html lang="en-GB"><head><title>The  flood</title><style>p {}</style></head><body>'
    "<nav><a href=/>Home</a> <a href=/s>Sport</a></nav><header>Subscribe now</header>"
    f"<main><article><h1>High water</h1><p>{SENTENCE * 3}</p><p>Nobody was hurt.</p></article>"
    "</main>"
    "<footer>Copyright, cookies, imprint</footer><script>var x = 1;</script></body></html>"
)


def pages(path: Path, **options: Any) -> WebPages:
    return WebPages(str(path), **PAPERS | options)


def texts(source: Any) -> list[str]:
    return [document.text for document in source]


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2"])
def test_the_main_text_and_the_title_are_kept(tmp_path: Path, suffix: str) -> None:
    compress = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[suffix]
    (tmp_path / f"a.html{suffix}").write_bytes(compress(PAGE.encode()))
    [document] = pages(tmp_path)
    assert document.id == f"w/a.html{suffix}"
    assert document.text.startswith("The flood\n\nHigh water")
    assert SENTENCE.strip() in document.text
    assert "Nobody was hurt." in document.text
    for boilerplate in ("Home", "Subscribe", "cookies", "var x", "p {}"):
        assert boilerplate not in document.text
    assert texts(pages(tmp_path, keep_title=False))[0].startswith("High water")


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("gb18030", "gb2312"),
        ("latin-1", "iso-8859-1"),
        ("utf-8", "utf-8"),
        ("big5", "big5"),
        ("utf-16", ""),
        ("utf-8-sig", "iso-8859-1"),  # the mark counts more than the page's word
    ],
)
def test_the_encoding_is_the_pages_own(tmp_path: Path, encoding: str, declared: str) -> None:
    text = "été à Noël, très bien. " * 8 if "8" in encoding[-4:] else "河水上漲兩公尺。" * 8
    text = "été à Noël, très bien. " * 8 if encoding == "latin-1" else text
    text = "河水上涨两米。" * 8 if encoding == "gb18030" else text
    page = f'<html><head><meta charset="{declared}"></head><body><p>{text}</p></body></html>'
    (tmp_path / "a.html").write_bytes(page.encode(encoding))
    assert texts(pages(tmp_path)) == [text.strip()]


def test_an_undeclared_encoding_is_guessed(tmp_path: Path) -> None:
    text = "河水上涨两米，低处的城区早上六点已经被水淹没。没有人受伤。" * 5
    (tmp_path / "a.html").write_bytes(f"<p>{text}</p>".encode("gb18030"))
    assert texts(pages(tmp_path)) == [text]


def test_undecodable_pages_are_counted_replaced_or_an_error(tmp_path: Path) -> None:
    page = PAGE.replace("<head>", '<head><meta charset="utf-8">').encode()
    (tmp_path / "a.html").write_bytes(page.replace(b"Nobody", b"N\xffbody"))
    (tmp_path / "b.html").write_text(PAGE)
    mine = pages(tmp_path)
    assert len(texts(mine)) == 1
    assert mine.skipped == {"undecodable": 1}
    assert "N\ufffdbody" in texts(pages(tmp_path, errors="replace"))[0]
    with pytest.raises(DataError, match=r"a\.html: undecodable .*fix: "):
        texts(pages(tmp_path, errors="error"))


BOMBS = {
    "deep": "<div>" * 200_000 + "text",
    "half deep": "<div><p>" * 100_000,
    "bold": "<b>" * 50_000 + "text",
    "tags": "<p>a</p>" * 400_000,
    "attributes": "<p " + " ".join(f"a{i}=1" for i in range(200_000)) + ">x</p>",
    "quoted attributes": '<p a=\'"\' b=">" ' + " ".join(f"a{i}" for i in range(99_999)) + ">x</p>",
    "text under much": "<div>" * 500 + f"<p>{SENTENCE}" * 10_000,
    "unclosed": "<a " * 200_000,
    "unclosed bare": "<a" * 200_000,
    "long": "<p>" + "x" * 5_000_000,
    "nothing": "<nav>Home</nav>",
}
REASONS = {"nothing": "no main text"}
REASONS |= dict.fromkeys(
    ["deep", "half deep", "bold", "unclosed bare", "text under much"], "too deep"
)


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_counted_in_little_time(tmp_path: Path, bomb: str) -> None:
    (tmp_path / "a.html").write_text(BOMBS[bomb])
    (tmp_path / "b.html").write_text(PAGE)
    mine = pages(tmp_path)
    before = time.process_time()
    assert len(texts(mine)) == 1
    assert time.process_time() - before < 5
    assert mine.skipped.keys() <= {REASONS.get(bomb, "too large"), "no main text"}
    assert mine.skipped.total() == 1


def test_entities_of_a_page_are_not_expanded(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    page = f'<!DOCTYPE html [<!ENTITY e0 "ha">{levels}]>{PAGE.replace("Nobody", "&e9; Nobody")}'
    (tmp_path / "a.html").write_text(page)
    assert len(texts(pages(tmp_path))[0]) < 2000


def test_a_small_file_that_unfolds_to_much_is_not_unfolded(tmp_path: Path) -> None:
    (tmp_path / "a.html.gz").write_bytes(gzip.compress(b"<p>" + b"x" * 50_000_000, 1))
    with pytest.raises(DataError, match=r"no document in .*'too large': 1"):
        texts(pages(tmp_path))


def test_links_in_circles_vanished_truncated_empty_and_binary_files(tmp_path: Path) -> None:
    (tmp_path / "z.html").write_text(PAGE)
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "loop.html").symlink_to(tmp_path / "loop.html")
    (tmp_path / "b.html").write_bytes(b" \n")
    (tmp_path / "c.html").write_bytes(b"<p>a\0b</p>")
    packed = gzip.compress(os.urandom(5000))
    (tmp_path / "d.html.gz").write_bytes(packed[:2000])
    (tmp_path / "y.html").write_text(PAGE)
    (tmp_path / "a.html").write_text(PAGE)
    mine = pages(tmp_path)
    documents = iter(mine)
    assert next(documents).id == "w/a.html"
    (tmp_path / "y.html").unlink()
    assert [document.id for document in documents] == ["w/z.html"]
    assert mine.skipped == {"empty": 1, "binary": 1, "unreadable": 1, "vanished": 1}
    with pytest.raises(DataError, match=r"d\.html\.gz: unreadable .*fix: "):
        texts(pages(tmp_path / "d.html.gz", errors="error"))


def test_pages_in_another_language_are_left_out_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(PAGE)
    (tmp_path / "b.html").write_text(PAGE.replace("en-GB", "de"))
    (tmp_path / "c.html").write_text(PAGE.replace(' lang="en-GB"', ""))
    mine = pages(tmp_path, only_language="en")
    assert [document.id for document in mine] == ["w/a.html", "w/c.html"]
    assert mine.skipped == {"other language": 1}


def test_a_missing_library_is_told_before_any_work(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(WebPages, "needs", ("no_such_library",))
    with pytest.raises(
        DataError, match=r"needs no_such_library; fix: pip install 'lm-research\[web"
    ):
        pages(tmp_path).signature()


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="w: no file matches"):
        texts(pages(tmp_path))


def record(kind: str, url: str, content: bytes, http: bool = True) -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Record-ID: <urn:x>\r\n"
        f"Content-Type: {'application/http; msgtype=response' if http else 'text/plain'}\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n\r\n"


def response(body: bytes, type: str = "text/html", status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {type}\r\n{more}\r\n".encode() + body


PACKED = gzip.compress(PAGE.encode())
RECORDS = [
    record("warcinfo", "", b"software: none\r\n", http=False),
    record("request", "http://a.test/", b"GET / HTTP/1.1\r\n\r\n"),
    record("response", "http://a.test/", response(PAGE.encode(), "text/html; charset=utf-8")),
    record("response", "http://a.test/i.png", response(b"\x89PNG\0", "image/png")),
    record("response", "http://a.test/gone", response(PAGE.encode(), status="404 Not Found")),
    record("response", "http://a.test/z", response(PACKED, more="Content-Encoding: gzip\r\n")),
    record(
        "response",
        "http://a.test/latin",
        response(f"<p>{'Été à Noël. ' * 9}".encode("latin-1"), "text/html; charset=iso-8859-1"),
    ),
    record("conversion", "http://a.test/wet", "Nur Text, schön.\n".encode(), http=False),
]


def archive(path: Path, **options: Any) -> WebArchive:
    return WebArchive(str(path), **PAPERS | options)


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz", ".wet.gz"])
def test_an_archives_pages_and_texts(tmp_path: Path, suffix: str) -> None:
    parts = [gzip.compress(one) if suffix.endswith("gz") else one for one in RECORDS]
    (tmp_path / f"a{suffix}").write_bytes(b"".join(parts))
    mine = archive(tmp_path)
    found = {document.id: document.text for document in mine}
    assert list(found) == [f"w/http://a.test/{name}" for name in ("", "z", "latin", "wet")]
    assert found["w/http://a.test/"] == found["w/http://a.test/z"]
    assert "Subscribe" not in found["w/http://a.test/"]
    assert found["w/http://a.test/latin"].startswith("Été à Noël.")
    assert found["w/http://a.test/wet"] == "Nur Text, schön.\n"
    assert mine.skipped == {"no page": 2, "other content type": 1, "not found": 1}


def test_a_truncated_archive_keeps_what_came_before(tmp_path: Path) -> None:
    whole = b"".join(gzip.compress(one) for one in RECORDS)
    (tmp_path / "a.warc.gz").write_bytes(whole[:-40])
    mine = archive(tmp_path)
    assert len(texts(mine)) >= 1
    assert mine.skipped["unreadable"] == 1
    with pytest.raises(DataError, match=r"a\.warc\.gz: unreadable"):
        texts(archive(tmp_path, errors="error"))


def test_an_archive_cut_within_a_record_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(b"".join(RECORDS[:3]) + RECORDS[5][:300])
    mine = archive(tmp_path)
    assert len(texts(mine)) == 1
    assert mine.skipped["unreadable"] == 1


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_text("nothing of the kind\n" * 100)
    (tmp_path / "b.warc").write_bytes(b"")
    with pytest.raises(DataError, match=r"no document in .*left out: "):
        texts(archive(tmp_path))


def test_a_bomb_of_an_archive_is_counted(tmp_path: Path) -> None:
    bomb = gzip.compress(b"<p>" + b"x" * 20_000_000, 1)
    one = record("response", "http://a.test/b", response(bomb, more="Content-Encoding: gzip\r\n"))
    (tmp_path / "a.warc").write_bytes(one + RECORDS[2])
    mine = archive(tmp_path)
    assert len(texts(mine)) == 1
    assert mine.skipped == {"too large": 1}
