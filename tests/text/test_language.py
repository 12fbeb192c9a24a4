import pytest

from lm_research.text.language import LanguageFilter

TEXTS = {
    "en": "It was the best of times, it was the worst of times, and nobody knew what to do.",
    "de": "Der schnelle Fuchs springt über den faulen Hund, und niemand weiß, warum er es tut.",
    "fr": "Le renard brun saute par-dessus le chien, et personne ne sait pourquoi il fait cela.",
    "zh": "今天天气很好，我们一起去公园散步，看到了很多花和树，还有小朋友在踢足球，"
    "大家都非常高兴，直到天黑才回家。",
    "ja": "今日はとても天気がよかったので、みんなで公園を散歩して、"
    "たくさんの花や木を見ました。とても楽しかったです。",
    "ko": "오늘은 날씨가 아주 좋아서 우리 모두 공원에 가서 산책을 하고 "
    "꽃과 나무를 많이 보았습니다 정말 즐거웠습니다",
    "ru": "Сегодня была очень хорошая погода, и мы все вместе пошли гулять в парк.",
}


@pytest.mark.parametrize("language", ["en", "zh", "ja", "ko", "ru"])
def test_each_language_passes_its_own_filter_alone(language):
    rule = LanguageFilter(language)
    assert [code for code, text in TEXTS.items() if rule(text)] == [language]


def test_any_language_but_english_is_judged_by_its_script():
    assert [code for code, text in TEXTS.items() if LanguageFilter("de")(text)] == [
        "en",
        "de",
        "fr",
    ]


def test_a_text_with_few_letters_is_kept():
    assert LanguageFilter("zh")("Hello! 123 +++") == "Hello! 123 +++"
    assert LanguageFilter("zh", minimum_letters=0)("Hello!") is None
    assert LanguageFilter("zh", minimum_letters=0)("") == ""


def test_thresholds():
    mixed = TEXTS["zh"] + " " + TEXTS["en"]
    assert LanguageFilter("zh")(mixed) is None
    assert LanguageFilter("zh", minimum_share=0.3)(mixed) == mixed
    assert LanguageFilter("en", minimum_stop_words=0.9)(TEXTS["en"]) is None


def test_the_beginning_decides():
    text = TEXTS["en"] + TEXTS["zh"] * 10
    assert LanguageFilter("en", sample_characters=80)(text) == text
    assert LanguageFilter("en")(text) is None


def test_an_unknown_language_is_named():
    with pytest.raises(ValueError, match="language is 'xx'; known are ar, as, be"):
        LanguageFilter("xx")
