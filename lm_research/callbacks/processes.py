"""What the processes of a data-parallel run decide together, and that one of them hangs."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl


class LateProcessError(Exception):
    """Another process of the run did not answer in time."""


@contextmanager
def telling_of_late(patience_s: float) -> Iterator[None]:
    """gloo has words for having waited in vain, and no class.

    Raises:
        LateProcessError: in place of its error.
    """
    try:
        yield
    except RuntimeError as error:
        if "Timed out waiting" not in str(error):
            raise
        raise LateProcessError(
            f"another process of the run did not answer for {patience_s:g} s (process_timeout): it "
            "hangs, or its machine does. The same command goes on from the last checkpoint."
        ) from error


def in_any_process(trainer: pl.Trainer, one: bool) -> bool:
    """Whether ``one`` holds in any process; all of them have to do the same."""
    if trainer.world_size == 1:
        return one
    return trainer.strategy.reduce_boolean_decision(one, all=False)
