"""Chinese words, as jieba cuts them."""

import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from lm_research.config.types import PositiveInt
from lm_research.text.vocabulary import VocabularyTokenizer

# jieba's time and memory grow with the square of a run that no punctuation interrupts.
_LONGEST_RUN = 256
_RUN_CLASS = r"\u4e00-\u9fd5a-zA-Z0-9+#&._%\-"
_LONG_RUN = re.compile(rf"(?<![{_RUN_CLASS}])[{_RUN_CLASS}]{{{_LONGEST_RUN + 1}}}")
_SLICE = re.compile(rf"[{_RUN_CLASS}]{{1,{_LONGEST_RUN}}}|[^{_RUN_CLASS}]+")


@lru_cache(maxsize=1)
def jieba_tokenizer() -> Any:
    """jieba's tokenizer with its own dictionary, read anew: about 0.7 s, once a process.

    jieba would keep the parsed dictionary in a file of the system's temporary folder, which every
    user and process shares, and write about it on stderr. This instance uses no such file and
    leaves ``jieba.dt``, and words that a program may have added there, alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in its source, pkg_resources
        import jieba
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer


def slices(text: str) -> list[str]:
    """The text whole, or cut within runs of more than 256 characters without punctuation."""
    return _SLICE.findall(text) if _LONG_RUN.search(text) else [text]


class ChineseWordTokenizer(VocabularyTokenizer):
    """Words by jieba (its accurate mode); other scripts come as letter runs and single characters.

    The pieces concatenate to the text. Unknown words are spelled, so that bits per byte stay
    defined.

    Args:
        vocabulary_size: most ids there may be, separator and unknown included.
        minimum_count: occurrences that a word of the vocabulary needs in the training text; with
            2 or more, the training text itself has unknown words to learn from.
        new_words: let jieba's hidden Markov model join characters into words that its dictionary
            does not have.
    """

    def __init__(
        self,
        vocabulary_size: PositiveInt,
        minimum_count: PositiveInt = 1,
        new_words: bool = True,
    ) -> None:
        super().__init__(vocabulary_size, minimum_count)
        self.new_words = new_words

    def segment(self, text: str) -> Sequence[str]:
        """Words of the text."""
        cut = jieba_tokenizer().cut
        return [word for part in slices(text) for word in cut(part, HMM=self.new_words)]
