import pytest

from lm_research.text.cleaning import Drop
from lm_research.text.word_list import WordList


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("# a comment\ndarn\nvery bad word\n\n坏人\n", encoding="utf-8")
    return str(file)


def test_whole_words_and_phrases_in_any_case(path):
    rule = WordList(path)
    for text in ("Oh DARN it", "a Very  bad word!".replace("  ", " "), "他是坏人吗"):
        assert rule(text) == Drop("listed words")
    for text in ("darning socks", "very bad", "a bad word", "坏的人", ""):
        assert rule(text) == text


def test_masks(path):
    rule = WordList(path, action="mask", replacement="*")
    assert rule("Darn, a very bad word (darn) 他是坏人吗") == "*, a * (*) 他是*吗"


def test_a_share_may_be_allowed(path):
    ten = "darn " + "good " * 9
    assert WordList(path, max_share=0.1)(ten) == ten
    assert WordList(path, max_share=0.09)(ten) == Drop("listed words")
    assert WordList(path, action="mask", max_share=0.1)(ten) == ten


def test_the_signature_is_the_files(path, tmp_path):
    first = WordList(path).signature()
    (tmp_path / "words.txt").write_text("other", encoding="utf-8")
    assert WordList(path).signature() != first


def test_a_missing_or_empty_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"path=nowhere\.txt cannot be read"):
        WordList("nowhere.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no word"):
        WordList(str(tmp_path / "empty.txt"))
