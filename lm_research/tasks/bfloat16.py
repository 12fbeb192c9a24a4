"""Products in bfloat16 over weights in float32 (``trainer.precision=bf16-mixed``).

Lightning's plug-in for mixed precision refuses to clip gradients for a fused optimizer, as the
scaler of float16 does not allow it. bfloat16 has float32's range and needs no scaler.
"""

import pytorch_lightning as pl
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from torch.optim import Optimizer


class Bfloat16(MixedPrecision):
    """Autocast to bfloat16, and clipping for any optimizer.

    Args:
        device: type of the device, as torch.autocast names it.
    """

    def __init__(self, device: str) -> None:
        super().__init__("bf16-mixed", device)

    def clip_gradients(self, optimizer: Optimizer, *args: object, **options: object) -> None:
        """As in full precision: gradients are not scaled."""
        Precision.clip_gradients(self, optimizer, *args, **options)  # type: ignore[arg-type]


def use_bfloat16(trainer: pl.Trainer) -> None:
    """Put :class:`Bfloat16` in the place of Lightning's own, where the trainer has that."""
    plugin = trainer.precision_plugin
    if type(plugin) is MixedPrecision and plugin.precision == "bf16-mixed":
        trainer.strategy.precision_plugin = Bfloat16(plugin.device)
