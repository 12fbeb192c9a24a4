"""A command imports what it needs; what it puts off is there for whoever asks."""

import subprocess
import sys

SCRIPT = """
import sys
from lm_research.cli.imports import put_off_scipy_signal
put_off_scipy_signal()
import torchmetrics
import lm_research.cli.train
import lm_research.cli.fitting
assert "scipy.signal._signal_api" not in sys.modules
{use}
assert "scipy.signal._signal_api" in sys.modules
import scipy
assert scipy.signal.find_peaks is sys.modules["scipy.signal"].find_peaks
"""
USES = [
    "from scipy.signal import find_peaks",
    "import scipy.signal.windows as windows; windows.hann(3)",
]


def test_scipy_signal_is_imported_by_whoever_uses_it():
    children = [
        subprocess.run([sys.executable, "-c", SCRIPT.format(use=use)], capture_output=True)
        for use in USES
    ]
    assert [child.stderr.decode()[-500:] for child in children if child.returncode] == []
