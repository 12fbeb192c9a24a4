"""`data audit` and `data contamination` on made files: the leak is named, the page is safe."""

import json
from contextlib import redirect_stdout
from io import StringIO

import pytest

from lm_research.cli.data import run
from lm_research.cli.data_audit import AuditError
from lm_research.config.problems import ConfigError

LEAK = "这本书 <script>alert(1)</script> is in two splits & says so at length, twice over"
NEAR = [f"word{n}" for n in range(60)]
ROWS = [
    *(("train", f"training text number {n} about rivers and boats {n * 7}") for n in range(12)),
    *(("validation", f"held out text number {n} about hills {n * 5}") for n in range(4)),
    ("train", LEAK), ("validation", LEAK), ("train", LEAK),
    ("train", " ".join(NEAR)), ("test", " ".join([*NEAR[:-1], "altered"])),
    ("test", "She is a doctor. Write to someone@example.com."),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of options with two sources over one leaky file and one clean one."""
    tmp_path = tmp_path_factory.mktemp("audit")
    options = tmp_path / "mine" / "data"
    options.mkdir(parents=True)
    for name, rows, licence in (
        ("leaky", ROWS, "CC-BY-NC-4.0"),
        ("other", [("train", "a boat on a river"), ("validation", LEAK)], "CC-BY-SA-4.0"),
    ):
        (tmp_path / f"{name}.tsv").write_text(
            "split\ttext\n" + "".join(f"{s}\t{t}\n" for s, t in rows)
        )
        (options / f"{name}.yaml").write_text(
            "_target_: lm_research.data.sources.files.LocalFiles\n"
            f"paths: {tmp_path / name}.tsv\nsplit_field: split\nname: {name}\nlanguage: en\n"
            f"category: web\nlicence: {licence}\n"
        )
    return tmp_path


@pytest.fixture(autouse=True)
def _here(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def written(folder):
    """What one audit of both printed, with its two files."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.chdir(folder)
        assert audit("data=leaky,other", "output=out") == 0
    found = json.loads((folder / "out/audit.json").read_text())
    return " ".join(printed.getvalue().split()), found, (folder / "out/audit.html").read_text()


def audit(*arguments: str) -> int:
    return run(["audit", "--config-dir", "mine", *arguments])


def test_the_leak_is_named_with_splits_count_and_example(written) -> None:
    printed, found, _ = written
    assert "Leak: 1 text in both leaky, train and leaky, validation (1 documents, 20.0 %" in printed
    assert "Leak: 1 text in both leaky, train and other, validation" in printed
    (row,) = [
        row
        for row in found["overlap"]
        if row["first"] == {"source": "leaky", "split": "train"}
        and row["second"] == {"source": "leaky", "split": "validation"}
    ]
    counts = ("equal_texts", "first_documents", "second_documents", "leak", "examples")
    assert [row[key] for key in counts] == [1, 2, 1, True, [LEAK]]
    (near,) = [row for row in found["overlap"] if row["near_examples"]]
    assert near["second"]["split"] == "test"
    assert near["near_examples"][0][2] == pytest.approx(55 / 57)


def test_the_json_holds_what_the_schema_says(written) -> None:
    _, found, _ = written
    assert (found["lm_research"], found["format"]) == ("audit", 1)
    top = {"sources", "overlap", "divergence", "licences", "left_out", "seed"}
    assert top <= set(found)
    source = found["sources"]["leaky"]
    parts = {"card", "splits", "personal", "sample", "languages", "vocabulary", "topics", "bias"}
    assert parts | {"compression_ratio", "readability", "tags"} == set(source)
    train = [text for split, text in ROWS if split == "train"]
    assert source["splits"]["train"]["documents"] == len(train)
    assert source["splits"]["train"]["bytes"] == sum(len(text.encode()) for text in train)
    assert source["personal"] == {"e-mail addresses": 1}
    assert source["sample"]["documents"] == source["sample"]["of"] == len(ROWS)


def test_the_page_runs_nothing_that_a_text_says(written) -> None:
    _, _, page = written
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page
    assert "share-alike and allows commerce" in page


def test_without_output_it_is_json_on_one_stream_and_words_on_the_other(capsys) -> None:
    assert audit("data=leaky,other") == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)["sources"]) == {"leaky", "other"}
    assert "Leak: 1 text" in err


