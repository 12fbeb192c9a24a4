"""Shared by all tests: a cache of their own, one thread, and tiny runs through the real command."""

import json
import os
import signal
import sys
from collections import Counter
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, settings

# For `make mutation`: every mutant meets the same examples, and its first failure is enough.
settings.register_profile(
    "mutation",
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton
# A shell's background job ignores Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before the slow ones are left out
def pytest_collection_modifyitems(items):
    """Cases left to `make test-all`; quick tests first where mutmut has measured them."""
    _leave_cases_to_the_long_suite(items)
    measured = Path("mutmut-stats.json")
    if measured.exists():
        durations = json.loads(measured.read_text())["duration_by_test"]
        items.sort(key=lambda item: durations.get(item.nodeid, 0))


def _leave_cases_to_the_long_suite(items):
    """Of a test marked one_in(n), of every n cases in turn the first, the second, ... is kept.

    Where axes are crossed, all values of each occur in what is kept.
    """
    met = Counter()
    for item in items:
        if marker := item.get_closest_marker("one_in"):
            share, test = marker.args[0], item.nodeid.partition("[")[0]
            if met[test] % share != met[test] // share % share:
                item.add_marker("slow")
            met[test] += 1


@pytest.fixture(scope="session")
def cache(tmp_path_factory, worker_id) -> Path:
    """Token stores of this test session, shared by its tests and worker processes."""
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "cache"


@pytest.fixture(autouse=True)
def _own_cache(cache, monkeypatch):
    monkeypatch.setenv("LM_RESEARCH_CACHE", str(cache))


@pytest.fixture(autouse=True)
def _kernels_interpreted_in_their_own_tests_alone(request, monkeypatch):
    """Elsewhere models on a CPU take the path that a user's take, a hundred times faster."""
    if request.path.parent.name not in ("kernels", "benchmarks"):
        monkeypatch.delenv("TRITON_INTERPRET", raising=False)


TINY = (
    "budget=smoke",
    "budget.train_tokens=1024",
    "budget.batch_size=4",
    "budget.window=16",
    "budget.hidden_size=8",
    "budget.train_bytes=20000",
    "budget.eval_bytes=1000",
    "callbacks=quiet",
    "callbacks.samples.length=5",
    "tracking=disabled",
    "trainer=cpu",
)
"""Overrides of a run that takes a fraction of a second."""


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """:data:`TINY`, for tests that start processes."""
    return TINY


@pytest.fixture
def train(tmp_path):
    """Compose overrides, train in this process, and return the run's folder."""
    from lm_research.cli.job import run
    from lm_research.config.compose import compose

    def train(*overrides: str, output: str = "run") -> Path:
        folder = tmp_path / output
        run(compose([*TINY, *overrides]).config, folder)
        return folder

    return train


@pytest.fixture
def at_step(monkeypatch):
    """Do something at the end of a step, once, before the checkpoint callback has its turn."""
    from lm_research.callbacks.checkpoint import Checkpoint

    def at_step(step, action):
        proper, done = Checkpoint.on_train_batch_end, []

        def hook(self, trainer, module, outputs, batch, index):
            if index + 1 == step and not done:
                done.append(step)
                action()
            proper(self, trainer, module, outputs, batch, index)

        monkeypatch.setattr(Checkpoint, "on_train_batch_end", hook)

    return at_step


@pytest.fixture
def cut(train, at_step):
    """Train up to a signal at the end of a step, in the folder ``cut``; later runs go on."""
    from lm_research.callbacks.stop_signals import Stopped

    def cut(step: int, *overrides: str) -> None:
        at_step(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped):
            train(*overrides, output="cut")

    return cut


TRAINING_TEXT = (
    "The cat sat on the mat, and the dog, who had no mat, sat on the cat. Then they slept.",
    "A model counts what follows what: \u00e9\u00e8 \u4e2d\u6587 \u20ac 12.5%\n\nEnd.",
    "the the the cat cat dog \t mat mat and and on on sat sat",
)


@pytest.fixture(scope="session")
def saved():
    """A run as it comes back from its folder, untrained: overrides -> SavedRun, a new one."""
    from lm_research.cli.assembly import build_model
    from lm_research.cli.saved import SavedRun
    from lm_research.config.build import build
    from lm_research.config.compose import compose
    from lm_research.tasks.counted import CountedLanguageModel

    composed = lru_cache(lambda *overrides: compose([*TINY, *overrides]).config)

    def saved(*overrides: str) -> SavedRun:
        import numpy as np
        import torch

        config = deepcopy(composed(*overrides))
        paired = config["task"].get("vocabulary")
        tokenizer = build(config["text"]["tokenizer"])
        tokenizer.train(TRAINING_TEXT)
        targets = None
        if paired == "separate":
            targets = build(config["text"]["tokenizer"])
            targets.train(TRAINING_TEXT[:1])
        torch.manual_seed(0)
        model = build_model(
            config, tokenizer, None, classes=["good", "bad", "ugly"], target_tokenizer=targets
        )
        documents = [tokenizer.encode(text).ids_N for text in TRAINING_TEXT]
        if isinstance(model, CountedLanguageModel):
            model.model.fit(np.concatenate([[0, *ids_N] for ids_N in documents]))
            return SavedRun(config, tokenizer, model, targets)
        for vectorizer in filter(None, (model.vectorizer, getattr(model, "target_vectorizer", 0))):
            if vectorizer.needs_fit:
                vectorizer.fit(documents)
        return SavedRun(config, tokenizer, model.eval(), targets)

    return saved


@pytest.fixture
def read_json():
    """Read a JSON file."""
    return lambda path: json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.fixture(scope="session", autouse=True)
def _logging_of_absl_keeps_off_what_is_captured():
    """absl (Keras, rouge-score) takes sys.stderr for its own when it is imported.

    In a test that is what pytest captures, and absl closes it when Hydra configures logging, after
    which no later test of the process can be captured.
    """
    from absl.logging import get_absl_handler

    get_absl_handler().python_handler.setStream(sys.__stderr__)


@pytest.fixture(scope="session")
def keras(tmp_path_factory):
    """Keras on PyTorch, on the CPU, with a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_TORCH_DEVICE", "cpu")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        keras = pytest.importorskip("keras")
        assert keras.backend.backend() == "torch"
        yield keras
