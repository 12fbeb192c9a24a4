"""First calls of PyTorch, before runs are forked: no run may notice."""

import subprocess
import sys

import torch

from lm_research.cli.first_calls import first_calls

BEFORE_AND_AFTER = """
import torch
from torch import nn
from lm_research.cli.own_process import in_own_process

def trained():
    torch.manual_seed(3)
    layer, head = nn.LSTM(5, 6), nn.Linear(6, 7)
    outputs, _ = layer(torch.randn(4, 3, 5))
    head(outputs).logsumexp(-1).sum().backward()
    torch.optim.AdamW([*layer.parameters(), *head.parameters()]).step()
    print(sum(p.double().abs().sum() for p in layer.parameters()).item().hex(), flush=True)

trained()
in_own_process(trained, {})  # after first calls in this process
trained()
"""


def test_a_run_ends_with_the_same_bits_before_and_after_them():
    command = [sys.executable, "-c", BEFORE_AND_AFTER]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    before, forked, after = found.stdout.split()
    assert before == forked == after


def test_no_random_number_is_drawn_and_no_setting_changed():
    before = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    first_calls.__wrapped__()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.is_grad_enabled())
