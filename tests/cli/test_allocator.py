"""Memory that is freed and asked for again is not fetched from the system again."""

import os
import subprocess
import sys

import pytest

from lm_research.cli.allocator import keep_freed_memory

SCRIPT = """
import resource, sys
import torch
from lm_research.cli.allocator import keep_freed_memory

def faults(steps=20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        first, second = torch.ones(10_000_000), torch.ones(15_000_000)
        del first, second
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / steps

plain = faults()
done = keep_freed_memory()
faults()  # the first ones are still to be fetched
print(done, plain, faults())
"""


def faults(**environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    kept, before, after = done.stdout.split()
    return kept == "True", float(before), float(after)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_freed_pages_are_used_again():
    kept, before, after = faults()
    assert kept
    assert after < before / 10


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_ones_own_settings_are_left_alone(name):
    assert not keep_freed_memory({name: "x"})
    # Set and empty is not set; but this process is left as it is.
    assert not keep_freed_memory({name: "x", "MALLOC_ARENA_MAX": ""})
