"""Every option of conf/: a run that is cut at some step ends like an undisturbed one, to the bit.

By default every two ways of training meet in some run, and every source and text option occurs;
marked slow, every two options of all axes meet, and every model, vectorizer, precision and average
in all combinations.
"""

import os
import random
import signal
from contextlib import contextmanager
from itertools import cycle, product

import pytest
from chaos_suite.equality import difference
from chaos_suite.jobs import TEXT, axes, clashes, overrides, pairs

from lm_research.callbacks.checkpoint import Checkpoint
from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli import fitting
from lm_research.config.paths import shipped

STEPS = 12
SHORT = (
    f"budget.train_tokens={STEPS * 2 * 8}",
    "budget.batch_size=2",
    "budget.window=8",
    "budget.train_bytes=6000",
    "budget.eval_bytes=400",
    "callbacks.metrics.every=5",
    "callbacks.evaluation.times=3",
    "callbacks.samples.length=3",
    "callbacks.checkpoint.every=3",
)
CORPORA = ("data", "text")
FULL = ("vectorizer", "precision", "averaging", "accumulate")


class GoneError(Exception):
    """The machine is gone."""


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    return axes(folder)


def covering(known):
    """Rows of overrides: pairs of the ways of training, with sources and texts dealt out to them."""
    ways = {name: values for name, values in known.items() if name not in CORPORA}
    rows = [overrides(ways, row) for row in pairs(ways)]
    return [[*row, *corpus] for row, corpus in zip(rows, cycle(corpora(known)))]


def corpora(known):
    """Every source and every text option, each at least once."""
    both = {name: known[name] for name in CORPORA}
    most = max(len(values) for values in both.values())
    clash = {(i, j) for _, i, _, j in clashes(both)}
    sources, texts = list(range(len(both["data"]))), cycle(range(len(both["text"])))
    dealt = [(i, next(j for j in texts if (i, j) not in clash)) for i in sources]
    assert len(dealt) == most
    assert {j for _, j in dealt} == set(range(len(both["text"])))
    return [overrides(both, row) for row in dealt]


@contextmanager
def cut(step, warned):
    """The run ends at step ``step``: by a signal, after which it saves, or with no warning."""
    left = [step]
    batch_end, as_numbers = Checkpoint.on_train_batch_end, fitting.as_numbers

    def at_step(self, trainer, module, outputs, batch, batch_idx):
        if left and batch_idx + 1 == left[0]:
            left.clear()
            if not warned:
                raise GoneError
            os.kill(os.getpid(), signal.SIGTERM)
        batch_end(self, trainer, module, outputs, batch, batch_idx)

    def at_scores(*arguments):
        if left:  # a counted model has no steps
            left.clear()
            raise GoneError
        return as_numbers(*arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises((GoneError, Stopped)):
        patch.setattr(Checkpoint, "on_train_batch_end", at_step)
        patch.setattr(fitting, "as_numbers", at_scores)
        yield


def check(train, number, options):
    """What differs between an undisturbed run and one that is cut once."""
    whole, run = f"{number}-whole", f"{number}-cut"
    train(*SHORT, *options, output=whole)
    with cut(random.Random(number).randint(1, STEPS), warned=bool(number % 2)):
        train(*SHORT, *options, output=run)
    again = train(*SHORT, *options, output=run)
    return difference(again.with_name(whole), again)


def check_all(train, rows):
    told = {" ".join(row): check(train, number, row) for number, row in enumerate(rows)}
    assert {row: fault for row, fault in told.items() if fault} == {}


def test_every_two_ways_of_training_and_every_text(train, known):
    rows = covering(known)
    assert len(rows) >= max(map(len, known.values()))
    check_all(train, rows)


@pytest.mark.slow
def test_every_two_options(train, known):
    check_all(train, [overrides(known, row) for row in pairs(known)])


@pytest.mark.slow
@pytest.mark.parametrize("model", [file.stem for file in shipped("conf").glob("model/*.yaml")])
def test_every_way_of_training(train, known, model):
    spoken_for = ("model", *FULL, *CORPORA)
    others = {name: values for name, values in known.items() if name not in spoken_for}
    rest = cycle(overrides(others, row) for row in pairs(others))
    ways = product(*(known[name] for name in FULL))
    chosen = [[text for values in way for text in values] for way in ways]
    check_all(train, [[f"model={model}", *way, *more] for way, more in zip(chosen, rest)])
