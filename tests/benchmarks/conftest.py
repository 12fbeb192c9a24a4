"""`benchmarks/` is a folder of scripts, not a package that is installed."""

import io
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def trials():
    """A check on the CPU, whose output is kept."""
    from kernel_suite.shown import Log
    from kernel_suite.trials import Trials
    from rich.console import Console

    return Trials(Log(Console(width=200, record=True, file=io.StringIO())), "cpu")
