"""Products in bfloat16 over weights in float32 (``trainer.precision=bf16-mixed``).

Lightning's plug-in for mixed precision refuses to clip gradients for a fused optimizer, as the
scaler of float16 does not allow it. bfloat16 has float32's range and needs no scaler.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from torch.optim import Optimizer

NARROWEST = {"lm_research.models.transformer.Transformer": 128}
"""Smallest ``hidden_size`` by model from which bfloat16 trains at least as fast on a CPU (measured:
docs/decisions/0030); models that are not here have none."""


class Chosen(NamedTuple):
    """A precision, and why it was chosen; None where nothing is to be told."""

    precision: Literal["bf16-mixed", "32-true"]
    reason: str | None = None


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


def is_cpu(accelerator: str) -> bool:
    """Whether ``trainer.accelerator`` means the CPU on this machine."""
    return accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())


def fastest_precision(accelerator: str, model: Mapping[str, Any]) -> Chosen:
    """What ``trainer.precision=auto`` stands for.

    bfloat16 on processors that multiply it, where it trains up to twice as fast with the same loss
    curve (docs/decisions/0030), but for models so narrow that it is slower; float32 elsewhere, on
    GPUs as well, where that is unmeasured.

    Args:
        accelerator: ``trainer.accelerator``.
        model: the group ``model`` of the configuration.
    """
    on_cpu = is_cpu(accelerator)
    if not (on_cpu and multiplies_bfloat16()):
        return Chosen("32-true")
    target, width = str(model.get("_target_")), model.get("hidden_size")
    narrowest = NARROWEST.get(target, 0)
    if width is not None and width < narrowest:
        name = target.rpartition(".")[2]
        reason = f"as a {name} of model.hidden_size={width} trains slower in bf16-mixed"
        return Chosen("32-true", f"{reason}, one of {narrowest} and more faster")
    reason = "which this processor multiplies faster than float32; trainer.precision=32-true"
    return Chosen("bf16-mixed", f"{reason} leaves it")
