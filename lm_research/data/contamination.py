"""Which held-out documents of a run share text with its training split.

A document is contaminated if it has a run of 13 units in common with any training document, or is
equal to one as short (Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C, who
take 13 words; units are those of ``text.units``). Nothing is removed by it: scores are reported on
the clean documents beside those on all.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from lm_research.data.ngrams import EvaluationSide, gathered
from lm_research.data.token_store import TokenSplit, TokenStore

UNITS = 13


def contaminated(held: TokenSplit, trained_on: TokenStore, n: int = UNITS) -> np.ndarray | None:
    """bool, one per document of ``held``: whether it shares n units with the training split.

    The answer lies beside the token store of ``held``, under the digest of the training text, so
    that it is found once. None where a store does not hold its documents' units.
    """
    train = trained_on.split("train")
    digest = trained_on.meta["splits"]["train"]["text_sha256"]
    if digest is None or (held.lengths_D < 0).any() or (train.lengths_D < 0).any():
        return None
    file = held.folder / f"{held.name}.shared-{n}.{digest[:20]}.npy"
    known = _kept(file, len(held.documents))
    if known is not None:
        return known
    side = EvaluationSide(_documents(held))
    found_D = side.documents_sharing(gathered(_documents(train)), n)
    _keep(file, found_D)
    return found_D


def _documents(split: TokenSplit) -> "map[np.ndarray]":
    ends_D = np.cumsum(split.lengths_D)
    return map(lambda end, length: split.units_N[end - length : end], ends_D, split.lengths_D)


def _kept(file: Path, documents: int) -> np.ndarray | None:
    with suppress(OSError, ValueError, EOFError):
        found_D = np.load(file, allow_pickle=False)
        if found_D.dtype == bool and found_D.shape == (documents,):
            return np.asarray(found_D)
    return None


def _keep(file: Path, found_D: np.ndarray) -> None:
    """Whole or not at all; a cache that cannot be written costs a second search."""
    beside = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        with suppress(OSError):
            with beside.open("wb") as opened:
                np.save(opened, found_D)
            os.replace(beside, file)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
