"""Every experiment, a few steps of it: its own configuration, by the way that the command goes.

An experiment that is new is found here by itself. Data are its own where they are at hand
(LM_RESEARCH_DOWNLOADS), else those of a source that pip brings; vectors likewise.
"""

import json
import math
import shutil
from pathlib import Path

import pytest

from lm_research.cli.job import run
from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.config.expected import FILE, read_expected
from lm_research.config.paths import experiments, studies
from lm_research.config.task_rules import CLASSIFICATION, LANGUAGE_MODELING, SEQUENCE_TO_SEQUENCE
from lm_research.config.untrusted import load_yaml
from lm_research.data.downloads import Downloads, RemoteFile
from lm_research.studies.experiments import METHOD, claims_equality, find
from lm_research.studies.plan import override_text

STEPS = 2
SHORT = (
    "budget.train_bytes=60000",
    "budget.eval_bytes=3000",
    "callbacks.evaluation.times=1",
    "callbacks.metrics.every=1",
    "callbacks.samples.length=2",
    "tracking=disabled",
    "trainer.accelerator=cpu",
)
SLOW = (
    *("awd_lstm_ptb", "bai_char_ptb", "bai_word_ptb", "char_cnn_ag_news", "fasttext_ag_news"),
    *("karpathy_war_and_peace", "keras_lstm", "lium_cvc_multi30k", "min_rnn_shakespeare"),
    *("multi30k_gru", "multi30k_transformer", "nanogpt_shakespeare_char_gpu"),
    *("zaremba_large", "zaremba_medium"),
)
"""Over four seconds, or gigabytes that a process keeps, which makes every later fork of it slow."""
AT_HAND = {
    LANGUAGE_MODELING: "code",
    CLASSIFICATION: "tweets",
    SEQUENCE_TO_SEQUENCE: "interface_en",
}
"""By task, a source that needs no download."""


def settings(folder):
    """The first run of every row that has a setting of its own."""
    if not (folder / FILE).exists() or claims_equality(folder):
        return [{}]
    firsts = [row.settings()[0] for row in read_expected(folder / FILE).rows]
    return [setting for n, setting in enumerate(firsts) if setting not in firsts[:n]]


def cases():
    for name, file in dict(studies("experiments")).items():
        marks = [pytest.mark.slow] if name in SLOW else []
        for number, setting in enumerate(settings(file.parent), start=1):
            yield pytest.param(name, setting, id=f"{name}-{number}", marks=marks)


def short(name, setting):
    """The experiment with a budget of a few steps; an epoch of whole documents."""
    own = [f"experiment={name}", *(f"{k}={override_text(v)}" for k, v in setting.items())]
    config = compose([*own, *SHORT]).config
    budget = config["budget"]
    tokens = STEPS * budget["batch_size"] * budget["window"]
    config["budget"] = {**budget, "train_tokens": tokens}
    if "epochs" in config["task"]:
        config["task"] = {**config["task"], "epochs": 1}
    return config


def is_here(config):
    """Whether every file of the data is in the folder of downloads."""
    downloads = Downloads(config["downloads"])
    return all(downloads.find(build(file)) for file in config["data"].get("files") or [])


def vectors(config, folder):
    """A file of vectors for a few words, in place of one that is not here."""
    path = config["vectorizer"].get("path")
    if path is None or Path(path).exists():
        return
    numbers = " ".join(["0.1"] * config["vectorizer"]["dim"])
    file = folder / "vectors.txt"
    file.write_text("".join(f"{word} {numbers}\n" for word in ("the", "a", "of", "film")))
    config["vectorizer"] = {**config["vectorizer"], "path": str(file)}


@pytest.mark.parametrize(("name", "setting"), cases())
def test_a_few_steps_of_every_experiment(name, setting, tmp_path, read_json):
    config = short(name, setting)
    if not is_here(config):
        config["data"] = compose([f"data={AT_HAND[config['task']['_target_']]}"]).config["data"]
    vectors(config, tmp_path)
    run(config, tmp_path / "run")
    assert read_json(tmp_path / "run/status.json")["state"] == "done"
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    losses = [row["train/loss_nats"] for row in map(json.loads, lines) if "train/loss_nats" in row]
    assert all(map(math.isfinite, losses))
    assert len(losses) >= STEPS or "ngram" in config["model"]["_target_"]
    assert math.isfinite(read_json(tmp_path / "run/summary.json")["val/loss_nats"])
    shutil.rmtree(tmp_path / "run")  # checkpoints may be large


METHODS = [name for name, folder in experiments().items() if (folder / METHOD).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_the_numbers_that_its_rows_ask_for(name):
    """On its own data, where they are here: what a method reads is its own affair."""
    experiment = find(name)
    option = experiment.expected.data.option
    config = compose([f"data={option}"] if option else []).config
    source = build(config["data"]) if option else None
    row, downloads = experiment.expected.rows[0], Downloads(config["downloads"])
    method = build({**load_yaml(experiment.method.read_bytes()), **row.setting})
    files = [RemoteFile(file, [], None) for file in method.files(source)]
    if missing := [file.name for file in files if not downloads.find(file)]:
        pytest.skip(f"not downloaded (LM_RESEARCH_DOWNLOADS): {', '.join(missing)}")
    found = method.measure(source, downloads, 1, lambda done, whole: None)
    assert {row.metric for row in experiment.expected.rows} <= found.keys()
    assert math.isfinite(found[row.metric])
