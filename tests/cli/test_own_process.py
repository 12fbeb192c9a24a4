"""A run in a process of its own, whatever the process it comes from has done before."""

import subprocess
import sys

FROM_A_PROCESS_THAT_HAS_COMPUTED = """
import torch
from lm_research.cli.own_process import in_own_process

def compute():
    weight = torch.ones(600, 600, requires_grad=True)
    (weight @ weight).sum().backward()

torch.set_num_threads(2)
compute()
print("status", in_own_process(compute, {}))
compute()
print("status", in_own_process(compute, {}))
"""


def test_a_process_that_has_computed_with_threads_starts_runs():
    command = [sys.executable, "-c", FROM_A_PROCESS_THAT_HAS_COMPUTED]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.stdout.split() == ["status", "0", "status", "0"], found.stderr
