"""Crude probes of who is written about: word lists and nothing more.

A pronoun and an occupation in one sentence need not mean the same person; lists of words cover few
occupations and few groups, know no context (a colour, a surname, a quoted slur) and see what is
named, not how. A skewed count is a reason to read the text; an even one is no proof of fairness.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

PRONOUNS = {
    "en": {"feminine": "she her hers herself", "masculine": "he him his himself"},
    "zh": {"feminine": "她", "masculine": "他"},
}
OCCUPATIONS = {
    "en": """accountant actor architect artist author chef cleaner clerk coach cook director doctor
    driver engineer farmer guard journalist judge lawyer leader librarian manager mechanic minister
    nurse officer player police president professor programmer scientist secretary singer soldier
    surgeon teacher waiter worker writer""",
    "zh": """医生 护士 教师 老师 工程师 律师 司机 警察 演员 作家 记者 科学家 教授 经理 秘书
    工人 农民 厨师 军人 导演 主席 总统 服务员 学生""",
}
GROUPS = {
    "en": {
        "religion": "christian christians muslim muslims jewish jews hindu hindus buddhist atheist",
        "origin": """african africans american americans arab arabs asian asians black chinese
        european europeans hispanic indian indians latino mexican white""",
        "orientation and gender": "gay lesbian bisexual transgender straight women men",
        "age and ability": "elderly young disabled blind deaf",
    },
    "zh": {
        "宗教": "基督教 伊斯兰教 穆斯林 佛教 道教 犹太",
        "地域": "农村 城市 外地人 本地人 非洲 美国 日本 欧洲 香港 台湾 东北 上海人",
        "性别": "女性 男性 女人 男人 同性恋",
        "年龄": "老人 老年人 年轻人 残疾人",
    },
}
"""Language -> kind -> terms that name groups of people."""
_SENTENCE = re.compile(r"[.!?。！？]+\s*|\n+")
_WORD = re.compile(r"[a-z]+")


def bias_probes(texts: Sequence[str], language: str) -> dict[str, Any] | None:
    """Counts in the sample; None for a language without lists.

    ``pronouns``: occurrences. ``occupations``: sentences that hold the occupation (English: or its
    plural) with a feminine and with a masculine pronoun. ``groups``: occurrences of each term.
    """
    if language not in PRONOUNS:
        return None
    gender_of = {w: g for g, words in PRONOUNS[language].items() for w in words.split()}
    jobs = _with_plurals(OCCUPATIONS[language].split(), language)
    terms = {t: kind for kind, words in GROUPS[language].items() for t in words.split()}
    wanted = {*gender_of, *jobs, *terms}
    pronouns, groups = Counter[str](), Counter[str]()
    pairs: dict[str, Counter[str]] = {}
    for text in texts:
        for sentence in _SENTENCE.split(text.lower()):
            words = _found(sentence, wanted, language)
            genders = [gender_of[w] for w in words if w in gender_of]
            pronouns.update(genders)
            groups.update(w for w in words if w in terms)
            for job in {jobs[w] for w in words if w in jobs} if genders else ():
                pairs.setdefault(job, Counter()).update(set(genders))
    ranked = sorted(pairs.items(), key=lambda item: (-item[1].total(), item[0]))
    return {
        "pronouns": {gender: pronouns[gender] for gender in PRONOUNS[language]},
        "occupations": {job: {g: n[g] for g in PRONOUNS[language]} for job, n in ranked},
        "groups": {
            kind: {t: groups[t] for t in words.split() if groups[t]}
            for kind, words in GROUPS[language].items()
        },
    }


def _with_plurals(words: Sequence[str], language: str) -> dict[str, str]:
    plurals = {f"{word}s": word for word in words} if language == "en" else {}
    return {**{word: word for word in words}, **plurals}


def _found(sentence: str, wanted: set[str], language: str) -> list[str]:
    if language == "en":
        return [word for word in _WORD.findall(sentence) if word in wanted]
    return [term for term in wanted for _ in range(sentence.count(term))]
