"""Chinese parts of speech by jieba."""

import unicodedata
import warnings
from functools import lru_cache
from typing import Any

from lm_research.text.chinese_word import jieba_tokenizer, slices
from lm_research.text.tags import NO_TAG, Tagger

# jieba's flags are those of the ICTCLAS tag set, the first letter being the word class.
_UPOS_OF_FLAG = {
    "ad": "ADV", "an": "NOUN", "nr": "PROPN", "nrfg": "PROPN", "nrt": "PROPN", "ns": "PROPN",
    "nt": "PROPN", "nz": "PROPN", "ug": "AUX", "ul": "AUX", "uz": "AUX", "vd": "ADV", "vn": "NOUN",
    "eng": "X",
}  # fmt: skip
_UPOS_OF_CLASS = {
    "a": "ADJ", "b": "ADJ", "c": "CCONJ", "d": "ADV", "e": "INTJ", "f": "ADP", "g": "NOUN",
    "h": "PART", "i": "VERB", "j": "NOUN", "k": "PART", "l": "VERB", "m": "NUM", "n": "NOUN",
    "o": "INTJ", "p": "ADP", "q": "NOUN", "r": "PRON", "s": "NOUN", "t": "NOUN", "u": "PART",
    "v": "VERB", "w": "PUNCT", "y": "PART", "z": "ADJ",
}  # fmt: skip

# Words whose class Universal Dependencies sets apart: copula and modal verbs, units of time.
_UPOS_OF_WORD = dict.fromkeys(["是", "会", "能", "可以", "可能", "应该", "能够", "必须"], "AUX")
_UPOS_OF_WORD |= dict.fromkeys(["年", "月", "日", "个"], "NOUN")


@lru_cache(maxsize=1)
def _pos_tokenizer() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in its source
        from jieba.posseg import POSTokenizer
    return POSTokenizer(jieba_tokenizer())


class ChineseTagger(Tagger):
    """Words and tags by jieba.posseg (dictionary and hidden Markov model), mapped to UPOS.

    The mapping is by word class but for the copula, modal verbs and units of time, so that what
    Universal Dependencies settles by syntax differs: a demonstrative is always PRON here, a
    conjunction CCONJ, 的 PART.
    """

    def tag(self, text: str) -> list[tuple[str, str]]:
        """Words of the text, as jieba cuts them for tagging, and their UPOS tags."""
        cut = _pos_tokenizer().cut
        return [(p.word, _upos(p.word, p.flag)) for part in slices(text) for p in cut(part)]


def _upos(word: str, flag: str) -> str:
    if word in _UPOS_OF_WORD:
        return _UPOS_OF_WORD[word]
    if flag == "x":  # neither in the dictionary nor recognised: mostly punctuation
        category = unicodedata.category(word[0])[0]
        return {"P": "PUNCT", "S": "SYM", "Z": NO_TAG, "C": NO_TAG}.get(category, "X")
    return _UPOS_OF_FLAG.get(flag) or _UPOS_OF_CLASS.get(flag[0], "X")
