"""Hugging Face data sets from local folders, streaming and not; the network is never tried."""

import builtins
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lm_research.data.document import DataError, Document
from lm_research.data.sources.hugging_face import HuggingFace

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
ROWS = [
    {"text": "first", "label": 0, "target": "erstens", "id": "x1"},
    {"text": "第二", "label": 1, "target": "zweitens", "id": "x2"},
    {"text": "third", "label": 0, "target": None, "id": "x3"},
]


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Before ``datasets`` is imported: no network, and caches in a temporary folder."""
    home = str(tmp_path_factory.mktemp("hugging_face"))
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in (OFFLINE | {"HF_HOME": home}).items():
            patch.setenv(variable, value)

        def refuse(*_: Any) -> None:
            raise AssertionError("a test tried the network")

        patch.setattr(socket.socket, "connect", refuse)
        import datasets
        import huggingface_hub.constants

        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def source(path: Any, cache: Path, **options: Any) -> HuggingFace:
    return HuggingFace(
        str(path),
        cache_dir=str(cache / "cache"),
        name="mine",
        language="en",
        category="web",
        licence="unknown",
        **options,
    )


FIELDS = {"label_field": "label", "target_field": "target", "id_field": "id"}
EXPECTED = [
    Document(row["text"], "mine", f"mine/{row['id']}", str(row["label"]), row["target"])
    for row in ROWS
]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(("path", "suffix"), [("json", ".jsonl"), ("parquet", ".parquet")])
def test_files_by_their_format(tmp_path: Path, path: str, suffix: str, streaming: bool) -> None:
    file = write(tmp_path / "data" / f"a{suffix}", ROWS)
    mine = source(path, tmp_path, data_files=[str(file)], streaming=streaming, **FIELDS)
    assert list(mine) == EXPECTED
    assert list(mine) == EXPECTED


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_folder_is_a_data_set(tmp_path: Path, suffix: str, streaming: bool) -> None:
    write(tmp_path / "data" / f"train{suffix}", ROWS)
    assert list(source(tmp_path / "data", tmp_path, streaming=streaming, **FIELDS)) == EXPECTED


@pytest.mark.parametrize("streaming", [False, True])
def test_all_splits_are_official_ones_and_a_single_one_is_none(
    tmp_path: Path, streaming: bool
) -> None:
    for row, split in zip(ROWS, ("train", "validation", "test"), strict=True):
        write(tmp_path / "data" / f"{split}.jsonl", [row])
    every = list(source(tmp_path / "data", tmp_path, split=None, streaming=streaming))
    assert {(document.text, document.split, document.id) for document in every} == {
        ("first", "train", "mine/train/0"),
        ("第二", "validation", "mine/validation/0"),
        ("third", "test", "mine/test/0"),
    }
    one = list(source(tmp_path / "data", tmp_path, split="test", streaming=streaming))
    assert one == [Document("third", "mine", "mine/test/0")]


def test_a_part_of_a_split_can_be_named(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.jsonl", ROWS)
    found = list(source(tmp_path / "data", tmp_path, split="train[:2]"))
    assert [document.text for document in found] == ["first", "第二"]


@pytest.mark.parametrize("streaming", [False, True])
def test_class_numbers_become_their_names(tmp_path: Path, streaming: bool) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    rows = {"text": ["bad", "good", "who knows"], "label": [0, 1, -1]}
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(
        tmp_path / "data" / "train.parquet"
    )
    mine = source(tmp_path / "data", tmp_path, label_field="label", streaming=streaming)
    assert [(document.text, document.label) for document in mine] == [
        ("bad", "neg"),
        ("good", "pos"),
        ("who knows", None),
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_what_is_left_out_is_counted(tmp_path: Path, streaming: bool) -> None:
    rows = [{"text": text} for text in ("one", " ", None, "n\0l", "x " * 100)]
    file = write(tmp_path / "data" / "a.jsonl", rows)
    mine = source(
        "json", tmp_path, data_files=[str(file)], streaming=streaming, max_document_bytes=150
    )
    found = list(mine)
    assert "".join(document.text for document in found) == "one" + "x " * 100
    assert [document.id for document in found] == [
        "mine/train/0",
        "mine/train/4#0",
        "mine/train/4#1",
    ]
    assert mine.skipped == {"empty": 2, "binary": 1}


@pytest.mark.parametrize("streaming", [False, True])
def test_a_missing_column_names_the_columns(tmp_path: Path, streaming: bool) -> None:
    write(tmp_path / "data" / "train.jsonl", ROWS)
    with pytest.raises(
        DataError, match=r"no column 'txt' \(text_field\); its columns are .*'text'"
    ):
        list(source(tmp_path / "data", tmp_path, text_field="txt", streaming=streaming))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.jsonl", ROWS)
    with pytest.raises(DataError, match=r"mine: .*data cannot be read: .*fix: check data.path"):
        list(source(tmp_path / "data", tmp_path, split="dev"))
    with pytest.raises(DataError, match=r"mine: no/such_set cannot be read"):
        list(source("no/such_set", tmp_path))
    with pytest.raises(DataError, match=r"mine: json cannot be read"):
        list(source("json", tmp_path, data_files=[str(tmp_path / "none*.jsonl")]))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_truncated_file_is_an_error(tmp_path: Path, streaming: bool) -> None:
    file = write(tmp_path / "data" / "train.parquet", ROWS)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"mine: .*cannot be read"):
        list(source(tmp_path / "data", tmp_path, streaming=streaming))


def test_a_data_set_without_documents_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / "data" / "a.jsonl", [{"text": ""}])
    with pytest.raises(DataError, match=r"mine: no document in json; left out: \{'empty': 1\}"):
        list(source("json", tmp_path, data_files=[str(file)]))


def test_a_data_set_with_a_script_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text("raise SystemExit('the script ran')")
    with pytest.raises(DataError, match=r"mine: .*scripted cannot be read"):
        list(source(folder, tmp_path))


def test_a_missing_library_is_named_with_its_fix(tmp_path: Path, monkeypatch: Any) -> None:
    true_import = builtins.__import__

    def without_datasets(name: str, *rest: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return true_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_datasets)
    with pytest.raises(DataError, match=r"pip install 'lm-research\[hf\]'"):
        list(source("json", tmp_path))


def test_the_signature_follows_the_files_and_the_options(tmp_path: Path) -> None:
    file = write(tmp_path / "data" / "train.jsonl", ROWS)

    def signatures() -> list[str]:
        return [
            source(tmp_path / "data", tmp_path).signature(),
            source("json", tmp_path, data_files=[str(file)]).signature(),
            source("json", tmp_path, data_dir=str(tmp_path / "data")).signature(),
            source("ag_news", tmp_path, revision="abc").signature(),
        ]

    before = signatures()
    assert signatures() == before
    assert len(set(before)) == 4
    os.utime(file, ns=(1, 1))
    changed = [old != new for old, new in zip(before, signatures(), strict=True)]
    assert changed == [True, True, True, False]


def test_lists_of_classes_are_several_labels(tmp_path: Path) -> None:
    import datasets

    names = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.Sequence(names)}
    )
    rows = {"text": ["first", "second"], "label": [[1, 0], []]}
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "a.parquet")
    found = source(
        "parquet", tmp_path, data_files=[str(tmp_path / "a.parquet")], label_field="label"
    )
    assert [(d.label, d.labels) for d in found] == [(None, ("good", "bad")), (None, ())]
