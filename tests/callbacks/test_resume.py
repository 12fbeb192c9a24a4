"""A run that was cut continues as if nothing had happened."""

import json
import os
import signal

import pytest
import torch

from lm_research.callbacks.checkpoint import Checkpoint
from lm_research.callbacks.stop_signals import Stopped
from lm_research.tracking.checkpoint_store import CheckpointError, CheckpointStore
from lm_research.tracking.errors import RunFolderError

DROPOUT = ("model.dropout=0.3", "model.num_layers=2", "callbacks.checkpoint.every=5")
CLOCK = ("seconds", "perf/tokens_per_s")


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in lines]


def final(folder):
    return torch.load(CheckpointStore(folder / "checkpoints").path("last"), weights_only=True)


def same(one, other):
    assert rows(one) == rows(other)
    first, second = final(one), final(other)
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    assert str(first["optimizer_states"]) == str(second["optimizer_states"])
    assert (one / "samples.jsonl").read_text() == (other / "samples.jsonl").read_text()


def state(folder):
    return json.loads((folder / "status.json").read_text())["state"]


@pytest.mark.parametrize("model", ["lstm", "transformer"])
def test_a_cut_run_ends_like_an_undisturbed_one(train, monkeypatch, tmp_path, model):
    options = (f"model={model}", "callbacks.metrics.every=3", *DROPOUT)
    whole = train(*options, output="whole")
    save, saves = Checkpoint._save, []

    def cut(self, *args):
        save(self, *args)
        saves.append(self.step)
        if len(saves) == 2:
            raise RuntimeError("the machine is gone")

    monkeypatch.setattr(Checkpoint, "_save", cut)
    with pytest.raises(RuntimeError):
        train(*options, output="cut")
    assert state(tmp_path / "cut") == "failed"
    same(train(*options, output="cut"), whole)


@pytest.mark.one_in(5)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("step", [1, 7, 16])
def test_a_signal_ends_the_step_and_the_run_continues(train, at_step, tmp_path, number, step):
    options = ("callbacks.metrics.every=3", *DROPOUT)
    whole = train(*options, output="whole")
    at_step(step, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Stopped) as stopped:
        train(*options, output="cut")
    assert stopped.value.code == (130 if number == signal.SIGINT else os.EX_TEMPFAIL)
    cut = tmp_path / "cut"
    assert state(cut) == "interrupted"
    assert final(cut)["global_step"] == step
    same(train(*options, output="cut"), whole)


def test_gradients_that_are_being_added_up_are_not_lost(train, at_step, tmp_path):
    options = ("trainer.accumulate=3", "callbacks.metrics.every=2", *DROPOUT)
    whole = train(*options, output="whole")
    at_step(7, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped):
        train(*options, output="cut")
    saved = CheckpointStore(tmp_path / "cut/checkpoints").entries()
    assert saved[-1].step == 9
    same(train(*options, output="cut"), whole)


def test_a_second_interrupt_does_not_wait(train, at_step, tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(7, twice)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train("callbacks.checkpoint.every=5", output="cut")
    assert [e.step for e in CheckpointStore(tmp_path / "cut/checkpoints").entries()][-1] == 5
    assert state(tmp_path / "cut") == "interrupted"


@pytest.mark.one_in(2)
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "gone"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    train, cut, tmp_path, caplog, damage
):
    options = ("callbacks.metrics.every=3", *DROPOUT)
    whole = train(*options, output="whole")
    cut(12, *options)
    store = CheckpointStore(tmp_path / "cut/checkpoints")
    assert [entry.step for entry in store.entries()][-2:] == [10, 12]
    file = store.folder / "step-00000012.ckpt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        kept = {"truncated": content[:1000], "flipped": content, "empty": b""}[damage]
        file.write_bytes(bytes(kept))
    cut = train(*options, output="cut")
    assert "step-00000012.ckpt: damaged" in caplog.text
    same(cut, whole)


