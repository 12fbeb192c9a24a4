"""Equal and nearly equal texts, within and between groups of documents (splits, sources).

Equal texts are found among all documents, by 64-bit hashes. Nearly equal ones are found in a
sample: the Jaccard similarity of their sets of shingles (runs of 5 units, see ``text.units``) is at
least a threshold. MinHash with banding (Broder 1997; Leskovec et al., Mining of Massive Datasets,
ch. 3) by rensa gives the candidates, and each candidate's similarity is then computed exactly:
what is reported holds, and a pair of similarity s is found with the probability
1 - (1 - s^ROWS)^BANDS: 0.9995 at 0.8.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from lm_research.data.ngrams import windows
from lm_research.text.units import unit_hashes

SHINGLE = 5
BANDS, ROWS = 25, 6
MOST_CANDIDATES = 100
"""Candidates of one text that are compared, those of the most similar sketches: boilerplate must
not make the search quadratic."""


@dataclass(frozen=True)
class Equal:
    """Texts that two groups share; or, of one group with itself, texts that it repeats.

    Attributes:
        texts: different texts.
        first, second: documents of each group that have one of them; of a group with itself those
            beyond each text's first.
        digests: of some of the texts.
    """

    texts: int
    first: int
    second: int
    digests: tuple[int, ...]


def equal_texts(
    hashes_D: np.ndarray, groups_D: np.ndarray, groups: int, examples: int = 3
) -> dict[tuple[int, int], Equal]:
    """Pairs of groups (i <= j) -> what they share; pairs that share nothing are left out."""
    counts_UG = _by_text(hashes_D, groups_D, groups)
    texts_U = np.unique(hashes_D)
    found = {}
    for i, j in combinations_with_replacement(range(groups), 2):
        a, b = counts_UG[:, i], counts_UG[:, j]
        shared = (a > 1) if i == j else (a > 0) & (b > 0)
        if not shared.any():
            continue
        less = int(shared.sum()) if i == j else 0
        first, second = int(a[shared].sum()) - less, int(b[shared].sum()) - less
        some = tuple(int(h) for h in texts_U[shared][:examples])
        found[i, j] = Equal(int(shared.sum()), first, second, some)
    return found


def _by_text(hashes_D: np.ndarray, groups_D: np.ndarray, groups: int) -> np.ndarray:
    texts_U, index_D = np.unique(hashes_D, return_inverse=True)
    cells = index_D.astype(np.int64) * groups + groups_D
    return np.bincount(cells, minlength=len(texts_U) * groups).reshape(-1, groups)


@dataclass(frozen=True)
class Near:
    """Two nearly equal texts: their places in the list, and their similarity."""

    first: int
    second: int
    jaccard: float


def near_duplicates(
    texts: Sequence[str],
    threshold: float = 0.8,
    seed: int = 1,
    progress: Callable[[], None] = lambda: None,
) -> list[Near]:
    """Pairs of texts whose sets of shingles have a Jaccard similarity of at least ``threshold``.

    Texts without a unit are in no pair. ``progress`` is called once a text.
    """
    import rensa

    # The threshold is rensa's own second look, which only its ``is_similar`` takes.
    index = rensa.RMinHashLSH(threshold, BANDS * ROWS, BANDS)
    sketches: dict[int, Any] = {}
    sets: list[np.ndarray] = []
    found = []
    for number, text in enumerate(texts):
        shingles_S = _shingles(text)
        sets.append(shingles_S)
        progress()
        if not len(shingles_S):
            continue
        sketch = rensa.RMinHash(BANDS * ROWS, seed)
        sketch.update(shingles_S.view("V8").tolist())
        for other in _most_similar(index.query(sketch), sketch, sketches):
            jaccard = _jaccard(sets[other], shingles_S)
            if jaccard >= threshold:
                found.append(Near(other, number, jaccard))
        index.insert(number, sketch)
        sketches[number] = sketch
    return found


def _most_similar(candidates: Sequence[int], sketch: Any, sketches: dict[int, Any]) -> list[int]:
    ordered = sorted(set(candidates))
    if len(ordered) > MOST_CANDIDATES:
        ordered.sort(key=lambda other: sketches[other].jaccard(sketch), reverse=True)
    return sorted(ordered[:MOST_CANDIDATES])


def _shingles(text: str) -> np.ndarray:
    """Hashes (uint64, sorted) of the different runs of 5 units; of a shorter text, of itself."""
    units_N = unit_hashes(text)
    return np.unique(windows(units_N, np.array([len(units_N)]), SHINGLE).hashes_N)


def _jaccard(first: np.ndarray, second: np.ndarray) -> float:
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / (len(first) + len(second) - both)


def near_counts(
    pairs: Sequence[Near], group_of: Sequence[int]
) -> dict[tuple[int, int], tuple[int, int, list[Near]]]:
    """Pairs of groups (i <= j) -> texts of i and of j that are nearly equal to one of the other,
    and the pairs."""
    held: dict[tuple[int, int], list[Near]] = defaultdict(list)
    for pair in pairs:
        i, j = sorted((group_of[pair.first], group_of[pair.second]))
        held[i, j].append(pair)
    counted = {}
    for (i, j), those in held.items():
        sides: dict[int, set[int]] = {i: set(), j: set()}
        for pair in those:
            for place in (pair.first, pair.second):
                sides[group_of[place]].add(place)
        counted[i, j] = (len(sides[i]), len(sides[j]), those)
    return counted
