"""Wiki dumps: wikitext to text, what is left out, and XML that a stranger may send."""

import bz2
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mwparserfromhell", reason="the extra web is not installed")

from lm_research.data.document import DataError
from lm_research.data.sources.wiki_dump import WikiDump, plain_text

PAPERS: dict[str, Any] = {"name": "w", "language": "de", "category": "encyclopedia"}
PAPERS |= {"licence": "CC-BY-SA-4.0"}
NAMESPACES = (
    '<siteinfo><namespaces><namespace key="0" /><namespace key="6">Datei</namespace>'
    '<namespace key="14">Kategorie</namespace></namespaces></siteinfo>'
)
WIKITEXT = """{{Infobox|a={{b|c}}}}'''Foo''' is a [[Bar (x)|bar]]&nbsp;thing.<ref name="a">Cited
{{x}}</ref><ref name=b />
[[Datei:X.png|thumb|A caption with a [[link]]]]
== History ==
It began in [http://a.test Rome].<!-- hidden -->
{| class="wikitable"
| cell || other
|}
=== Later ===
* first
* ''second''
[[Kategorie:Stuff]]
[[de:Fuu]]
__NOTOC__"""


def page(title: str, text: str, ns: int = 0, more: str = "") -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f"<page><title>{title}</title><ns>{ns}</ns>{more}<revision><model>wikitext</model>"
        f'<text xml:space="preserve">{text}</text></revision></page>'
    )


def dump(*pages: str) -> bytes:
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="de">'
    return f"{head}{NAMESPACES}{''.join(pages)}</mediawiki>".encode()


def wiki(path: Path, **options: Any) -> WikiDump:
    return WikiDump(str(path), **PAPERS | options)


@pytest.mark.parametrize("suffix", ["", ".bz2"])
def test_articles_become_text_with_their_headings(tmp_path: Path, suffix: str) -> None:
    content = dump(
        page("Foo", WIKITEXT),
        page("Old", "#REDIRECT [[Foo]]", more='<redirect title="Foo" />'),
        page("Talk:Foo", "chat", ns=1),
        page("Empty", "{{only|a template}}"),
    )
    (tmp_path / f"a.xml{suffix}").write_bytes(bz2.compress(content) if suffix else content)
    mine = wiki(tmp_path)
    [document] = mine
    assert document.id == "w/Foo"
    lines = [line.strip() for line in document.text.split("\n") if line.strip()]
    assert lines == [
        "Foo",
        "Foo is a bar\xa0thing.",
        "History",
        "It began in Rome.",
        "Later",
        "first",
        "second",
    ]
    assert mine.skipped == {"redirect": 1, "other namespace": 1, "empty": 1}


def test_the_last_revision_is_read(tmp_path: Path) -> None:
    two = "<revision><text>old</text></revision><revision><text>new</text></revision>"
    (tmp_path / "a.xml").write_bytes(dump(f"<page><title>T</title><ns>0</ns>{two}</page>"))
    assert [document.text for document in wiki(tmp_path, keep_title=False)] == ["new"]


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE m SYSTEM "http://a.test/m.dtd">',
    ],
)
def test_entities_and_dtds_are_refused(tmp_path: Path, doctype: str) -> None:
    (tmp_path / "a.xml").write_bytes(doctype.encode() + dump(page("Foo", "text")))
    with pytest.raises(DataError, match=r"a\.xml: a DTD .* is refused; fix: "):
        list(wiki(tmp_path))


BOMBS = {
    "links": "[[a|" * 100_000,
    "brackets": "[[" * 100_000,
    "templates": "{{a|" * 50_000,
    "parameters": "{{{" * 50_000,
    "tags": "<ref>" * 100_000,
    "bold": "<b>" * 100_000,
    "tables": "{|\n" * 50_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_of_wikitext_are_counted_in_little_time(tmp_path: Path, bomb: str) -> None:
    (tmp_path / "a.xml").write_bytes(dump(page("Bomb", BOMBS[bomb]), page("Foo", "text")))
    mine = wiki(tmp_path)
    before = time.process_time()
    assert [document.id for document in mine] == ["w/Foo"]
    assert time.process_time() - before < 5
    assert mine.skipped == {"too deep": 1}


def test_a_page_without_an_end_is_bounded_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(dump(page("Long", "word " * 100_000), page("Foo", "text")))
    mine = wiki(tmp_path, max_page_bytes=10_000)
    assert [document.id for document in mine] == ["w/Foo"]
    assert mine.skipped == {"too large": 1}


@pytest.mark.parametrize(
    ("cut", "reason"), [(lambda content: content[:-60], "malformed"), (None, "unreadable")]
)
def test_what_came_before_a_break_is_kept(tmp_path: Path, cut: Any, reason: str) -> None:
    pages = [page(f"P{i}", f"text {i} " * 2000) for i in range(100)]
    content = dump(*pages)
    if cut:
        (tmp_path / "a.xml").write_bytes(cut(content))
    else:
        packed = bz2.compress(content, 1)
        (tmp_path / "a.xml.bz2").write_bytes(packed[: len(packed) * 3 // 4])
    mine = wiki(tmp_path)
    assert 10 < sum(1 for _ in mine) < 101
    assert mine.skipped == {reason: 1}
    with pytest.raises(DataError, match=rf"{reason} .*fix: "):
        list(wiki(tmp_path, errors="error"))


@pytest.mark.parametrize("content", [b"", b"<html><p>a</p></html>", b"\0\0\0", b"\xff\xfe\xff"])
def test_what_is_no_dump_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(DataError, match=r"no document in .*'malformed': 1"):
        list(wiki(tmp_path))


def test_text_between_is_left_as_it_is() -> None:
    assert plain_text("a < b, [c], {d}, 5 > 4\n\n\n\nend", set()) == "a < b, [c], {d}, 5 > 4\n\nend"
