"""Spans against hand-worked examples and seqeval, scores of words against scikit-learn."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from lm_research.data.tagged_words import WORD
from lm_research.metrics.spans import is_iob, span_scores, spans
from lm_research.metrics.tagging import MostFrequentTag, tag_scores

TAGS = ["B-NP", "B-VP", "I-NP", "I-VP", "O"]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-NP I-NP O B-VP", [(0, 2, "NP"), (3, 4, "VP")]),
        ("B-NP B-NP I-NP", [(0, 1, "NP"), (1, 3, "NP")]),
        ("I-NP I-NP O", [(0, 2, "NP")]),  # no beginning: conlleval begins a span
        ("B-NP I-VP I-VP", [(0, 1, "NP"), (1, 3, "VP")]),
        ("O I-NP B-NP", [(1, 2, "NP"), (2, 3, "NP")]),
        ("B-A-B I-A-B I-A", [(0, 2, "A-B"), (2, 3, "A")]),
    ],
)
def test_spans_by_hand(tags, expected):
    assert spans(tags.split()) == expected


def test_scores_of_spans_by_hand():
    true = "B-NP I-NP O B-VP", "B-NP O", "O"
    said = "B-NP I-NP O B-NP", "B-NP I-NP", "B-VP"
    assert span_scores(map(str.split, true), map(str.split, said)) == {
        "precision_span": 1 / 4,  # right: the first noun phrase; its kind, its end, nothing there
        "recall_span": 1 / 3,
        "f1_span": 2 / 7,
    }
    assert span_scores([["O"]], [["O"]])["f1_span"] == 0
    one = span_scores([["B-NP"]], [["B-NP"]])
    assert one == {"precision_span": 1.0, "recall_span": 1.0, "f1_span": 1.0}


def test_scores_of_spans_are_those_of_seqeval():
    from seqeval.metrics import f1_score, precision_score, recall_score

    rng = random.Random(0)
    for _ in range(200):
        lengths = [rng.randint(1, 12) for _ in range(4)]
        true, said = ([rng.choices(TAGS, k=n) for n in lengths] for _ in range(2))
        found = span_scores(true, said)
        for name, score in (
            ("precision", precision_score),
            ("recall", recall_score),
            ("f1", f1_score),
        ):
            expected = score(true, said, zero_division=0)
            assert found[f"{name}_span"] == pytest.approx(expected), (true, said)


def test_which_tags_mark_spans():
    assert is_iob(TAGS)
    assert not is_iob(["O", "NOUN"])
    assert not is_iob(["O", "I-NP"])
    assert not is_iob(["O"])


class Split(SimpleNamespace):
    def __len__(self):
        return len(self.counts_D)


def made(sentences, classes, names=None):
    """What scores read of a split; a sentence is words as "form/tag"."""
    pairs = [[token.rsplit("/", 1) for token in sentence.split()] for sentence in sentences]
    names = names or classes
    forms = sorted({form for sentence in pairs for form, _ in sentence})
    words = [pair for sentence in pairs for pair in sentence]
    place = {tag: at for at, tag in enumerate(classes)}
    tags = [[tag for _, tag in sentence] for sentence in pairs]
    return Split(
        classes=classes,
        names=names,
        all_forms=forms,
        words_W=np.array([(forms.index(f), names.index(t), 1) for f, t in words], WORD),
        tags_W=np.array([place.get(tag, -1) for _, tag in words]),
        counts_D=np.array([len(sentence) for sentence in pairs]),
        own_tags=tags.__getitem__,
    )


def test_scores_of_words_are_scikit_learns():
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    rng = np.random.default_rng(0)
    tags = rng.integers(0, 4, 60)  # the last of five never occurs
    classes = list("ABCDE")
    split = made([" ".join(f"w{i}/{classes[t]}" for i, t in enumerate(tags))], classes)
    predicted = rng.integers(0, 4, 60)
    found = tag_scores(split, predicted, {f"w{i}" for i in range(50)})
    assert found["accuracy"] == accuracy_score(tags, predicted)
    for average in ("macro", "micro"):
        values = precision_recall_fscore_support(tags, predicted, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), values, strict=False):
            assert found[f"{name}_{average}"] == pytest.approx(value)
    assert found["accuracy_unseen"] == accuracy_score(tags[50:], predicted[50:])
    assert found["words_unseen"] == 10
    assert "f1_span" not in found


def test_words_of_other_tags_are_left_out_and_spans_are_of_all():
    classes, names = ["B-NP", "I-NP", "O"], ["B-NP", "B-VP", "I-NP", "O"]
    split = made(["a/B-NP b/I-NP", "c/B-VP d/O"], classes, names)
    found = tag_scores(split, np.array([0, 1, 2, 0]))
    assert (found["words"], found["other_tags"], found["accuracy"]) == (3, 1, 2 / 3)
    assert found["recall_span"] == found["precision_span"] == 1 / 2
    assert "accuracy_unseen" not in found
    assert tag_scores(split, np.array([0, 1, 2, 0]), "abcd")["accuracy_unseen"] is None


def test_the_baseline_is_the_most_frequent_tag_of_each_word():
    train = made(["a/X a/Y a/Y b/X", "c/Z c/X d/X"], ["X", "Y", "Z"])
    baseline = MostFrequentTag.of(train)
    assert baseline.words == {"a": "Y", "b": "X", "c": "X", "d": "X"}  # a tie: the first
    assert baseline.default == "X"
    held = made(["new/Z a/Y c/Z"], ["X", "Y", "Z"])
    assert baseline.predict(held).tolist() == [0, 1, 0]
