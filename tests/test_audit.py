"""The audit says whether it ran, and never mistakes silence for safety."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOUND = {"name": "a", "version": "1", "vulns": []}
KNOWN = {"name": "b", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code", "required", "said"),
    [
        ([SOUND, UNKNOWN], 0, 0, "1 packages audited, 1 unknown"),
        ([SOUND, KNOWN], 1, 1, "b 1: X-1, fixed in 2"),
        ([UNKNOWN], 0, 1, "NOT RUN"),
        (None, 0, 1, "NOT RUN: no network"),
    ],
)
def test_the_audit(tmp_path, packages, code, required, said):
    tool = tmp_path / "pip-audit"
    answer = "" if packages is None else f"echo '{json.dumps({'dependencies': packages})}' > $out"
    find = 'while [ $# -gt 0 ]; do [ "$1" = --output ] && out=$2; shift; done'
    tool.write_text(f"#!/bin/sh\n{find}\n{answer}\necho no network\nexit 1\n")
    tool.chmod(0o755)
    for arguments, expected in (([], code), (["--required"], required)):
        environment = {**os.environ, "PIP_AUDIT": str(tool)}
        command = [str(ROOT / "audit.sh"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode, said in done.stdout + done.stderr) == (expected, True)
