"""Public corpora: each kind of source by the path of the real ones, from a server on loopback."""

import gzip
import io
import json
import tarfile
import zipfile
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm_research.config.build import BuildError, build
from lm_research.data.document import DataError, Document
from lm_research.data.preparation import prepare
from lm_research.data.sources.downloaded import LEAKED
from lm_research.data.sources.tagged import read_columns, read_conllu, read_slashes

CARD = {"name": "tiny", "language": "en", "category": "news", "licence": "CC0-1.0"}
SPLITS = {"train": "train", "valid": "validation", "test": "test"}


@pytest.fixture
def corpus(file_server: Any, tmp_path: Path) -> Any:
    """Serve files, and return the node of a source that downloads them."""

    def corpus(cls: str, files: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        nodes = []
        for file in files:
            file = dict(file)
            content = file.pop("content")
            file_server.files[f"/{file['name']}"] = content
            nodes.append(
                {
                    "_target_": "lm_research.data.downloads.RemoteFile",
                    "urls": [f"{file_server.url}/{file['name']}"],
                    "sha256": sha256(content).hexdigest(),
                    **file,
                }
            )
        return {
            "_target_": f"lm_research.data.sources.{cls}",
            "files": nodes,
            "downloads": str(tmp_path / "downloads"),
            **CARD,
            **options,
        }

    return corpus


def lines(**splits: str) -> list[dict[str, Any]]:
    return [
        {"name": f"tiny/{name}.txt", "split": SPLITS[name], "content": text.encode()}
        for name, text in splits.items()
    ]


def read(node: dict[str, Any]) -> list[Document]:
    return list(build(node))


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


# Lines


def test_lines_are_documents_with_official_splits(corpus: Any) -> None:
    node = corpus("lines.Lines", lines(train=" a b \n\n c\n", valid=" v\n", test="t"))
    documents = read(node)
    assert [(d.text, d.split, d.id) for d in documents] == [
        ("a b", "train", "tiny/train/1"),
        ("c", "train", "tiny/train/3"),
        ("v", "validation", "tiny/validation/1"),
        ("t", "test", "tiny/test/1"),
    ]
    assert read(node) == documents


def test_blank_lines_and_white_space_can_be_kept(corpus: Any) -> None:
    files = lines(train=" \n = Title = \n \n", valid="v\n")
    source = build(corpus("lines.Lines", files, strip=False, blank="keep"))
    assert [d.text for d in source][:3] == [" ", " = Title = ", " "]
    source = build(corpus("lines.Lines", files, strip=False))
    assert [d.text for d in source] == [" = Title = ", "v"]
    assert source.skipped == {"empty": 2}


def test_labels_and_targets_lie_in_files_beside_the_text(corpus: Any) -> None:
    files = [
        {"name": "tiny/train.en", "split": "train", "content": b"a dog\na cat\n"},
        {"name": "tiny/train.de", "split": "train", "role": "target", "content": b"Hund\nKatze\n"},
        {"name": "tiny/labels", "split": "train", "role": "label", "content": b"0\n1\n"},
    ]
    documents = read(corpus("lines.Lines", files, labels={"0": "canine"}))
    assert [(d.text, d.target, d.label) for d in documents] == [
        ("a dog", "Hund", "canine"),
        ("a cat", "Katze", "1"),
    ]
    files[1]["content"] = b"Hund\n"
    for file in files:
        file["name"] = f"other/{file['name']}"
    with pytest.raises(DataError, match="different numbers of lines"):
        read(corpus("lines.Lines", files))


def test_a_file_may_be_of_one_label(corpus: Any) -> None:
    files = [
        {"name": f"tiny/polarity.{name}", "label": name, "content": f"{name}!\n".encode()}
        for name in ("pos", "neg")
    ]
    documents = read(corpus("lines.Lines", files))
    assert [(d.text, d.label, d.split) for d in documents] == [
        ("pos!", "pos", None),
        ("neg!", "neg", None),
    ]
    assert len({d.id for d in documents}) == 2


@pytest.mark.parametrize(("choice", "label"), [("coarse", "DESC"), ("fine", "DESC:def")])
def test_the_first_word_may_be_the_label(corpus: Any, choice: str, label: str) -> None:
    files = lines(train="DESC:def What is caf\u00e9 ?\n")
    files[0]["content"] = files[0]["content"].decode().encode("latin-1")
    (document,) = read(corpus("lines.Lines", files, label_first=choice, encoding="latin-1"))
    assert (document.label, document.text) == (label, "What is caf\u00e9 ?")


def test_another_encoding_is_told_with_the_line(corpus: Any) -> None:
    files = [{"name": "tiny/train.txt", "content": b"good\n\xff bad\n"}]
    with pytest.raises(DataError, match=r"train\.txt, line 2: not utf-8.*data\.encoding"):
        read(corpus("lines.Lines", files))


# Leaks, splits, signatures

LEAKY = {"train": "a\nb  c\nd\na\n", "valid": "b c\n", "test": "a\n"}


def test_what_leaks_from_held_out_splits_is_left_out_and_counted(corpus: Any) -> None:
    source = build(corpus("lines.Lines", lines(**LEAKY)))
    for _ in range(2):  # counts begin anew
        texts = [(d.text, d.split) for d in source]
        assert texts == [("d", "train"), ("b c", "validation"), ("a", "test")]
        assert source.skipped == {LEAKED: 3}


def test_published_protocols_keep_the_official_text(corpus: Any) -> None:
    source = build(corpus("lines.Lines", lines(**LEAKY), leaks="keep"))
    assert len(list(source)) == 6
    assert not source.skipped


def test_only_some_splits(corpus: Any, file_server: Any) -> None:
    node = corpus("lines.Lines", lines(**LEAKY), only=["validation", "test"])
    assert {d.split for d in read(node)} == {"validation", "test"}
    assert "/tiny/train.txt" not in file_server.counts()


def test_a_validation_split_may_be_cut_from_the_training_split(corpus: Any) -> None:
    training = "".join(f"row {i % 900}\n" for i in range(1000))
    node = corpus("lines.Lines", lines(train=training, test="t\n"), validation_share=0.1)
    documents = read(node)
    found = Counter(d.split for d in documents)
    assert 60 < found["validation"] < 140
    assert found["train"] + found["validation"] == 1000
    texts = {s: {d.text for d in documents if d.split == s} for s in ("train", "validation")}
    assert not texts["train"] & texts["validation"]
    held_out = {d.text for d in read({**node, "only": ["validation"]})}
    assert held_out == texts["validation"]


def labelled_lines(texts: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": f"tiny/{label}.txt", "label": label, "content": text.encode()}
        for label, text in texts.items()
    ]


def test_folds_part_a_corpus_and_the_held_out_one_is_the_test_split(corpus: Any) -> None:
    files = labelled_lines(
        {
            "good": "".join(f"good {i}\n\n" for i in range(53)),  # blank lines are left out
            "bad": "".join(f"bad {i}\n" for i in range(40)) + "good 0\n",
        }
    )
    node = corpus("lines.Lines", files, folds=10, fold_seed=3, leaks="keep", validation_share=0.1)
    held_out: list[str] = []
    for fold in range(10):
        source = build({**node, "fold": fold})
        documents = list(source)
        test = [d for d in documents if d.split == "test"]
        validation = sum(d.split == "validation" for d in documents)
        assert source.skipped["empty"] == 53
        assert len(documents) == 94
        assert 0 < validation < 25
        assert 4 <= sum(d.label == "bad" for d in test) <= 5  # 41 of ten folds
        assert 5 <= sum(d.label == "good" for d in test) <= 6  # 53
        held_out += [d.id for d in test]
    assert len(set(held_out)) == len(held_out) == 94
    drawn = {s: {d.id for d in read({**node, "fold_seed": s}) if d.split == "test"} for s in (3, 4)}
    assert drawn[3] != drawn[4]
    assert drawn[3] == {d.id for d in read({**node, "only": ["test"]})}
    signatures = {
        build({**node, "fold": f, "fold_seed": s}).signature() for f in (0, 1) for s in (1, 2)
    }
    assert len(signatures) == 4


def test_a_text_that_two_folds_share_does_not_leak(corpus: Any) -> None:
    files = labelled_lines({"a": "same\n" * 8 + "one\n", "b": "same\n" * 8 + "two\n"})
    source = build(corpus("lines.Lines", files, folds=2))
    texts = {s: {d.text for d in source if d.split == s} for s in ("train", "test")}
    assert "same" in texts["test"] - texts["train"]
    assert source.skipped[LEAKED] == 8


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fold": 1}, "fold is 1, and there are no folds; fix: folds=10"),
        ({"folds": 3, "fold": 3}, "fold is 3; of 3 folds it must be 0 to 2"),
        ({"folds": 3}, "tiny/train.txt is of an official split; fix: folds=null"),
    ],
)
def test_folds_that_cannot_be_are_told(corpus: Any, options: dict[str, Any], told: str) -> None:
    files = lines(train="a\n") if "official" in told else labelled_lines({"a": "a\n"})
    with pytest.raises(BuildError, match=told):
        build(corpus("lines.Lines", files, **options))


