"""Scores of written texts against references: BLEU and chrF, ROUGE, and what was copied.

BLEU (Papineni et al. 2002) and chrF2 (Popovic 2015) are sacrebleu's, with its signatures (Post
2018); ROUGE (Lin 2004) is rouge-score's F measure with stemming. All are between 0 and 100, and of
the texts as people read them, not of tokens. Chinese is cut into characters by all of them.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from lm_research.text.word_pieces import segment_words

Texts = Sequence[str]
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def translation_scores(hypotheses: Texts, references: Texts) -> tuple[dict[str, float], list[str]]:
    """``bleu``, ``chrf``, and ``length_ratio`` (hypotheses to references, in BLEU's tokens).

    Also sacrebleu's signatures of the two. BLEU's tokens are sacrebleu's 13a, or zh where most
    references hold Chinese.
    """
    bleu, chrf = bleu_of(references), _chrf()
    found = bleu.corpus_score(list(hypotheses), [list(references)])
    letters = chrf.corpus_score(list(hypotheses), [list(references)])
    ratio = found.sys_len / max(found.ref_len, 1)
    scores = {"bleu": found.score, "chrf": letters.score, "length_ratio": ratio}
    return scores, [f"BLEU {bleu.get_signature()}", f"chrF {chrf.get_signature()}"]


def bleu_of(references: Texts) -> Any:
    """sacrebleu's BLEU, with the tokens that the language of ``references`` asks for."""
    from sacrebleu.metrics.bleu import BLEU

    # A short held-out split of poor texts may have no 4-gram right; sacrebleu's default smooths.
    return BLEU(tokenize="zh" if is_chinese(references) else "13a")


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def summary_scores(hypotheses: Texts, references: Texts) -> dict[str, float]:
    """Means of rouge-score's F over the documents, times 100, by the names of ``ROUGE``."""
    scorer, found = _rouge(is_chinese(references)), Counter[str]()
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        for name, value in scorer.score(reference, hypothesis).items():
            found[name] += value.fmeasure
    return {name: 100 * found[name] / max(len(references), 1) for name in ROUGE}


@cache
def _rouge(chinese: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    if chinese:  # rouge-score's own tokens are Latin letters and digits alone
        return RougeScorer(list(ROUGE), tokenizer=_Words())
    return RougeScorer(list(ROUGE), use_stemmer=True)


class _Words:
    """What rouge-score asks of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return words_of(text.lower())


def copying_scores(hypotheses: Texts, sources: Texts) -> dict[str, float | None]:
    """How much of the texts is their sources', in words; None where there is no word.

    ``copy_rate`` is the share of words that occur in the source, ``novel_bigrams`` the share of
    pairs of neighbours that do not (See et al. 2017), and ``copied_whole`` the share of texts that
    are part of their source as they are.
    """
    words = copied = bigrams = novel = whole = 0
    for hypothesis, source in zip(hypotheses, sources, strict=True):
        of_text, of_source = words_of(hypothesis), words_of(source)
        known, pairs = set(of_source), list(pairwise(of_text))
        known_pairs = set(pairwise(of_source))
        words += len(of_text)
        copied += sum(word in known for word in of_text)
        bigrams += len(pairs)
        novel += sum(pair not in known_pairs for pair in pairs)
        whole += bool(hypothesis) and hypothesis in source
    return {
        "copy_rate": copied / words if words else None,
        "novel_bigrams": novel / bigrams if bigrams else None,
        "copied_whole": whole / len(hypotheses) if hypotheses else None,
    }


def paired_bootstrap(
    name: str, first: Texts, second: Texts, references: Texts, samples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Two-sided p and the 95 % interval of ``name`` of ``first`` minus that of ``second``.

    Documents are drawn with replacement, the same ones for both (Koehn 2004). A corpus score
    (``bleu``, ``chrf``) is computed anew of each draw from its documents' counts; ROUGE is a mean
    over documents.
    """
    draws_RD = np.random.default_rng(seed).integers(0, len(references), (samples, len(references)))
    of_first = _resampled(name, first, references, draws_RD)
    difference_R = of_first - _resampled(name, second, references, draws_RD)
    low, high = np.quantile(difference_R, [0.025, 0.975])
    beyond = min(int((difference_R <= 0).sum()), int((difference_R >= 0).sum()))
    return min(1.0, 2 * (1 + beyond) / (1 + samples)), float(low), float(high)


def _resampled(name: str, texts: Texts, references: Texts, draws_RD: np.ndarray) -> np.ndarray:
    if name in ROUGE:
        scorer = _rouge(is_chinese(references))
        pairs = zip(references, texts, strict=True)
        each_D = np.array([100 * scorer.score(r, h)[name].fmeasure for r, h in pairs])
        means_R: np.ndarray = each_D[draws_RD].mean(axis=1)
        return means_R
    metric = bleu_of(references) if name == "bleu" else _chrf()
    counts = metric._extract_corpus_statistics(list(texts), [list(references)])
    counts_DC = np.array(counts, dtype=np.int64)
    sums_RC = [counts_DC[places_D].sum(axis=0).tolist() for places_D in draws_RD]
    return np.array([metric._aggregate_and_compute([sums]).score for sums in sums_RC])


def words_of(text: str) -> list[str]:
    """Words, numbers, marks, and Chinese characters one by one, without the white space."""
    return [word for piece in segment_words(text) if (word := piece.strip())]


def is_chinese(texts: Texts) -> bool:
    """Whether most texts hold a Chinese character."""
    return 2 * sum(bool(HAN.search(text)) for text in texts) > len(texts)
