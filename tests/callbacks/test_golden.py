"""A run of every released format can be evaluated and goes on to where it went then."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from lm_research.cli.evaluate import Options, score
from lm_research.cli.job import run
from lm_research.cli.saved import SavedRunError, load
from lm_research.tracking.checkpoint_store import FORMAT, CheckpointError, CheckpointStore
from lm_research.tracking.config_file import read_config

GOLDEN = sorted((Path(__file__).parent / "golden").glob("format-*"))
TOLERANCE = 1e-4
"""Relative: other CPUs add up in another order, for eight float32 steps."""


@pytest.fixture
def golden(tmp_path, monkeypatch):
    """A copy of a golden run that may be written, in the working folder."""
    monkeypatch.chdir(tmp_path)

    def copy(source=GOLDEN[-1]):
        shutil.copytree(source, tmp_path, dirs_exist_ok=True)
        return Path("run")

    return copy


def test_the_current_format_has_one_and_all_are_small():
    assert [folder.name for folder in GOLDEN][-1] == f"format-{FORMAT}"
    sizes = [sum(f.stat().st_size for f in g.rglob("*") if f.is_file()) for g in GOLDEN]
    assert max(sizes) < 100_000


@pytest.mark.parametrize("source", GOLDEN, ids=lambda folder: folder.name)
def test_it_goes_on_to_where_it_went(golden, source, read_json):
    folder = golden(source)
    expected = read_json("expected.json")
    run(read_config(folder / "config.yaml"), folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = {f"loss at {r['step']}": r["train/loss_nats"] for r in rows if "train/loss_nats" in r}
    found = {"val/bits_per_byte": read_json(folder / "summary.json")["val/bits_per_byte"], **losses}
    assert found == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("source", GOLDEN, ids=lambda folder: folder.name)
def test_it_can_be_evaluated(golden, source, read_json):
    folder = golden(source)
    run(read_config(folder / "config.yaml"), folder)
    scores = score(Options(run=str(folder)), None)
    expected = read_json("expected.json")["val/bits_per_byte"]
    assert scores["bits_per_byte"] == pytest.approx(expected, rel=TOLERANCE)


def checkpoint(folder: Path) -> Path:
    (file,) = (folder / "checkpoints").glob("*.ckpt")
    return file


def test_it_holds_plain_values_and_no_path_of_a_machine(golden):
    folder = golden()
    saved = torch.load(checkpoint(folder), weights_only=True)
    assert saved["lm_research"]["format"] == FORMAT
    texts = [f.read_bytes() for f in Path().rglob("*") if f.is_file()]
    assert not [text for text in texts if re.search(rb'["\s](/[a-z]+){2}', text)]


def test_an_index_of_a_later_version_is_refused(golden):
    folder = golden()
    index = folder / "checkpoints/index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"format": FORMAT + 1}))
    told = f"written in format {FORMAT + 1}, this version reads up to {FORMAT}. Update lm-research"
    with pytest.raises(CheckpointError, match=told):
        run(read_config(folder / "config.yaml"), folder)
    with pytest.raises(SavedRunError, match=told):
        load(str(folder))


def test_a_checkpoint_of_a_later_version_is_refused(golden):
    folder = golden()
    file = checkpoint(folder)
    saved = torch.load(file, weights_only=True)
    saved["lm_research"]["format"] = FORMAT + 1
    store = CheckpointStore(folder / "checkpoints")
    torch.save(saved, store.part(8))
    store.commit(8)
    with pytest.raises(CheckpointError, match=rf"step-00000008.ckpt: of format {FORMAT + 1}, this"):
        run(read_config(folder / "config.yaml"), folder)
    with pytest.raises(SavedRunError, match=rf"step-00000008.ckpt: of format {FORMAT + 1}, this"):
        load(str(folder))