@pytest.mark.parametrize(
    ("option", "value"), [("leaks", "maybe"), ("only", ["dev"]), ("files", []), ("blank", "yes")]
)
def test_a_choice_that_is_none_is_told(corpus: Any, option: str, value: Any) -> None:
    with pytest.raises(BuildError, match=option):
        build({**corpus("lines.Lines", lines(train="a")), option: value})


def test_a_signature_needs_no_file_and_knows_what_documents_depend_on(
    corpus: Any, file_server: Any, tmp_path: Path
) -> None:
    node = corpus("lines.Lines", lines(train="a\n", valid="b\n"))
    before = build(node).signature()
    assert not file_server.requests
    assert build({**node, "downloads": str(tmp_path / "elsewhere")}).signature() == before
    assert build({**node, "licence": "another"}).signature() == before
    for change in ({"ordered": True}, {"only": ["train"]}, {"leaks": "keep"}, {"strip": False}):
        assert build({**node, **change}).signature() != before
    other = corpus("lines.Lines", lines(train="a\n", valid="c\n"))
    assert build(other).signature() != before


def test_without_a_checksum_a_signature_goes_by_the_file(corpus: Any, tmp_path: Path) -> None:
    node = corpus("lines.Lines", lines(train="a\n"))
    node["files"][0]["sha256"] = None
    before = build(node).signature()
    assert build(node).signature() == before
    (tmp_path / "downloads" / "tiny" / "train.txt").write_text("another\n")
    assert build(node).signature() != before


