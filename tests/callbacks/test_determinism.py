"""The same command gives the same bits, in several processes too; where it may not, it is said."""

import logging
from types import SimpleNamespace

import pytest
import torch
from chaos_suite.equality import difference

from lm_research.cli.fitting import _tell_of_determinism
from lm_research.cli.launch import launch
from lm_research.config.compose import compose

SMALL = (
    "budget=smoke",
    "budget.train_tokens=2048",
    "budget.train_bytes=20000",
    "budget.eval_bytes=1000",
    "callbacks=quiet",
    "callbacks.metrics.every=3",
    "callbacks.samples.length=3",
    "tracking=disabled",
)


@pytest.mark.slow
def test_two_processes_twice(tmp_path):
    processes = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.threads=1")
    noisy = ("model.dropout=0.2", "model.num_layers=2")
    more = ("trainer.accumulate=2", "trainer.precision=bf16-mixed", "averaging=ema")
    config = compose([*SMALL, *processes, *noisy, *more]).config
    for name in ("one", "other"):
        launch(config, tmp_path / name, 2)
    assert difference(tmp_path / "one", tmp_path / "other") is None


def test_several_threads_twice(train):
    for name in ("one", "other"):
        folder = train("trainer.threads=2", "budget.hidden_size=128", output=name)
    assert difference(folder.with_name("one"), folder) is None


@pytest.mark.parametrize(
    ("device", "asked", "same"),
    [("cpu", False, True), ("cuda", False, False), ("cuda", True, True)],
)
def test_what_is_said(monkeypatch, caplog, device, asked, same):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: asked)
    strategy = SimpleNamespace(root_device=torch.device(device))
    trainer = SimpleNamespace(strategy=strategy, is_global_zero=True)
    noted = {}
    with caplog.at_level(logging.WARNING):
        _tell_of_determinism(trainer, SimpleNamespace(summary=noted.update))
    assert noted == {"train/deterministic": same}
    assert ("trainer.deterministic=true" in caplog.text) is not same
