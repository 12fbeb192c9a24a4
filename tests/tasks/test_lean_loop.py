"""The plain training loop gives Lightning's weights, and steps aside when someone listens."""

import pytest
import pytorch_lightning as pl
import torch

from lm_research.cli.assembly import assemble
from lm_research.cli.fitting import make_trainer
from lm_research.config.compose import compose
from lm_research.tasks import lean_loop
from lm_research.tasks.lean_loop import LeanOptimization

TINY = ("budget=smoke", "budget.train_tokens=640", "budget.batch_size=4", "budget.window=16")
OPTIONS = ("trainer=cpu", "trainer.gradient_clip=0.5", "scheduler=cosine", "model.dropout=0.2")


class Listener(pl.Callback):
    calls = 0

    def on_after_backward(self, trainer, pl_module):
        self.calls += 1


def fitted(cache, *callbacks, **options):
    given = [f"trainer.{key}={value}" for key, value in options.items()]
    config = compose([*TINY, *OPTIONS, "model.num_layers=2", f"cache={cache}", *given]).config
    assembly = assemble(config)
    trainer = make_trainer(config["trainer"], list(callbacks))
    trainer.fit(assembly.model, datamodule=assembly.data)
    return trainer, assembly.model


@pytest.mark.parametrize("by", ["norm", "value"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_equal_to_lightnings_own_loop(cache, monkeypatch, precision, by):
    clipping = {"gradient_clip_by": by, "gradient_clip": 0.5 if by == "norm" else 0.001}
    lean_trainer, lean = fitted(cache, precision=precision, **clipping)
    assert isinstance(lean_trainer.fit_loop.epoch_loop.automatic_optimization, LeanOptimization)
    monkeypatch.setattr(lean_loop, "allows", lambda *args: False)
    own_trainer, own = fitted(cache, precision=precision, **clipping)
    assert not isinstance(own_trainer.fit_loop.epoch_loop.automatic_optimization, LeanOptimization)
    assert lean_trainer.global_step == own_trainer.global_step == 10
    for name, weight in own.state_dict().items():
        assert torch.equal(weight, lean.state_dict()[name]), name


def test_a_listener_at_an_inner_point_is_heard(cache):
    listener = Listener()
    trainer, _ = fitted(cache, listener)
    assert not isinstance(trainer.fit_loop.epoch_loop.automatic_optimization, LeanOptimization)
    assert listener.calls == 10


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_optimizers_are_fused_and_clipped(cache, precision):
    trainer, _ = fitted(cache, precision=precision)
    assert trainer.gradient_clip_val == 0.5
    assert all(group["fused"] for group in trainer.optimizers[0].param_groups)


@pytest.mark.parametrize("options", [{"accumulate": 2}, {"precision": "64-true"}])
def test_not_used_where_it_would_do_less(cache, options):
    trainer, _ = fitted(cache, **options)
    assert not isinstance(trainer.fit_loop.epoch_loop.automatic_optimization, LeanOptimization)