# Order

BYTES = {"cleaning": [], "tokenizer": {"_target_": "lm_research.text.byte.ByteTokenizer"}}


def stored(node: dict[str, Any], cache: Path, train_bytes: int = 10**6) -> dict[str, bytes]:
    """The ids on disk of each split: bytes, with separators as line ends."""
    text = {**BYTES, "tagger": None}
    splits = {"validation": 0.1, "test": 0.1, "seed": 0}
    budget = {"train_bytes": train_bytes, "eval_bytes": 10**6}
    prepared = prepare(node, text, splits, budget, cache)
    found = {}
    for name in ("train", "validation", "test"):
        ids_N = np.asarray(prepared.store.split(name).ids_N, dtype=np.int64)
        found[name] = prepared.tokenizer.decode(ids_N).encode()
    return found


NUMBERED = {
    "train": "".join(f"line {i}\n" for i in range(500)),
    "valid": "".join(f"held {i}\n" for i in range(50)),
    "test": "".join(f"test {i}\n" for i in range(50)),
}


def test_an_ordered_corpus_lies_on_disk_in_the_file_s_order(corpus: Any, tmp_path: Path) -> None:
    files = lines(**NUMBERED)
    ordered = stored(corpus("lines.Lines", files, ordered=True), tmp_path / "cache")
    for name, text in NUMBERED.items():
        assert ordered[SPLITS[name]] == b"\n" + text.encode()
    shuffled = stored(corpus("lines.Lines", files), tmp_path / "cache")
    assert shuffled["train"] != ordered["train"]
    assert sorted(shuffled["train"].split()) == sorted(ordered["train"].split())


def test_an_ordered_corpus_ends_at_the_cap(corpus: Any, tmp_path: Path) -> None:
    node = corpus("lines.Lines", lines(**NUMBERED), ordered=True)
    found = stored(node, tmp_path / "cache", train_bytes=100)["train"]
    assert found == b"\n" + NUMBERED["train"].encode()[: len(found) - 2] + b"\n"
    assert len(found.replace(b"\n", b"")) == 100


def test_the_store_does_not_depend_on_where_files_lie(corpus: Any, tmp_path: Path) -> None:
    node = corpus("lines.Lines", lines(**NUMBERED))
    stored(node, tmp_path / "cache")
    stored({**node, "downloads": str(tmp_path / "elsewhere")}, tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "tokens").iterdir())) == 1
    assert not (tmp_path / "elsewhere").exists()


# Streams


def stream(corpus: Any, text: str, **options: Any) -> list[Document]:
    files = [{"name": "tiny/all.txt", "content": text.encode()}]
    return read(corpus("stream.Stream", files, **options))