def test_when_every_checkpoint_is_damaged_nothing_is_trained_unasked(train, cut, tmp_path):
    cut(12, *DROPOUT)
    for file in (tmp_path / "cut/checkpoints").glob("*.ckpt"):
        file.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="every checkpoint is damaged"):
        train(*DROPOUT, output="cut")
    assert len(list((tmp_path / "cut/checkpoints").glob("*.damaged"))) >= 2


def test_a_checkpoint_of_another_run_is_refused(train, cut, tmp_path):
    cut(7, "seed=1")
    (tmp_path / "other").mkdir()
    other = train("seed=2", "debug.max_steps=1", "debug=limit", output="other")
    for file in (other / "checkpoints").iterdir():
        file.unlink()
    for file in (tmp_path / "cut/checkpoints").iterdir():
        (other / "checkpoints" / file.name).write_bytes(file.read_bytes())
    status = json.loads((other / "status.json").read_text())
    (other / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    with pytest.raises(CheckpointError, match=r"seed.*1.*2"):
        train("seed=2", "debug.max_steps=1", "debug=limit", output="other")


def test_a_file_that_no_index_names_is_left_alone(train, cut, tmp_path):
    cut(7, *DROPOUT)
    own = tmp_path / "cut/checkpoints/step-00000003.ckpt"
    own.write_bytes(b"somebody's")
    train(*DROPOUT, output="cut")
    assert own.read_bytes() == b"somebody's"


def test_a_run_folder_moved_elsewhere_continues(train, cut, tmp_path):
    options = ("callbacks.metrics.every=3", *DROPOUT)
    whole = train(*options, output="whole")
    cut(7, *options)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cut").rename(tmp_path / "elsewhere/run")
    same(train(*options, output="elsewhere/run"), whole)


def test_a_finished_run_is_not_run_again(train, capsys):
    folder = train()
    before = (folder / "metrics.jsonl").read_bytes()
    train()
    assert "done already" in capsys.readouterr().out
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_what_does_not_move_the_numbers_may_change(train, cut, tmp_path):
    options = ("callbacks.metrics.every=3", *DROPOUT)
    whole = train(*options, output="whole")
    cut(7, *options)
    changed = ("callbacks.checkpoint.keep_last=4", "callbacks=default", "tracking.project=other")
    cut = train(*options, *changed, output="cut")
    assert rows(cut) == rows(whole)
    assert len(CheckpointStore(cut / "checkpoints").entries()) >= 4


def test_another_text_is_refused_and_the_old_one_goes_on(train, cut, tmp_path):
    text = tmp_path / "text.txt"
    lines = [f"Paragraph {i} of the text, number {i * i}." for i in range(300)]
    text.write_text("\n\n".join(lines))
    options = ("data=files", f"data.paths=[{text}]", "data.document=paragraph", *DROPOUT)
    cut(7, *options)
    data = (tmp_path / "cut/data.json").read_bytes()
    text.write_text("\n\n".join([*lines, "One more."]))
    with pytest.raises(RunFolderError, match=r"(?s)not the one .*splits\.\w+\.\w+: .* -> "):
        train(*options, output="cut")
    assert (tmp_path / "cut/data.json").read_bytes() == data
    text.write_text("\n\n".join(lines))
    assert state(train(*options, output="cut")) == "done"


def test_a_checkpoint_asked_for_goes_with_the_next(train, cut, tmp_path):
    whole = train(*DROPOUT, output="whole")
    cut(14, *DROPOUT)
    kept = [entry.step for entry in CheckpointStore(tmp_path / "cut/checkpoints").entries()]
    assert kept[-3:] == [10, 12, 14]  # the two that were due, and the signal's
    folders = whole / "checkpoints", train(*DROPOUT, output="cut") / "checkpoints"
    steps = [[entry.step for entry in CheckpointStore(folder).entries()] for folder in folders]
    assert steps[0] == steps[1]
