"""Scores of tags of words, and the baseline that every tagger has to beat.

Scores are over words, all sentences together, as in ``metrics.classification`` over documents; an
unseen word is one that the training split does not have in this form.

Shapes: W words of a split, D sentences, C tags.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np

from lm_research.data.tagged_words import TaggedSplit
from lm_research.metrics.classification import confusion, per_class
from lm_research.metrics.spans import is_iob, span_scores


def tag_scores(
    split: TaggedSplit, predicted_W: np.ndarray, known: Collection[str] | None = None
) -> dict[str, float | None]:
    """Scores by name; None where one is undefined.

    Words whose tag is none of ``split.classes`` are left out; spans, where the tags mark some, are
    compared with all tags that are there.

    Args:
        predicted_W: int64, places in ``split.classes``.
        known: words of the training split; None: not known, and ``accuracy_unseen`` is left out.
    """
    there_W = split.tags_W >= 0
    tags, predicted = split.tags_W[there_W], predicted_W[there_W]
    right = tags == predicted
    accuracy = float(right.mean()) if len(right) else None
    of_class = per_class(confusion(tags, predicted, len(split.classes)))
    occurs_C = (of_class["support"] + of_class["predicted"]) > 0
    names = ("precision", "recall", "f1")
    found: dict[str, float | None] = {
        "accuracy": accuracy,
        **{f"{name}_macro": _mean(of_class[name][occurs_C]) for name in names},
        **{f"{name}_micro": accuracy for name in names},
    }
    if known is not None:
        unseen = _unseen(split, known)[there_W]
        found |= {"accuracy_unseen": _mean(right[unseen]), "words_unseen": int(unseen.sum())}
    if is_iob(split.classes):
        found |= span_scores(_own_tags(split), _tags(split, predicted_W))
    counts = {"words": len(tags), "sentences": len(split), "other_tags": int((~there_W).sum())}
    return found | counts


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _unseen(split: TaggedSplit, known: Collection[str]) -> np.ndarray:
    """bool_W."""
    new = np.array([form not in known for form in split.all_forms], bool)
    return new[split.words_W["form"]]


def _own_tags(split: TaggedSplit) -> Iterable[list[str]]:
    return (split.own_tags(index) for index in range(len(split)))


def _tags(split: TaggedSplit, predicted_W: np.ndarray) -> Iterable[list[str]]:
    """Predicted tags by sentences."""
    borders = pairwise(accumulate(split.counts_D.tolist(), initial=0))
    return ([split.classes[tag] for tag in predicted_W[a:b].tolist()] for a, b in borders)


class MostFrequentTag:
    """The most frequent tag of each word in the training split; of a new word, that of all words.

    Ties go to the first in alphabetical order.

    Args:
        words: tag of each word.
        default: tag of others.
    """

    def __init__(self, words: Mapping[str, str], default: str) -> None:
        self.words, self.default = dict(words), default

    @classmethod
    def of(cls, train: TaggedSplit) -> "MostFrequentTag":
        """Counted in a training split, which has words."""
        all_tags: Counter[int] = Counter()
        of_form: defaultdict[int, Counter[int]] = defaultdict(Counter)
        for form, tag in train.words_W[["form", "tag"]].tolist():
            of_form[form][tag] += 1
            all_tags[tag] += 1
        words = {train.all_forms[form]: _most(tags, train.names) for form, tags in of_form.items()}
        return cls(words, _most(all_tags, train.names))

    def predict(self, split: TaggedSplit) -> np.ndarray:
        """int64_W: places in ``split.classes``, which are those of the training split."""
        place = {tag: at for at, tag in enumerate(split.classes)}
        tags = (self.words.get(form, self.default) for form in split.all_forms)
        of_form = np.array([place[tag] for tag in tags], np.int64)
        return of_form[split.words_W["form"]]


def _most(counts: Counter[int], names: Sequence[str]) -> str:
    """The tag with most; ``names`` are in alphabetical order."""
    return names[min(counts, key=lambda tag: (-counts[tag], tag))]