def test_what_is_wrong_is_told_before_any_reading(folder) -> None:
    with pytest.raises(ConfigError, match="is a field of one source"):
        audit("data=leaky,other", "data.name=x")
    with pytest.raises(ConfigError, match="nowhere"):
        audit("data=leaky,nowhere", "output=out")
    (folder / "theirs").mkdir()
    (folder / "theirs/audit.json").write_text("{}")
    with pytest.raises(AuditError, match="none of ours"):
        audit("data=leaky", "output=theirs")
    assert (folder / "theirs/audit.json").read_text() == "{}"


def test_contamination_in_per_cent_of_documents_and_tokens(folder, capsys) -> None:
    sides = ["train=[leaky]", "evaluate=[leaky,other]", "output=out"]
    assert run(["contamination", "--config-dir", "mine", *sides]) == 0
    assert "Contamination" in capsys.readouterr().out
    found = json.loads((folder / "out/contamination.json").read_text())
    rows = {(row["evaluate"], row["n"]): row for row in found["pairs"]}
    assert set(rows) == {("leaky", 8), ("leaky", 13), ("other", 8), ("other", 13)}
    assert rows["leaky", 13]["contaminated_documents"] == 1
    assert rows["leaky", 13]["documents_percent"] == pytest.approx(100 / 5)
    assert rows["other", 8]["documents_percent"] == rows["other", 8]["mostly_percent"] == 100
    assert rows["other", 13]["tokens_percent"] == 100
    assert rows["other", 13]["longest_match"] == 17  # 这本书 script alert 1 script is in ...
    page = (folder / "out/contamination.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def public(tmp_path, downloads, leaks: str) -> list[str]:
    """Arguments for a corpus whose training split holds three rows of the held-out ones."""
    (downloads / "rows").mkdir(parents=True, exist_ok=True)
    held = {"validation": [LEAK, "only held out"], "test": ["also  in training", "never seen"]}
    train = [LEAK, "first of its own", LEAK, "also in training", "last of its own"]
    files = ""
    for split, rows in {"train": train, **held}.items():
        (downloads / f"rows/{split}.txt").write_text("".join(f"{row}\n" for row in rows))
        files += (
            "  - _target_: lm_research.data.downloads.RemoteFile\n"
            f"    name: rows/{split}.txt\n    split: {split}\n    sha256: null\n"
            "    urls: ['http://localhost:9/rows.txt']\n"
        )
    options = tmp_path / "public" / "data"
    options.mkdir(parents=True)
    (options / "public.yaml").write_text(
        "_target_: lm_research.data.sources.lines.Lines\nname: public\nlanguage: en\n"
        f"category: news\nlicence: CC0-1.0\ncitation: nobody\n{leaks}"
        f"downloads: {downloads}\nfiles:\n{files}"
    )
    return ["audit", "--config-dir", str(tmp_path / "public")]


@pytest.mark.parametrize("leaks", ["", "leaks: drop\n", "leaks: keep\n"], ids=str.strip)
@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "mixed"])
def test_a_leak_is_named_though_training_mends_it(tmp_path, capsys, leaks, mixed) -> None:
    command = public(tmp_path, tmp_path / "downloads", leaks)
    chosen = ["data=mixture", "data.weights={public: 1}"] if mixed else ["data=public"]
    assert run([*command, *chosen, f"output={tmp_path / 'out'}"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "out/audit.json").read_text())
    leaking = [
        (row["second"]["split"], row["equal_texts"], row["first_documents"])
        for row in found["overlap"]
        if row["first"] == {"source": "public", "split": "train"} and row["leak"]
    ]
    assert ("validation", 1, 2) in leaking
    kept = "keep" in leaks
    expected = {"public": {"leaks": "keep" if kept else "drop", "documents": 3}}
    assert found["mended"] == expected
    assert found["sources"]["public"]["splits"]["train"]["documents"] == 5
    assert "Leak: 1 text in both public, train and public, validation" in printed
    said = "training reads 3 documents" if kept else "Training leaves out 3 documents of its train"
    assert said in printed
    assert said in " ".join((tmp_path / "out/audit.html").read_text().split())
