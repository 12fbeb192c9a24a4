"""Two processes, each with half a batch: averaged gradients are those of the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN

LAYERS = {"rnn": FusedRNN, "lstm": FusedLSTM, "gru": FusedGRU}


def layer_of(cell, backend):
    torch.manual_seed(0)
    return LAYERS[cell](5, 8, num_layers=2, batch_first=True, backend=backend)


def loss_of(layer, rows):
    """Of some rows of a batch of 4, each of as many steps."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 3, 5, generator=generator)[rows]
    return layer(x, lengths=torch.tensor([3, 1, 2, 3])[rows])[0].square().mean()


def work(rank, folder, backend):
    """One of the two processes; the first writes the gradients down."""
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    for cell in LAYERS:
        layer = DistributedDataParallel(layer_of(cell, backend))
        loss_of(layer, slice(2 * rank, 2 * rank + 2)).backward()
        if rank == 0:
            gradients = {name: p.grad for name, p in layer.module.named_parameters()}
            torch.save(gradients, f"{folder}/{cell}.pt")
    distributed.destroy_process_group()


@pytest.mark.one_in(6)
@pytest.mark.parametrize("backend", ["auto", "reference", "triton", "cpu"])
def test_gradients_are_averaged(backend, tmp_path, agree):
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(tmp_path), backend],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, complaint = process.communicate(timeout=120)
            assert process.returncode == 0, complaint
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    for cell in LAYERS:
        found = torch.load(tmp_path / f"{cell}.pt")
        layer = layer_of(cell, "reference")
        loss_of(layer, slice(None)).backward()
        expected = {name: p.grad for name, p in layer.named_parameters()}
        assert list(found) == list(expected)
        agree(found.values(), expected.values(), expected, torch.float32)


if __name__ == "__main__":
    work(int(sys.argv[1]), *sys.argv[2:])
