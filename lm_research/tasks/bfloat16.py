"""Products in bfloat16 over weights in float32 (``trainer.precision=bf16-mixed``).

Lightning's plug-in for mixed precision refuses to clip gradients for a fused optimizer, as the
scaler of float16 does not allow it. bfloat16 has float32's range and needs no scaler.
"""

from typing import Literal

import pytorch_lightning as pl
import torch
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


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it: AVX512-BF16, or AMX."""
    # Not in every version of PyTorch that will do otherwise.
    has: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def fastest_precision(accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """What ``trainer.precision=auto`` stands for.

    bfloat16 on processors that multiply it, where it trained 1.2 to 2.1 times as fast with the same
    loss curve (docs/decisions/0030); float32 elsewhere, on GPUs as well, where that is unmeasured.
    """
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    return "bf16-mixed" if on_cpu and multiplies_bfloat16() else "32-true"
