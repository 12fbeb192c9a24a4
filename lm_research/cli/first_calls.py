"""What PyTorch does at the first call of an operation, done before runs are forked, not in each.

It loads the parts of MKL and oneDNN that this processor needs, looks operators up and builds
primitives: about 0.2 s of CPU in a run of three seconds. The scans' machine code is loaded, too,
where numba is: another 0.1 s.
"""

from functools import cache

import torch
from torch import nn

from lm_research.kernels import FusedGRU, FusedRNN
from lm_research.vectorizers.compiled import has_numba

BATCH, LENGTH, WIDTH = 4, 16, 8


@cache
def first_calls() -> None:
    """One step of training of a small network of this package's usual parts, and what scores it.

    Nothing where PyTorch was built for a GPU: its backward asks for the devices, and who has asked
    may not fork. No random number is drawn from anybody's generator.
    """
    if torch.version.cuda or torch.version.hip:
        return
    with torch.random.fork_rng(devices=[]):
        ids_BT = torch.zeros(BATCH, LENGTH, dtype=torch.long)
        network = nn.ModuleList(
            [
                nn.Embedding(WIDTH, WIDTH),
                *(kind(WIDTH, WIDTH, batch_first=True) for kind in (nn.RNN, nn.LSTM, nn.GRU)),
                nn.Conv1d(WIDTH, WIDTH, 1),
                nn.Linear(WIDTH, WIDTH),
            ]
        )
        with torch.no_grad():
            _logits(network, ids_BT)
        logits_BTV = _logits(network, ids_BT)
        logits_BTV.topk(2), logits_BTV.log_softmax(-1)
        nn.functional.cross_entropy(logits_BTV.flatten(0, 1), ids_BT.flatten()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        torch.optim.AdamW(network.parameters()).step()
        if has_numba():
            _scans()


def _scans() -> None:
    """One row, so that no other thread is started."""
    for layer in (FusedRNN(WIDTH, WIDTH, backend="cpu"), FusedGRU(WIDTH, WIDTH, backend="cpu")):
        with torch.no_grad():
            layer(torch.zeros(LENGTH, 1, WIDTH))
        outputs_TBH, _ = layer(torch.zeros(LENGTH, 1, WIDTH))
        outputs_TBH.sum().backward()


def _logits(network: nn.ModuleList, ids_BT: torch.Tensor) -> torch.Tensor:
    embedding, *recurrent, convolution, head = network
    x_BTC = embedding(ids_BT)
    for layer in recurrent:
        x_BTC, _ = layer(x_BTC)
    return head(convolution(x_BTC.transpose(1, 2)).transpose(1, 2))
