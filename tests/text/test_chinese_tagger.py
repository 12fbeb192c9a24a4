import jieba.posseg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.chinese_tagger import ChineseTagger
from lm_research.text.chinese_word import ChineseWordTokenizer, jieba_tokenizer
from lm_research.text.tags import NO_TAG, UPOS, TagLexicon

TEXT = "小明昨天在北京大学看到了三只非常漂亮的猫，但是他没有带Canon相机。"


def test_words_and_tags():
    assert ChineseTagger().tag("我在北京看到三只漂亮的猫。\n") == [
        ("我", "PRON"),
        ("在", "ADP"),
        ("北京", "PROPN"),
        ("看到", "VERB"),
        ("三只", "NUM"),
        ("漂亮", "ADJ"),
        ("的", "PART"),
        ("猫", "NOUN"),
        ("。", "PUNCT"),
        ("\n", NO_TAG),
    ]


def test_words_are_those_of_jieba_posseg():
    reference = jieba.posseg.POSTokenizer(jieba_tokenizer())
    assert [word for word, _ in ChineseTagger().tag(TEXT)] == [p.word for p in reference.cut(TEXT)]


def test_copula_modal_verbs_and_units_of_time():
    tags = dict(ChineseTagger().tag("他会是老师，2024年。"))
    assert (tags["会"], tags["是"], tags["年"]) == ("AUX", "AUX", "NOUN")


@given(st.one_of(st.text(), st.text(alphabet="今天气很好我们去北京，。aZ09+# \r\n😀")))
def test_pieces_are_the_text_and_tags_known(text):
    tagged = ChineseTagger().tag(text)
    assert "".join(piece for piece, _ in tagged) == text
    assert {tag for _, tag in tagged} <= {NO_TAG, *UPOS}


@pytest.mark.parametrize(("word", "tag"), [("北京大学", "PROPN"), ("猫", "NOUN"), ("，", "PUNCT")])
def test_a_lexicon_of_chinese_words(word, tag):
    tokenizer = ChineseWordTokenizer(100)
    tokenizer.train([TEXT])
    lexicon = TagLexicon(ChineseTagger(), tokenizer)
    lexicon.fit([TEXT])
    (id,) = tokenizer.encode(word).ids_N
    assert lexicon.tags[lexicon.tag_of_token[id]] == tag
