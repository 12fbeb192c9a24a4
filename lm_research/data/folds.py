"""Parts of a corpus for k-fold cross-validation, drawn by a seed."""

from collections.abc import Sequence

import numpy as np


def stratified_folds(class_N: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each text, int64: each class, the last one first, is shuffled and dealt out.

    Args:
        class_N: bool or integers.
        folds: k.
        seed: of the shuffling.

    Returns:
        Numbers within [0, k): of each class, and of all, folds differ by one text at most.
    """
    rng, fold_N = np.random.default_rng(seed), np.empty(len(class_N), dtype=np.int64)
    dealt = 0
    for own in np.unique(class_N)[::-1]:
        texts = rng.permutation(np.flatnonzero(class_N == own))
        fold_N[texts] = (np.arange(len(texts)) + dealt) % folds
        dealt += len(texts)
    return fold_N


def folds_by_label(labels: Sequence[str | None], folds: int, seed: int) -> np.ndarray:
    """:func:`stratified_folds` of documents, by label; those without one are a class as well."""
    names = ["" if label is None else label for label in labels]
    _, class_N = np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)
    return stratified_folds(class_N, folds, seed)
