"""Every file of conf/text: its classes exist, take their fields, and work together."""

import importlib
import inspect
from pathlib import Path

import pytest
import yaml

from lm_research.text.cleaning import Cleaner
from lm_research.text.tags import TagLexicon
from lm_research.text.tokenizer import Tokenizer

FOLDER = Path(__file__).parents[2] / "conf" / "text"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
ENGLISH = "The cat sat on the mat, and it was as happy as a cat can be with all of its friends.\n"
CHINESE = "今天天气很好，我们去公园。"
PAGES = {  # where a page has to be in one language, and longer
    option: [
        "The cat sat on the mat, and it was happy. A dog came to the house and barked at it with "
        "all of its might. Then they had a long talk about the weather, which nobody in town "
        "cared for. In the end both of them went home by different roads, have had their supper, "
        "and slept until the sun stood high above the old church."
    ]
    for option in ("c4", "gopher", "fineweb")
} | {"chinese_web": ["今天天气很好，我们一起去公园散步。\n路上看见许多花和树，还有人在湖边下棋！"]}
PAGES["spaced_words"] = [
    "the cat <unk> on the mat",
    "the N dogs 's bark",
]  # one space between words


def load(option):
    return yaml.safe_load((FOLDER / f"{option}.yaml").read_text(encoding="utf-8"))


def build(node):
    module, _, name = node["_target_"].rpartition(".")
    fields = {key: value for key, value in node.items() if key != "_target_"}
    return getattr(importlib.import_module(module), name)(**fields)


def test_the_options():
    expected = "bpe byte c4 character chinese_web chinese_word fineweb gopher web word word_tagged"
    assert set(OPTIONS) >= set(expected.split())


@pytest.mark.parametrize("option", OPTIONS)
def test_the_file_says_what_it_is_and_lists_every_field(option):
    text = (FOLDER / f"{option}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    node = load(option)
    assert list(node) == ["cleaning", "tokenizer", "tagger"]
    for item in [*node["cleaning"], node["tokenizer"], node["tagger"]]:
        if item is not None:
            parameters = list(inspect.signature(type(build(item)).__init__).parameters)[1:]
            assert parameters in (list(item)[1:], ["args", "kwargs"])


@pytest.mark.parametrize("option", OPTIONS)
def test_cleaning_tokenizer_and_tagger_work_together(option):
    node = load(option)
    cleaner = Cleaner([build(rule) for rule in node["cleaning"]])
    documents = PAGES.get(option, [(ENGLISH + CHINESE) * 3, ENGLISH * 2 + "e\u0301\x00"])
    cleaned = [cleaner.clean(text) for text in documents]
    assert None not in cleaned, cleaner.report()
    tokenizer = build(node["tokenizer"])
    assert isinstance(tokenizer, Tokenizer)
    tokenizer.train(cleaned)
    for text in cleaned:
        ids_N, nats = tokenizer.encode(text)
        assert nats >= 0
        assert nats > 0 or tokenizer.decode(ids_N) == text
    if node["tagger"]:
        lexicon = TagLexicon(build(node["tagger"]), tokenizer)
        lexicon.fit(cleaned)
        assert lexicon.tag_of_token.max() > 0


def test_the_web_option_cleans_a_page():
    cleaner = Cleaner([build(rule) for rule in load("web")["cleaning"]])
    page = (
        f"<html><head><script>var x = '<p>';</script></head><body><p>{ENGLISH}</p>"
        "<p>Mail me&#1;@x: a.b@c.org or see http://d.org/e?f=1 (12,000 times).</p>"
        "<hr>=======</body></html>"
    )
    expected = ENGLISH + "\n\nMail me@x: <email> or see <url> (<number> times).\n\n---"
    assert cleaner.clean(page) == expected.replace("\n\n\n", "\n\n")
    assert cleaner.clean("short") is None
    assert cleaner.clean(CHINESE * 20) is None
    dropped = {
        c["name"]: c["documents_dropped"] for c in cleaner.report() if c["documents_dropped"]
    }
    assert dropped == {"length_filter": 1, "language_filter": 1}
