"""``init_from``: a run starts from a language model's run, says so, and goes on without it."""

import hashlib
import json
import os
import shutil

import pytest
import torch

from lm_research.cli.assembly import assemble
from lm_research.cli.job import run as run_job
from lm_research.cli.saved import SavedRunError, load
from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.tasks.transfer import TransferError
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.run_identity import config_hash

LM = ("data=tweets", "text=word", "model=lstm", "budget.num_layers=2", "budget.hidden_size=8")
TASK = (
    *("task=classification", "data=tweets", "task.epochs=4", "budget.batch_size=16"),
    "budget.train_bytes=5000",
)
ULMFIT = (
    *("transfer.gradual_unfreezing=epoch", "transfer.discriminative=2.6"),
    *("scheduler=slanted_triangular", "model.dropout=0.2", "optimizer.lr=0.05"),
)
CLOCK = ("seconds", "perf/tokens_per_s")


def weights(folder):
    path = CheckpointStore(folder / "checkpoints").path("last")
    return torch.load(path, weights_only=True)["state_dict"]


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in lines]


def problems(tiny, *overrides):
    with pytest.raises(ConfigError) as error:
        compose([*tiny, *TASK, *overrides])
    return str(error.value)


@pytest.fixture(scope="module")
def made(tmp_path_factory, cache):
    """A language model's run, which no test may write to."""
    from ..conftest import TINY

    folder = tmp_path_factory.mktemp("lm") / "lm"
    config = compose([*TINY, *LM, "optimizer.lr=0.05", f"cache={cache}"]).config
    run_job(config, folder)
    return folder


