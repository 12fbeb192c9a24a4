"""What the processes of a data-parallel run decide together."""

import pytorch_lightning as pl


def in_any_process(trainer: pl.Trainer, one: bool) -> bool:
    """Whether ``one`` holds in any process; all of them have to do the same."""
    if trainer.world_size == 1:
        return one
    return trainer.strategy.reduce_boolean_decision(one, all=False)
