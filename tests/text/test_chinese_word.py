import jieba
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.chinese_word import ChineseWordTokenizer, jieba_tokenizer, slices

TEXT = "今天天气很好，我们去北京大学看樱花。小明说：“iPhone 15 Pro卖5,999元！”\r\n  C++和%都在。"
MIXED = st.text(alphabet="今天气很好我们去北京大学，。aZ09+#&._%- \r\n\t\u3000😀éカ")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """jieba as its users call it, its cache file put aside."""
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(tmp_path_factory.mktemp("jieba"))
    jieba.setLogLevel("ERROR")
    return tokenizer


@pytest.mark.parametrize("new_words", [True, False])
def test_words_are_those_of_jieba(reference, new_words):
    tokenizer = ChineseWordTokenizer(1000, new_words=new_words)
    assert tokenizer.segment(TEXT) == reference.lcut(TEXT, HMM=new_words)


@given(st.one_of(st.text(), MIXED))
def test_the_pieces_are_the_text(text):
    assert "".join(ChineseWordTokenizer(1000).segment(text)) == text


def test_only_long_runs_are_sliced():
    line = "我" * 256
    assert slices(f"{line}，{line}") == [f"{line}，{line}"]
    text = f"{line}们，a" + "b" * 700
    assert max(map(len, slices(text))) == 256
    assert "".join(slices(text)) == text


def test_round_trip_and_unknown_words():
    tokenizer = ChineseWordTokenizer(1000)
    tokenizer.train([TEXT])
    ids_N, nats = tokenizer.encode(TEXT)
    assert tokenizer.decode(ids_N) == TEXT
    assert nats == 0.0
    assert tokenizer.encode("企鹅").spelling_nats == tokenizer.spelling.nats("企鹅") > 0


def test_no_cache_file_is_touched_and_the_global_tokenizer_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = jieba.dt.initialized
    jieba_tokenizer.cache_clear()
    ChineseWordTokenizer(1000).segment(TEXT)
    assert list(tmp_path.iterdir()) == []
    assert jieba.dt.initialized == before
