"""A report from the ledger is the report from the run folders, byte for byte."""

import json
from pathlib import Path

from rich.console import Console

from lm_research.analysis.summary import summarise
from lm_research.tracking.ledger.ledger import open_ledger


def written(folder: Path, output: Path, **keywords) -> tuple[bytes, str]:
    console = Console(record=True, width=150, file=output.with_suffix(".txt").open("w"))
    summarise(folder, output, console, **keywords)
    return output.read_bytes() + output.with_suffix(".md").read_bytes(), console.export_text()


def test_the_same_report(make_grid, tmp_path):
    folder = make_grid()
    (folder / "3" / "config.yaml").write_text("a: [")
    (folder / "5" / "summary.json").unlink()
    (folder / "7" / "samples.jsonl").write_text("nonsense\n")
    status = {"state": "failed", "id": "x", "error": "OutOfMemory: 3 GiB"}
    (folder / "9" / "status.json").write_text(json.dumps(status))

    def find(place):
        return open_ledger(place, tmp_path / "cache").runs()

    expected = written(folder, tmp_path / "a.html")
    assert written(folder, tmp_path / "b.html", find=find) == expected
    assert written(folder, tmp_path / "c.html", find=find) == expected  # the ledger is warm
