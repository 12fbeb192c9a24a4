"""What the tasks that read whole documents have in common."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import nn

from lm_research.tasks.clipping import ClippedTask
from lm_research.tasks.streaming import map_tensors

BatchT = TypeVar("BatchT")


class DocumentTask(ClippedTask):
    """An optimizer whose rate follows a schedule, and batches that are named tuples of tensors.

    Args:
        optimizer: parameters -> optimizer.
        scheduler: step -> factor on the learning rate.
    """

    def __init__(
        self,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[[int], float],
    ) -> None:
        super().__init__()
        self.make_optimizer, self.schedule = optimizer, scheduler

    def configure_optimizers(self) -> Any:
        """The optimizer, and its rate's factor at every step."""
        optimizer = self.make_optimizer(p for p in self.parameters() if p.requires_grad)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: BatchT, device: torch.device, index: int) -> BatchT:
        """A copy of each tensor, and none on a CPU, where Lightning's own way costs a walk."""
        if device.type == "cpu":
            return batch
        moved: BatchT = map_tensors(lambda tensor: tensor.to(device), batch)
        return moved
