"""With two processes, a counted model's file is written by one of them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# Python reads it at the start of every process: each save of an array file leaves a line.
SPY = """
import os, numpy
save = numpy.savez
def savez(file, *arrays, **named):
    with open(os.environ["SAVED"], "a") as log:
        log.write(f"{os.environ.get('RANK')} {os.path.basename(str(file))}\\n")
    return save(file, *arrays, **named)
numpy.savez = savez
"""
SMALL = ["budget=smoke", "budget.train_bytes=20000", "budget.eval_bytes=2000", "model=ngram"]


@pytest.mark.slow
def test_one_process_writes_the_counts(tmp_path: Path, read_json) -> None:
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY)
    saved = tmp_path / "saved.txt"
    path = os.pathsep.join(filter(None, [str(tmp_path / "spy"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "SAVED": str(saved)}
    start = "from lm_research.cli.main import main; main()"
    options = ["trainer=ddp", "trainer.accelerator=cpu", "tracking=disabled"]
    scores = {}
    for name, trainer in (("two", options), ("one", ["trainer=cpu", "tracking=disabled"])):
        command = [sys.executable, "-c", start, "train", *SMALL, *trainer]
        done = subprocess.run(
            [*command, f"output={tmp_path / name}"],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        scores[name] = read_json(tmp_path / name / "summary.json")["val/bits_per_byte"]
    writers = [line.split()[0] for line in saved.read_text().splitlines() if "counts" in line]
    assert writers == ["0", "None"]  # one of the two processes, and then the one alone
    counts = [np.load(tmp_path / name / "checkpoints" / "counts.npz") for name in ("one", "two")]
    assert counts[0].files == counts[1].files
    assert all(np.array_equal(counts[0][key], counts[1][key]) for key in counts[0].files)
    assert scores["two"] == pytest.approx(scores["one"], rel=1e-9)
