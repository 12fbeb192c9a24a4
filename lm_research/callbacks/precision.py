"""Weights in the trainer's precision before anything else looks at them."""

import pytorch_lightning as pl


class Precision(pl.Callback):
    """Converts the module first of all.

    Lightning restores a checkpoint before it converts the module, so that float64 weights would
    pass through float32 and a resumed run of ``trainer.precision=64-true`` lose half their bits;
    and an average made before would be of another type than the weights.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Convert in place."""
        trainer.precision_plugin.convert_module(pl_module)
