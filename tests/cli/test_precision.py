"""``trainer.precision=auto``: what it stands for, and that a run keeps what it began with."""

import json
from inspect import signature
from pydoc import locate

import pytest
import torch

from lm_research.cli.fitting import make_trainer, trainer_options
from lm_research.config.compose import compose
from lm_research.tasks import bfloat16

TINY = ("trainer=auto", "trainer.accelerator=cpu")


@pytest.mark.parametrize(
    ("has", "accelerator", "precision"),
    [
        ({"avx512_bf16": True}, "cpu", "bf16-mixed"),
        ({"amx_bf16": True}, "auto", "bf16-mixed"),
        ({"avx512_bf16": True}, "gpu", "32-true"),
        ({"avx512_f": True}, "cpu", "32-true"),
        ({}, "auto", "32-true"),
    ],
)
def test_what_auto_stands_for(monkeypatch, has, accelerator, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bfloat16.fastest_precision(accelerator, {}).precision == precision


@pytest.mark.parametrize(
    ("model", "width", "precision", "said"),
    [
        ("transformer", 96, "32-true", "a Transformer of model.hidden_size=96 trains slower"),
        ("transformer", 128, "bf16-mixed", "multiplies faster"),
        ("cnn", 96, "bf16-mixed", "multiplies faster"),
        ("lstm", 32, "bf16-mixed", "multiplies faster"),
    ],
)
def test_a_narrow_transformer_stays_in_float32_and_it_is_said_once(
    train, monkeypatch, caplog, model, width, precision, said
):
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: True)
    caplog.set_level("INFO")
    options = (f"model={model}", f"budget.hidden_size={width}", "budget.train_tokens=512")
    run = train(*TINY, *options)
    assert json.loads((run / "summary.json").read_text())["train/precision"] == precision
    told = [r.getMessage() for r in caplog.records if "trainer.precision=auto" in r.getMessage()]
    assert len(told) == 1
    assert told[0].startswith(f"trainer.precision=auto: {precision}, ")
    assert said in told[0]


def test_the_models_of_the_rule_are_there():
    for target in bfloat16.NARROWEST:
        assert "hidden_size" in signature(locate(target)).parameters


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_the_trainer_has_it(monkeypatch, tmp_path, native, precision):
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: native)
    config = compose(TINY).config
    assert config["trainer"]["precision"] == "auto"
    assert make_trainer(trainer_options(config, tmp_path), []).precision == precision


def test_a_run_keeps_the_one_that_it_began_with(train, monkeypatch):
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: True)
    run = train("trainer=auto", "trainer.accelerator=cpu")
    assert json.loads((run / "summary.json").read_text())["train/precision"] == "bf16-mixed"
    config = compose(TINY).config
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: False)
    assert trainer_options(config, run)["precision"] == "bf16-mixed"
    assert trainer_options(config, run / "nothing")["precision"] == "32-true"


@pytest.mark.parametrize("vectorizer", ["one_hot", "bag_of_words", "embedding"])
def test_documents_in_bfloat16(train, vectorizer):
    """PyTorch has no products of sparse rows in bfloat16."""
    train("task=classification", "data=tweets", "model=bag", f"vectorizer={vectorizer}",
          "text=word", "trainer.precision=bf16-mixed")  # fmt: skip


def test_a_choice_stands(monkeypatch):
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: True)
    config = compose([*TINY, "trainer.precision=64-true"]).config
    assert trainer_options(config, None)["precision"] == "64-true"
