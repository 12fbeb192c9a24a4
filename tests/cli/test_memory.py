"""What is said when memory does not suffice."""

import json
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from lm_research.cli.memory import OutOfMemory, available_bytes, telling_of_memory
from lm_research.config.compose import compose

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()", "train"]
CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 1.31 MiB is free. Including non-PyTorch memory, this process has 79.10 GiB in use."
)
HUGE = 1 << 60


@pytest.fixture
def config():
    return compose(["budget=smoke", "budget.batch_size=16", "trainer.accumulate=3"]).config


def explained(config, tmp_path, allocate) -> str:
    with pytest.raises(OutOfMemory) as caught, telling_of_memory(config, tmp_path):
        allocate()
    return str(caught.value)


def cuda():
    raise torch.OutOfMemoryError(CUDA)


@pytest.mark.parametrize(
    ("allocate", "size", "where"),
    [
        (lambda: torch.empty(HUGE, dtype=torch.uint8), f"{HUGE:,} bytes", "the CPU"),
        (lambda: np.empty(HUGE, np.uint8), f"{HUGE:,} bytes", "the CPU"),
        (cuda, "20,971,520 bytes more (0.02 GiB)", "the GPU"),
        (lambda: bytes(HUGE), "out of memory on the CPU\n", "the CPU"),
    ],
)
def test_every_allocator_is_told_alike(config, tmp_path, allocate, size, where):
    text = explained(config, tmp_path, allocate)
    assert text.startswith(f"out of memory on {where}")
    assert size in text
    assert "budget.batch_size=16 budget.window=" in text
    assert "budget.batch_size=8 trainer.accumulate=6 (as many tokens an optimizer step)" in text
    assert ("trainer.precision=bf16-mixed" in text) == (where == "the GPU")


def test_the_remedies_are_overrides_that_compose(config, tmp_path):
    text = explained(config, tmp_path, cuda)
    remedies = next(line for line in text.splitlines() if "to change:" in line)
    overrides = re.findall(r"[\w.]+=[\w-]+", remedies)
    assert len(overrides) == 5
    compose(["budget=smoke", *(text for text in overrides if "find_batch_size" not in text)])
    compose(["budget=smoke", "trainer.find_batch_size=keep_tokens"])


def test_the_model_is_told_once_there_is_one(config, tmp_path):
    (tmp_path / "summary.json").write_text('{"model/parameters": 1234567}')
    assert "a model of 1,234,567 parameters" in explained(config, tmp_path, cuda)


def test_other_errors_pass(config, tmp_path):
    with pytest.raises(RuntimeError, match="shape"), telling_of_memory(config, tmp_path):
        raise RuntimeError("shape mismatch")


def test_available_memory_is_some_of_the_machines():
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < available_bytes() <= pages


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_run_that_asks_too_much_of_a_real_allocator(tmp_path, tiny, devices):
    more = ["budget.batch_size=20000", "budget.train_tokens=3000000", "budget.hidden_size=128"]
    more += ["budget.window=64", f"trainer.devices={devices}", f"output={tmp_path / 'out'}"]
    more += ["trainer.strategy=ddp"] if devices > 1 else []
    limit = 1500 << 20
    done = subprocess.run(
        [*COMMAND, *tiny, *more],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )
    assert done.returncode == 71, done.stderr
    assert "Traceback" not in done.stderr
    assert "lm-research train: out of memory on the CPU: " in done.stderr
    assert "budget.batch_size=10000 trainer.accumulate=2" in done.stderr
    status = json.loads((tmp_path / "out/status.json").read_text())
    assert status["state"] == "failed"
    assert "out of memory on the CPU" in status["error"]