def test_a_stream_is_cut_by_position(corpus: Any) -> None:
    text = "".join(chr(97 + i % 26) for i in range(1000))
    documents = stream(corpus, text, validation=0.05, test=0.05)
    assert [(len(d.text), d.split) for d in documents] == [
        (900, "train"),
        (50, "validation"),
        (50, "test"),
    ]
    assert "".join(d.text for d in documents) == text


def test_each_split_may_have_its_share_of_every_part(corpus: Any) -> None:
    text = "".join(chr(97 + i % 26) for i in range(1003))
    shares = {"validation": 0.1, "test": 0.1}
    splits = [d.text for d in stream(corpus, text, parts=10, **shares)]
    parts = [text[i : i + 100] for i in range(0, 900, 100)] + [text[900:]]
    assert splits[0] == "".join(part[: len(part) * 8 // 10] for part in parts)
    assert splits[1] == "".join(part[len(part) * 8 // 10 : len(part) * 9 // 10] for part in parts)
    assert splits[2] == "".join(part[len(part) * 9 // 10 :] for part in parts)
    with pytest.raises(DataError, match="parts is 1004, and the text has 1003 characters"):
        stream(corpus, text, parts=1004, **shares)


def test_a_stream_may_be_a_part_of_its_file(corpus: Any) -> None:
    text = "Licence. Once upon a time. The end. Licence."
    cut = {"begins_with": "Once", "ends_before": " Licence", "validation": 0.1, "test": 0.1}
    documents = stream(corpus, text, **cut)
    assert "".join(d.text for d in documents) == "Once upon a time. The end."
    assert [len(d.text) for d in documents] == [20, 3, 3]
    with pytest.raises(DataError, match="begins_with is 'Twice', which tiny"):
        stream(corpus, text, **{**cut, "begins_with": "Twice"})
    with pytest.raises(DataError, match="ends_before is 'Once upon', which"):
        stream(corpus, text, **{**cut, "begins_with": "upon", "ends_before": "Once upon"})


@pytest.mark.parametrize("by_byte", [False, True])
def test_no_character_is_parted(corpus: Any, by_byte: bool) -> None:
    text = "\u00e4\u6f22" * 77
    documents = stream(corpus, text, validation=0.3, test=0.3, by_byte=by_byte)
    assert "".join(d.text for d in documents) == text
    assert len(documents) == 3


def test_a_stream_lies_on_disk_as_one_document(corpus: Any, tmp_path: Path) -> None:
    text = "First line\n\nSecond line\n" * 100
    files = [{"name": "tiny/all.txt", "content": text.encode()}]
    node = corpus("stream.Stream", files, validation=0.1, test=0.0)
    found = stored(node, tmp_path / "cache")
    first = len(text) * 9 // 10
    assert found["train"] == b"\n" + text[:first].encode() + b"\n"
    assert found["validation"] == b"\n" + text[first:].encode() + b"\n"
    assert found["test"] == b"\n"


def test_a_stream_may_be_cut_into_units(corpus: Any) -> None:
    text = "some words here\n" * 100
    documents = stream(corpus, text, validation=0.1, test=0.1, unit_bytes=64)
    assert "".join(d.text for d in documents) == text
    assert max(len(d.text) for d in documents) <= 64
    assert len({d.id for d in documents}) == len(documents)


# Tables


def test_rows_of_a_csv_file(corpus: Any) -> None:
    content = b'"3","Title, one","He said ""yes"""\n"1","Title two","Text"\n\n"2"\n'
    files = [{"name": "tiny/train.csv", "columns": ["class", "title", "text"], "content": content}]
    options = {"format": "csv", "text": ["title", "text"], "label": "class"}
    source = build(corpus("table.Table", files, labels={"3": "Business"}, **options))
    assert [(d.text, d.label) for d in source] == [
        ('Title, one He said "yes"', "Business"),
        ("Title two Text", "1"),
    ]
    assert source.skipped == {"malformed": 1}


def test_rows_of_a_tsv_file_with_and_without_a_header(corpus: Any) -> None:
    files = [
        {
            "name": "tiny/train.tsv",
            "split": "train",
            "columns": ["text_a", "label"],
            "content": b'"open quote\tpositive\n \tnegative\n',
        },
        {"name": "tiny/test.tsv", "split": "test", "content": b"qid\ttext_a\n0\tno label\n"},
    ]
    source = build(corpus("table.Table", files, format="tsv", text=["text_a"], label="label"))
    assert [(d.text, d.label, d.split) for d in source] == [
        ('"open quote', "positive", "train"),
        ("no label", None, "test"),
    ]
    assert source.skipped == {"empty": 1}


def test_objects_of_a_json_lines_file(corpus: Any) -> None:
    rows = [
        {"source": ["One.", "Two."], "target": ["First", "Second"]},
        {"source": ["Three."], "target": [], "summary1": "Sum"},
        {"source": ["Four."], "target": []},
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    files = [{"name": "tiny/train.jsonl", "content": content}]
    options = {"format": "jsonl", "text": ["source"], "target": ["target", "summary1"]}
    source = build(corpus("table.Table", files, **options))
    assert [(d.text, d.target) for d in source] == [("One. Two.", "First"), ("Three.", "Sum")]
    assert source.skipped == {"without target": 1}


def test_files_of_one_table_may_be_of_several_formats(corpus: Any) -> None:
    """Each by the end of its name: quotes are text in the one, and not in the other."""
    names = ["text", "label"]
    files = [
        {"name": "tiny/a.tsv", "split": "train", "columns": names, "content": b'"a, b"\tx\n'},
        {"name": "tiny/b.csv", "split": "test", "columns": names, "content": b'"a, b",y\n'},
        {"name": "tiny/c.jsonl", "split": "validation", "content": b'{"text": "c", "label": "z"}'},
    ]
    source = build(corpus("table.Table", files, format=None, text=["text"], label="label"))
    assert [(d.text, d.label) for d in source] == [('"a, b"', "x"), ("a, b", "y"), ("c", "z")]
    files[0]["name"] = "tiny/a.txt"
    with pytest.raises(BuildError, match="format"):
        build(corpus("table.Table", files, format=None, text=["text"]))


def test_a_missing_column_and_a_broken_line_are_told(corpus: Any) -> None:
    files = [{"name": "tiny/a.jsonl", "content": b'{"txt": "a"}\n'}]
    with pytest.raises(DataError, match=r"no column 'text'; its columns are 'txt'"):
        read(corpus("table.Table", files, format="jsonl", text=["text"]))
    files = [{"name": "tiny/b.jsonl", "content": b'{"text": "a"}\n{"te\n'}]
    with pytest.raises(DataError, match=r"b\.jsonl, line 2"):
        read(corpus("table.Table", files, format="jsonl", text=["text"]))


# Tags

CONLLU = """# newdoc id = one
# text = Don't go.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No
3.1\tgone\t_\t_\t_\t_\t_\t_\t_\t_
4\t.\t.\tPUNCT\t.\t_\t3\tpunct\t_\t_

# text = Yes
1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_

# newdoc id = two
# text = No
1\tNo\tno\tINTJ\tUH\t_\t0\troot\t_\t_
"""


def test_conllu_has_text_words_and_tags() -> None:
    first, second, third = read_conllu(CONLLU.splitlines())
    assert first.text == "Don't go."
    assert first.words == ("Do", "n't", "go", ".")
    assert first.tags == ("AUX", "PART", "VERB", "PUNCT")
    assert (first.begins, second.begins, third.begins) == (True, False, True)
    assert next(read_conllu(CONLLU.splitlines(), 4)).tags == ("VBP", "RB", "VB", ".")


@pytest.mark.parametrize(
    ("unit", "texts"),
    [("sentence", ["Don't go.", "Yes", "No"]), ("document", ["Don't go.\nYes", "No"])],
)
def test_sentences_or_documents_of_conllu(corpus: Any, unit: str, texts: list[str]) -> None:
    files = [{"name": "tiny/train.conllu", "content": gzip.compress(CONLLU.encode())}]
    files[0]["content"] = CONLLU.encode()
    documents = read(corpus("tagged.Tagged", files, format="conllu", document=unit))
    assert [d.text for d in documents] == texts
    assert all(len(d.words or ()) == len(d.tags or ()) > 0 for d in documents)


def test_columns_and_slashes() -> None:
    first, second = read_columns(["He PRP B-NP", "ran VBD B-VP", "", "", "On IN B-PP"], 2)
    assert (first.words, first.tags, first.text) == (("He", "ran"), ("B-NP", "B-VP"), "He ran")
    assert second.words == ("On",)
    (only,) = read_slashes("\n\n\tThe/at 1/2/cd jury/nn ./.  \n")
    assert only.words == ("The", "1/2", "jury", ".")
    assert only.tags == ("at", "cd", "nn", ".")


def test_tagged_texts_of_an_archive_with_their_categories(corpus: Any) -> None:
    content = zipped(
        {
            "brown/ca01": b"\tA/at dog/nn\n\nRan/vbd\n",
            "brown/cb01": b"No/rb\n",
            "brown/cats.txt": b"ca01 news\ncb01 editorial\n",
            "brown/README": b"not a text",
        }
    )
    files = [{"name": "tiny/brown.zip", "content": content}]
    options = {"format": "slashes", "members": "brown/c[a-r]*[0-9]", "document": "document"}
    documents = read(corpus("tagged.Tagged", files, categories="brown/cats.txt", **options))
    assert [(d.text, d.label, d.id) for d in documents] == [
        ("A dog\nRan", "news", "tiny/ca01"),
        ("No", "editorial", "tiny/cb01"),
    ]


# Archives


def test_members_by_their_path(corpus: Any) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for split in ("train", "test"):
            for label in ("pos", "neg", "unsup"):
                for i in range(3):
                    text = f"{split} {label} {i}\r\nmore".encode()
                    info = tarfile.TarInfo(f"aclImdb/{split}/{label}/{i}_7.txt")
                    info.size = len(text)
                    archive.addfile(info, io.BytesIO(text))
    files = [{"name": "tiny/aclImdb.tar.gz", "content": out.getvalue()}]
    form = "aclImdb/(?P<split>train|test)/(?P<label>pos|neg)/.*[.]txt"
    documents = read(corpus("archived.Archived", files, members=form))
    counts = Counter((d.split, d.label) for d in documents)
    assert counts == {(s, label): 3 for s in ("train", "test") for label in ("pos", "neg")}
    assert documents[0].text == "train pos 0\nmore"
    assert documents[0].id == "tiny/train/pos/0_7.txt"


def test_paragraphs_and_what_cannot_be_decoded(corpus: Any) -> None:
    content = zipped({"w/a.txt": b"one\ntwo\n\n\nthree\n", "w/b.txt": b"\xff", "w/c.txt": b"\n"})
    files = [{"name": "tiny/w.zip", "content": content}]
    options = {"members": "w/(?P<label>.*)[.]txt", "document": "paragraph"}
    source = build(corpus("archived.Archived", files, **options))
    assert [(d.text, d.label) for d in source] == [("one\ntwo", "a"), ("three", "a")]
    assert source.skipped["undecodable"] == 1


def test_a_member_of_an_archive_that_is_kept(corpus: Any) -> None:
    content = zipped({"wiki/wiki.train.tokens": b"a\n", "wiki/wiki.valid.tokens": b"b\n"})
    files = [
        {"name": "tiny/w.zip", "split": split, "member": f"wiki.{name}.tokens", "content": content}
        for name, split in (("train", "train"), ("valid", "validation"))
    ]
    documents = read(corpus("lines.Lines", files))
    assert [(d.text, d.split) for d in documents] == [("a", "train"), ("b", "validation")]


def test_an_expression_that_is_none_is_told(corpus: Any) -> None:
    with pytest.raises(BuildError, match="no regular expression"):
        build(corpus("archived.Archived", lines(train="a"), members="("))


def test_a_table_may_have_several_labels_in_a_cell(corpus: Any) -> None:
    content = b"text\ttags\nfine\t0,2\nplain\t\n"
    files = [{"name": "tiny/a.tsv", "split": "train", "content": content}]
    how = {"format": "tsv", "text": ["text"], "label": "tags", "labels": {"0": "joy", "2": "fear"}}
    found = read(corpus("table.Table", files, **how, label_separator=","))
    assert [d.labels for d in found] == [("joy", "fear"), ()]
    assert [d.label for d in read(corpus("table.Table", files, **how))] == ["0,2", ""]
    lines = b'{"text": "fine", "tags": [2, 0]}\n{"text": "none", "tags": null}\n'
    files = [{"name": "tiny/a.jsonl", "split": "train", "content": lines}]
    found = read(corpus("table.Table", files, **how | {"format": "jsonl"}))
    assert [(d.label, d.labels) for d in found] == [(None, ("fear", "joy")), (None, None)]
    content = b'{"text": "fine", "tags": [[1]]}\n'
    files = [{"name": "tiny/b.jsonl", "split": "train", "content": content}]
    with pytest.raises(DataError, match="a list of labels with a list"):
        read(corpus("table.Table", files, **how | {"format": "jsonl"}))
