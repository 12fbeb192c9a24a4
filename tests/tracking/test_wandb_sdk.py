"""The end of a process that has used W&B's SDK, against the real service."""

import os
import subprocess
import sys
import time

SCRIPT = """
import logging, os, signal, sys
logging.basicConfig(level="WARNING")
import wandb
from lm_research.tracking.wandb_sdk import end_bounded, environment_kept
with environment_kept():
    end_bounded(1.0)
    end_bounded(1.0)
    service = wandb.setup().ensure_service()._proc._process
if "stuck" in sys.argv:
    os.kill(service.pid, signal.SIGSTOP)
print(service.pid, flush=True)
"""


def ended(tmp_path, apart, *arguments):
    """The service's process, the warnings, and the seconds from the last line to the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | apart(tmp_path, "http://127.0.0.1:9"),
    )
    service = int(process.stdout.readline())
    start = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return service, err.splitlines(), time.monotonic() - start


def test_a_service_that_does_not_end_is_stopped(tmp_path, apart):
    service, told, seconds = ended(tmp_path, apart, "stuck")
    assert 1 <= seconds < 20
    assert len(told) == 1
    assert "its service did not end within 1 s and was stopped" in told[0]
    assert not os.path.exists(f"/proc/{service}")


def test_one_that_ends_is_left_alone(tmp_path, apart):
    service, told, _ = ended(tmp_path, apart)
    assert told == []
    assert not os.path.exists(f"/proc/{service}")
