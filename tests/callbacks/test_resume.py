"""A run that was cut continues as if nothing had happened."""

import json

import pytest
import torch

from lm_research.callbacks.checkpoint import Checkpoint

DROPOUT = ("model.dropout=0.3", "model.num_layers=2", "callbacks.checkpoint.every=5")


def rows(folder):
    clock = ("seconds", "perf/tokens_per_s")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]


def weights(folder):
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("model", ["lstm", "transformer"])
def test_a_cut_run_ends_like_an_undisturbed_one(train, monkeypatch, tmp_path, model):
    options = (f"model={model}", "callbacks.metrics.every=3", *DROPOUT)
    whole = train(*options, output="whole")
    save, saves = Checkpoint._save, []

    def cut(self, *args):
        save(self, *args)
        saves.append(self.step)
        if len(saves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "_save", cut)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(*options, output="cut")
    assert json.loads((tmp_path / "cut/status.json").read_text())["state"] == "interrupted"
    cut_run = train(*options, output="cut")
    assert rows(cut_run) == rows(whole)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(cut_run)[name]), name
    assert (whole / "samples.jsonl").read_text() == (cut_run / "samples.jsonl").read_text()


def test_a_finished_run_is_not_run_again(train, capsys):
    folder = train()
    before = (folder / "metrics.jsonl").read_bytes()
    train()
    assert "done already" in capsys.readouterr().out
    assert (folder / "metrics.jsonl").read_bytes() == before
