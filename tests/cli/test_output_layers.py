"""``output_layer=``: a run is resumed, scored, sampled, exported and started from with each."""

import json

import pytest
import torch

from lm_research.cli.evaluate import Options, score
from lm_research.cli.job import run
from lm_research.cli.saved import load
from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.hub.folder import exported_config
from lm_research.tasks.generation import generate
from lm_research.tasks.sampling import Sampling
from lm_research.tasks.transfer import TransferError
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.run_identity import config_hash

LM = ("data=tweets", "text=word", "model=gru")
KINDS = ("adaptive", "sampled", "nce")
FEW = {"sampled": ("output_layer.samples=64",), "nce": ("output_layer.samples=64",)}


def options(kind):
    return (*LM, f"output_layer={kind}", *FEW.get(kind, ()))


def weights(folder):
    file = CheckpointStore(folder / "checkpoints").path("last")
    return torch.load(file, weights_only=True)["state_dict"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_run_goes_on_bit_for_bit_and_is_used(kind, train, tmp_path, tiny, cut):
    whole = weights(train(*options(kind), output="whole"))
    cut(5, *options(kind))
    folder = train(*options(kind), output="cut")
    again = weights(folder)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    summary = json.loads((folder / "summary.json").read_text())
    found = score(Options(run=str(folder)), None)["bits_per_byte"]
    assert found == pytest.approx(summary["val/bits_per_byte"], rel=1e-6)
    assert summary["train/flops"] < 3 * 1024 * summary["model/flops_per_token"]
    saved = load(str(folder))
    assert list(generate(saved.model, saved.tokenizer, "I", 4, Sampling(temperature=0)))
    assert exported_config(saved)["run"]["output_layer"] == saved.config["output_layer"]


def test_it_starts_from_a_run_with_its_output_layer_or_one_of_the_same_weights(train, tmp_path):
    source = train(*options("adaptive"), output="adaptive")
    more = ("data=bbc_news", f"init_from={source}", "budget.train_bytes=40000")
    taken = train(*more, "optimizer.lr=1e-12", output="more")
    before, after = weights(source), weights(taken)
    assert torch.equal(before["head.rank_V"], after["head.rank_V"])
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-6)
    config = load(str(taken)).config
    assert config["choices"]["output_layer"] == "adaptive"
    with pytest.raises(TransferError, match="weights of the head do not go"):
        train(*more, "output_layer=full", output="other")
    sampled = train(*options("sampled"), output="sampled")
    train("data=tweets", f"init_from={sampled}", "output_layer=full", output="exact")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("output_layer=adaptive", "task.tie_weights=true"), r"task\.tie_weights=true.*clu"),
        (("output_layer=nce", "task.label_smoothing=0.1"), r"task\.label_smoothing=0\.1.*0\.0"),
        (("output_layer=adaptive", "output_layer.cutoffs=[9,3]"), r"cutoffs.*\[9, 3\].*rise"),
        (("output_layer=adaptive", "output_layer.factor=0"), r"factor.*at least 1"),
        (("output_layer=sampled", "output_layer.samples=0"), r"samples.*at least 1"),
        (("output_layer=sampled", "output_layer.proposal=zipf"), r"proposal.*unigram"),
        (("output_layer=sampled", "task=tagging", "data=conll2000"), r"output_layer=full"),
    ],
)
def test_what_does_not_go_together_is_told_at_once(overrides, told):
    with pytest.raises(ConfigError, match=f"(?s){told}"):
        compose(overrides)


def test_the_full_softmax_is_what_a_run_of_before_had(tiny):
    now = compose([*tiny, *LM]).config
    before = {name: node for name, node in now.items() if name != "output_layer"}
    assert config_hash(now) == config_hash(before)
    other = compose([*tiny, *LM, "output_layer=nce"]).config
    assert config_hash(other) != config_hash(before)


def test_all_come_near_the_full_softmax(tmp_path, tiny):
    """Bits per byte of a few seconds' training, each within 6 % of the full softmax's."""
    learned = ("budget.train_tokens=40000", "budget.hidden_size=32", "optimizer.lr=0.01")
    scores = {}
    for kind in ("full", *KINDS):
        run(compose([*tiny, *options(kind), *learned]).config, tmp_path / kind)
        summary = json.loads((tmp_path / kind / "summary.json").read_text())
        scores[kind] = summary["val/bits_per_byte"]
    assert scores == pytest.approx(dict.fromkeys(scores, scores["full"]), rel=0.06), scores
