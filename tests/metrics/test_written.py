"""BLEU and chrF against sacrebleu's functions and by hand, ROUGE against rouge-score's, copying."""

import math
import random

import pytest
import sacrebleu
from rouge_score import rouge_scorer
from sacrebleu.significance import PairedTest

from lm_research.metrics.written import (
    copying_scores,
    is_chinese,
    paired_bootstrap,
    summary_scores,
    translation_scores,
    words_of,
)

HYPOTHESES = ["The cat sat on a mat.", "Dogs bark loudly, at night!", "", "it is 3.5 %"]
REFERENCES = ["The cat sat on the mat.", "The dogs bark at night.", "Nothing here.", "it is 3.5 %"]


def test_translations_are_scored_as_sacrebleu_scores_them():
    scores, signatures = translation_scores(HYPOTHESES, REFERENCES)
    assert scores["bleu"] == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert scores["chrf"] == sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score
    assert signatures[0].startswith("BLEU nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert signatures[1].startswith("chrF nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")


def test_bleu_by_hand():
    # 6 tokens each: 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 quadruples; equal lengths
    scores, _ = translation_scores(["a b c d x f"], ["a b c d e f"])
    expected = 100 * math.exp(sum(map(math.log, (5 / 6, 3 / 5, 2 / 4, 1 / 3))) / 4)
    assert scores["bleu"] == pytest.approx(expected)
    assert scores["length_ratio"] == 1.0
    # half as long: the brevity penalty is exp(1 - 12/6)
    short, _ = translation_scores(["a b c d e f"], ["a b c d e f g h i j k l"])
    assert short["bleu"] == pytest.approx(100 * math.exp(-1))


def test_chinese_is_cut_into_characters():
    hypotheses, references = ["今天天气很好", "我喜欢读书"], ["今天天气不错", "我爱读书"]
    scores, signatures = translation_scores(hypotheses, references)
    assert "tok:zh" in signatures[0]
    assert scores["bleu"] == sacrebleu.corpus_bleu(hypotheses, [references], tokenize="zh").score
    # 4 of 6 and 4 of 6 characters; 3 of 5 and 3 of 4
    rouge = summary_scores(hypotheses, references)
    assert rouge["rouge1"] == pytest.approx(100 * (4 / 6 + 2 * 3 / (5 + 4)) / 2)
    assert is_chinese(references)
    assert not is_chinese(REFERENCES)


def test_summaries_are_scored_as_rouge_score_scores_them():
    names = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(names, use_stemmer=True)
    found = summary_scores(HYPOTHESES, REFERENCES)
    for name in names:
        each = [
            scorer.score(r, h)[name].fmeasure for h, r in zip(HYPOTHESES, REFERENCES, strict=True)
        ]
        assert found[name] == pytest.approx(100 * sum(each) / 4)
    # by hand: "the cat sat on a mat" and "the cat sat on the mat" share 5 of 6 words in order
    alone = summary_scores(HYPOTHESES[:1], REFERENCES[:1])
    assert alone["rougeL"] == pytest.approx(100 * 5 / 6)


def test_what_was_copied_is_counted_in_words():
    sources = ["The cat sat on the mat.", "nothing"]
    assert words_of("The cat, sat.") == ["The", "cat", ",", "sat", "."]
    scores = copying_scores(["cat sat here", "The cat sat"], [sources[0]] * 2)
    assert scores["copy_rate"] == 5 / 6
    assert scores["novel_bigrams"] == 1 / 4
    assert scores["copied_whole"] == 1 / 2
    two = copying_scores(["The cat", "on the mat", "a dog"], [sources[0]] * 3)
    assert two["copied_whole"] == 2 / 3
    assert copying_scores([], [])["copied_whole"] is None
    nothing = copying_scores(["", ""], sources)
    assert nothing["copy_rate"] is None
    assert nothing["novel_bigrams"] is None
    assert nothing["copied_whole"] == 0.0


@pytest.mark.parametrize("name", ["bleu", "chrf", "rougeL"])
def test_a_paired_bootstrap_tells_systems_apart_and_equal_ones_not(name):
    draw = random.Random(0)
    words = [f"word{i}" for i in range(50)]

    def spoiled(text, rate):
        return " ".join(draw.choice(words) if draw.random() < rate else w for w in text.split())

    references = [" ".join(draw.choices(words, k=draw.randint(5, 15))) for _ in range(80)]
    good = [spoiled(text, 0.2) for text in references]
    bad = [spoiled(text, 0.4) for text in references]

    def score(texts):
        if name == "rougeL":
            return summary_scores(texts, references)[name]
        return translation_scores(texts, references)[0][name]

    p, low, high = paired_bootstrap(name, good, bad, references)
    assert low < score(good) - score(bad) < high
    assert low > 0
    assert p == 2 / 1001  # not one of a thousand draws says otherwise
    assert paired_bootstrap(name, good, list(good), references) == (1.0, 0.0, 0.0)
    turned = paired_bootstrap(name, bad, good, references)
    assert turned[1:] == pytest.approx((-high, -low))


@pytest.mark.parametrize("better", [0, 1])
def test_a_paired_bootstrap_over_two_documents_by_hand(better):
    """One document is better, the other equal: a draw of both misses the first by 1/4."""
    references = ["one two three four", "five six seven eight"]
    worse = list(references)
    worse[better] = "nothing of this"
    p, low, high = paired_bootstrap("rougeL", references, worse, references, samples=4000)
    assert p == pytest.approx(2 * 1 / 4, abs=0.03)
    assert (low, high) == (0, 100)
    whole, _, _ = paired_bootstrap("rougeL", references, ["x", "y"], references, samples=99)
    assert whole == 2 / 100


def test_the_bootstrap_of_bleu_agrees_with_sacrebleus_own():
    draw = random.Random(1)
    references = [f"{i} the quick brown fox jumps over the lazy dog {i * i}" for i in range(60)]
    texts = {
        name: [r.replace("brown", "grey") if draw.random() < rate else r for r in references]
        for name, rate in (("base", 0.5), ("other", 0.4))
    }
    test = PairedTest(
        list(texts.items()),
        {"BLEU": sacrebleu.BLEU()},
        [references],
        n_samples=2000,
        test_type="bs",
    )
    theirs = test()[1]["BLEU"][1].p_value
    ours = paired_bootstrap("bleu", texts["other"], texts["base"], references, samples=2000)[0]
    assert ours == pytest.approx(theirs, abs=0.05)
