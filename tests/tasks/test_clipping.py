"""Gradients that processes share out are clipped by the norm of all."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from lm_research.tasks.clipping import ClippedTask


@pytest.fixture
def sharded() -> Iterator[nn.Module]:
    """A layer whose weights FSDP has in its hands, in the only process that there is."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield FullyShardedDataParallel(nn.Linear(4, 3), device_id=torch.device("cpu"))
    finally:
        dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_a_norm_under_fsdp_is_the_root_modules(sharded: nn.Module) -> None:
    task: Any = ClippedTask()
    task._trainer = SimpleNamespace(strategy=SimpleNamespace(model=sharded))
    optimizer = torch.optim.SGD(sharded.parameters(), lr=0.1)
    sharded(torch.ones(2, 4)).sum().mul(100).backward()
    task.configure_gradient_clipping(optimizer, 1.0, "norm")
    norm = torch.stack([p.grad.norm() for p in sharded.parameters()]).norm()
    assert norm.item() == pytest.approx(1.0, abs=1e-4)
