"""Every option of conf/: a run that is cut at some step ends like an undisturbed one, to the bit.

By default every option occurs; marked slow, every two ways of training meet, then every two options
of all axes, and every model, vectorizer, precision and average in all combinations.
"""

import os
import random
import shutil
import signal
from contextlib import contextmanager
from itertools import cycle, product
from pathlib import Path

import pytest
from chaos_suite.equality import difference
from chaos_suite.jobs import (
    CORPORA,
    FILE,
    GROUPS,
    TAGGED,
    TAGGED_FILE,
    TEXT,
    axes,
    covering,
    dealt_out,
    once,
    overrides,
    pairs,
    taggers,
    writers,
)

from lm_research.callbacks.checkpoint import Checkpoint
from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli import fitting
from lm_research.cli.job import run
from lm_research.config.compose import compose

STEPS = 9
SHORT = (
    "budget=smoke",
    f"budget.train_tokens={STEPS * 2 * 8}",
    "budget.batch_size=2",
    "budget.window=8",
    "budget.train_bytes=6000",
    "budget.eval_bytes=400",
    "budget.hidden_size=8",
    "callbacks=quiet",
    "callbacks.metrics.every=5",
    "callbacks.evaluation.times=2",
    "callbacks.samples.length=2",
    "callbacks.checkpoint.every=3",
    "tracking=disabled",
    "trainer=cpu",
)
FULL = ("vectorizer", "precision", "averaging", "accumulate")


class GoneError(Exception):
    """The machine is gone."""


KNOWN = axes()


def every_way(model):
    """All ways of training it, with the axes that are left out dealt out to them."""
    spoken_for = ("model", *FULL, *CORPORA)
    others = {name: values for name, values in KNOWN.items() if name not in spoken_for}
    rest = cycle(overrides(others, row) for row in pairs(others))
    ways = product(*(KNOWN[name] for name in FULL))
    chosen = [[text for values in way for text in values] for way in ways]
    return [[*model, *way, *more] for way, more in zip(chosen, rest, strict=False)]


@contextmanager
def cut(step, warned):
    """The run ends at step ``step``: by a signal, after which it saves, or with no warning."""
    left = [step]
    batch_end, generate = Checkpoint.on_train_batch_end, fitting.generate

    def at_step(self, trainer, module, outputs, batch, batch_idx):
        if left and batch_idx + 1 == left[0]:
            left.clear()
            if not warned:
                raise GoneError
            os.kill(os.getpid(), signal.SIGTERM)
        batch_end(self, trainer, module, outputs, batch, batch_idx)

    def at_sample(*arguments):
        if left:  # a counted model has no steps, and one row, which is written by now
            left.clear()
            raise GoneError
        return generate(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "on_train_batch_end", at_step)
        patch.setattr(fitting, "generate", at_sample)
        yield


@pytest.fixture
def check(tmp_path, monkeypatch):
    """What differs between an undisturbed run and one that is cut once."""
    monkeypatch.chdir(tmp_path)
    Path(FILE).write_text(TEXT, encoding="utf-8")
    Path(TAGGED_FILE).write_text(TAGGED, encoding="utf-8")

    def check(options):
        config = compose([*SHORT, *options]).config
        rng = random.Random(" ".join(options))
        run(config, "whole")
        with cut(rng.randint(1, STEPS), rng.random() < 0.5), pytest.raises((GoneError, Stopped)):
            run(config, "again")
        run(config, "again")
        return difference(Path("whole"), Path("again"))

    return check


ROWS = once(KNOWN)


def test_every_option_is_among_them():
    assert {text for row in ROWS for text in row} >= {
        values[0] for name in GROUPS for values in KNOWN[name]
    }


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_every_option(check, row):
    assert check(row) is None


@pytest.mark.slow
@pytest.mark.parametrize("row", covering(KNOWN), ids=" ".join)
def test_every_two_ways_of_training_and_every_text(check, row):
    assert check(row) is None


@pytest.mark.slow
@pytest.mark.parametrize("row", dealt_out(taggers()))
def test_every_option_of_a_tagger(check, row):
    assert check([*row, "task.epochs=1"]) is None


@pytest.mark.slow
@pytest.mark.parametrize("row", dealt_out(writers()))
def test_every_option_of_a_writer(check, row):
    assert check([*row, "task.epochs=1"]) is None


@pytest.mark.slow
@pytest.mark.parametrize("row", pairs(KNOWN), ids=str)
def test_every_two_options(check, row):
    assert check(overrides(KNOWN, row)) is None


@pytest.mark.slow
@pytest.mark.parametrize("model", KNOWN["model"], ids="".join)
def test_every_way_of_training(check, model):
    told = {}
    for row in every_way(model):
        told[" ".join(row)] = check(row)
        shutil.rmtree("whole")
        shutil.rmtree("again")
    assert {row: fault for row, fault in told.items() if fault} == {}
