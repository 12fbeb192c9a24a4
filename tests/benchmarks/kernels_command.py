"""benchmarks/kernels.py, which is a script, as a module."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    "kernels_script", Path(__file__).parents[2] / "benchmarks/kernels.py"
)
SCRIPT = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(SCRIPT)
PARTS, main = SCRIPT.PARTS, SCRIPT.main
