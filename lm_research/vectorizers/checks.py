"""What a vectorizer refuses: settings out of range, and ids that its vocabulary does not hold."""

from typing import get_args

import numpy as np

from lm_research.config.types import Interval


def check_setting(field: str, value: float, annotation: object) -> None:
    """Raise ``ValueError`` unless ``value`` is in the range of one of ``config.types``.

    Args:
        field: name of the setting, for the message.
        value: what was given.
        annotation: ``PositiveInt``, ``Probability``, ...
    """
    interval = get_args(annotation)[1]
    assert isinstance(interval, Interval)
    if not interval.contains(value):
        raise ValueError(f"{field} is {value!r}; it must be {interval}")


def check_choice(field: str, value: object, annotation: object) -> None:
    """Raise ``ValueError`` unless ``value`` is one of the ``Literal`` annotation's choices."""
    choices = get_args(annotation)
    if value not in choices:
        raise ValueError(f"{field} is {value!r}; it must be one of {', '.join(map(repr, choices))}")


def as_ids(document: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """The document as int64 ids_N. Raises ``ValueError`` for ids outside [0, vocabulary_size)."""
    ids_N = np.asarray(document, dtype=np.int64).reshape(-1)
    if ids_N.size and not 0 <= ids_N.min() <= ids_N.max() < vocabulary_size:
        raise ValueError(
            f"a training document holds ids from {ids_N.min()} to {ids_N.max()}, but "
            f"vocabulary_size is {vocabulary_size}: encode it with the tokenizer that the "
            "vectorizer was built for"
        )
    return ids_N