@pytest.fixture
def lm(made, tmp_path, monkeypatch):
    """A copy of it, ``lm`` in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "lm")
    return tmp_path / "lm"


def test_a_frozen_encoder_is_the_language_model_and_is_on_record(train, lm, read_json):
    folder = train(*TASK, "init_from=lm", "transfer.freeze=encoder", "optimizer.lr=0.05")
    source, found = weights(lm), weights(folder)
    shared = [name for name in found if name.startswith(("vectorizer.", "model."))]
    assert len(shared) == 9  # the embedding, and four matrices and biases a layer
    for name in shared:
        assert torch.equal(found[name], source[name]), name
    assert (
        read_json(folder / "tokenizer.json")["tokenizer"]
        == read_json(lm / "tokenizer.json")["tokenizer"]
    )
    config, summary = RunFolder(folder).config, read_json(folder / "summary.json")
    assert config["transfer"]["source"]["data"] == "tweets"
    entry = CheckpointStore(lm / "checkpoints").entry("last")
    assert summary["init_from/sha256"] == config["transfer"]["source"]["sha256"] == entry.sha256
    assert summary["init_from/step"] == entry.step == 16
    assert summary["init_from/bits_per_byte"] == read_json(lm / "summary.json")["val/bits_per_byte"]
    assert config["choices"]["text"] == "word"


def test_what_contradicts_the_run_is_refused_with_what_it_has(tiny, lm):
    said = problems(
        tiny,
        *("init_from=lm", "model=gru", "text=byte", "vectorizer=one_hot", "model.num_layers=3"),
        "budget.hidden_size=16",
    )
    for field, allowed in (
        ("model=gru", "model=lstm"),
        ("text=byte", "text=word"),
        ("vectorizer=one_hot", "vectorizer=embedding"),
        ("budget.hidden_size=16", "budget.hidden_size=8"),
    ):
        assert f"  {field}: is not that of the run which init_from names" in said
        assert f"allowed: {allowed}; or leave it out" in said


def test_what_agrees_may_be_said_and_dropout_may_differ(tiny, lm):
    own = ("model=lstm", "text=word", "budget.hidden_size=8", "model.dropout=0.4")
    config = compose([*tiny, *TASK, "init_from=lm", *own]).config
    assert config["model"]["dropout"] == 0.4
    assert config["model"]["num_layers"] == config["budget"]["num_layers"] == 2


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["init_from=nowhere"], ["init_from=nowhere: no run at nowhere"]),
        (
            ["init_from=lm", "transfer.freeze=3", "trainer.devices=2", *ULMFIT[:2]],
            ["more than the model's layers (2)", "trainer.devices=2: is for runs from scratch"],
        ),
        (["init_from=lm", "transfer.freeze=encoder", *ULMFIT[:1]], ["has nothing to unfreeze"]),
        (
            ["init_from=lm", "transfer.freeze=half", "transfer.discriminative=0.5"],
            ["transfer.freeze=half", "transfer.discriminative=0.5"],
        ),
        (["transfer.freeze=encoder"], ["transfer.freeze: is about the run that init_from names"]),
        (["init_from=lm*"], ["fits 2 runs"]),
    ],
)
def test_mistakes_are_told_before_anything_starts(tiny, lm, overrides, said):
    shutil.copytree(lm, lm.with_name("lm2"))
    text = problems(tiny, *overrides)
    assert [part for part in said if part not in text] == []


def test_epochs_are_of_documents(tiny, lm):
    with pytest.raises(ConfigError, match="this task has none"):
        compose([*tiny, "init_from=lm", "transfer.gradual_unfreezing=epoch"])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("config.yaml", ("language_modeling.LanguageModeling", "classification.Classification"),
         "no language model"),
        ("config.yaml", ("models.lstm.LSTM", "models.ngram.KneserNey"), "counted model"),
        ("config.yaml", ("seed: 1", "seed: !!python/name:os.system"), "tag"),
        ("config.yaml", ("lm_research.models.lstm.LSTM", "os.mkdir"), "allow-list"),
        ("config.yaml", ("hidden_size: 8", "hidden_size: [8]"), "hidden_size"),
        ("checkpoints/index.json", ('"step": ', '"step": "x'), "cannot be read"),
        ("checkpoints/index.json", ('"sha256": ', '"sha256": 3, "x": '), "sha256"),
    ],
)  # fmt: skip
def test_a_strangers_folder_is_told_of(tiny, lm, name, change, said):
    text = (lm / name).read_text()
    assert change[0] in text
    (lm / name).write_text(text.replace(*change))
    assert said in problems(tiny, "init_from=lm")


def test_a_checkpoint_runs_no_code(tiny, lm, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, ("made",)

    file = lm / "checkpoints/step-00000099.ckpt"
    torch.save({"state_dict": Evil()}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = {"file": file.name, "step": 99, "bytes": file.stat().st_size, "sha256": digest}
    (lm / "checkpoints/index.json").write_text(json.dumps({"format": 1, "checkpoints": [entry]}))
    config = compose([*tiny, *TASK, "init_from=lm"]).config
    with pytest.raises(SavedRunError, match=r"step-00000099\.ckpt: damaged"):
        run_job(config, tmp_path / "run")
    assert not (tmp_path / "made").exists()


def test_the_identity_is_of_what_was_loaded_not_of_where_it_lay(tiny, lm, tmp_path):
    first = compose([*tiny, *TASK, "init_from=lm"]).config
    shutil.copytree(lm, tmp_path / "elsewhere")
    assert config_hash(compose([*tiny, *TASK, "init_from=else*"]).config) == config_hash(first)
    index = json.loads((lm / "checkpoints/index.json").read_text())
    index["checkpoints"] = index["checkpoints"][:1]
    (lm / "checkpoints/index.json").write_text(json.dumps(index))
    other = compose([*tiny, *TASK, "init_from=lm"]).config
    assert config_hash(other) != config_hash(first)
    with pytest.raises(TransferError, match="is not the one that was meant"):
        run_job(first, tmp_path / "run")


def test_a_run_from_scratch_is_what_it_was_before_there_was_transfer(tiny):
    config = compose([*tiny, *TASK]).config
    assert "init_from" not in config
    assert "transfer" not in config


def test_a_cut_run_ends_like_an_undisturbed_one_without_its_source(train, lm, cut):
    options = (*TASK, "init_from=lm", *ULMFIT, "callbacks.metrics.every=2")
    whole = train(*options, "output=whole", output="whole")
    assert len(rows(whole)) > 5
    cut(7, *options, "output=cut")
    source = weights(lm)
    shutil.rmtree(lm)
    again = train(*options, "output=cut", output="cut")
    assert rows(again) == rows(whole)
    first, second = weights(whole), weights(again)
    assert all(torch.equal(first[name], second[name]) for name in first)
    shared = [name for name in source if name.startswith(("vectorizer.", "model."))]
    assert not any(torch.equal(source[name], first[name]) for name in shared)  # all were opened
    saved = load(str(again), "last")  # which needs no source either
    assert saved.config["model"]["num_layers"] == 2


def test_a_language_model_is_trained_on_with_other_text(tiny, lm):
    config = compose([*tiny, "init_from=lm", "data=bbc_news"]).config
    source, found = weights(lm), assemble(config).model.state_dict()
    assert source.keys() == found.keys()
    assert all(torch.equal(source[name], found[name]) for name in source)  # the output layer, too


@pytest.mark.parametrize("vocabulary", ["shared", "separate"])
def test_an_encoder_of_translations(tiny, lm, tmp_path, vocabulary):
    lines = [json.dumps({"text": f"a cat number {n}", "target": f"Katze {n}"}) for n in range(200)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    files = ("data=files", "data.paths=[pairs.jsonl]", "data.target_field=target")
    task = ("task=translation", f"task.vocabulary={vocabulary}", "init_from=lm")
    assembly = assemble(compose([*tiny, *files, *task]).config)
    source, found = weights(lm), assembly.model.state_dict()
    shared = [name for name in source if name.startswith(("vectorizer.", "model."))]
    assert all(torch.equal(source[name], found[name]) for name in shared)
    prepared = assembly.data.prepared
    kept = json.loads((lm / "tokenizer.json").read_text())["tokenizer"]
    assert prepared.tokenizer.state_dict() == kept
    if vocabulary == "separate":  # learned from the targets
        assert "Katze" in json.dumps(prepared.target_tokenizer.state_dict())
