"""`data mix`: from run folders to weights that can be pasted."""

import json

import numpy as np
import pytest
import yaml

from lm_research.cli import data
from lm_research.cli.data_mix import MixError, recorded_mixtures
from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError

SOURCES = ("code", "tweets")


def record(folder, shares, losses, **more):
    """A finished run."""
    folder.mkdir(parents=True)
    config = {"data": {"name": "m", "weights": shares}, "seed": 1, **more.pop("config", {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "status.json").write_text(json.dumps({"state": more.pop("state", "done")}))
    summary = {f"eval/{name}/bits_per_byte": loss for name, loss in losses.items()}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "metrics.jsonl").write_text("")
    (folder / "data.json").write_text(json.dumps(more))


@pytest.fixture
def study(tmp_path):
    """Twelve mixtures whose mean loss is lowest at one half."""
    rng = np.random.default_rng(0)
    for number, share in enumerate(rng.permutation(np.linspace(0, 1, 12))):
        losses = {"code": 2 + np.exp(-2 * share), "tweets": 2 + np.exp(-2 * (1 - share))}
        shares = dict(zip(SOURCES, (float(share), float(1 - share)), strict=True))
        record(tmp_path / f"runs/{number}", shares, losses)
    return tmp_path / "runs"


def test_the_weights_can_be_pasted_and_are_the_optimum(study, capsys, tmp_path):
    output = tmp_path / "mix.json"
    arguments = ["mix", f"runs={study}", "resamples=10", f"output={output}", "law=exponential"]
    assert data.run(arguments) == 0
    told = json.loads(output.read_text())
    assert told["weights"]["code"]["share"] == pytest.approx(0.5, abs=0.02)
    assert told["loss"]["value"] == pytest.approx(2 + np.exp(-1), abs=1e-3)
    assert told["cross_validation"]["code"]["spearman"] == pytest.approx(1)
    printed = capsys.readouterr().out
    assert f"'{told['override']}'" in printed
    assert len(told["next"]) == 4
    weights = compose(["data=mixture", told["override"]]).config["data"]["weights"]
    assert weights == pytest.approx({n: w["share"] for n, w in told["weights"].items()}, abs=1e-3)


def test_shares_are_those_that_were_read_and_seeds_are_averaged(tmp_path):
    losses = {"code": 2.0, "tweets": 3.0}
    record(tmp_path / "asked", {"code": 1, "tweets": 3}, losses)
    record(tmp_path / "seed", {"code": 1, "tweets": 3}, {"code": 4.0, "tweets": 5.0})
    cards = {"code": {"share": 0.6}, "tweets": {"share": 0.4}}
    record(tmp_path / "sampled", {"code": 1, "tweets": 1}, losses, mixture=cards)
    achieved = {"code": 0.1, "tweets": 0.9}
    record(tmp_path / "stored", {"code": 1, "tweets": 1}, losses, achieved=achieved)
    alone = {"config": {"data": {"name": "code"}, "choices": {"data": "code"}}}
    record(tmp_path / "alone", {}, losses, **alone)
    other = {"config": {"data": {"name": "bible"}, "choices": {"data": "bible"}}}
    record(tmp_path / "other", {}, losses, **other)
    record(tmp_path / "failed", {"code": 1, "tweets": 9}, losses, state="failed")
    found = recorded_mixtures(str(tmp_path), "bits_per_byte")
    by_share = dict(zip(found.weights_RM[:, 0].round(3).tolist(), found.losses_RE, strict=True))
    assert sorted(by_share) == [0.1, 0.25, 0.6, 1.0]
    assert by_share[0.25].tolist() == [3.0, 4.0]


def test_what_is_missing_is_told(study, tmp_path):
    with pytest.raises(ConfigError, match=r"runs=FOLDER or sweep=NAME"):
        data.run(["mix"])
    with pytest.raises(MixError, match="no such folder"):
        data.run(["mix", f"runs={tmp_path / 'nowhere'}"])
    with pytest.raises(
        MixError, match=r"news has eval/SOURCE/bits_per_byte in every run; all have"
    ):
        data.run(["mix", f"runs={study}", "evaluations=news"])
    with pytest.raises(MixError, match="12 mixtures; it needs at least 21"):
        data.run(["mix", f"runs={study}", "law=boosted"])
    kept = tmp_path / "kept.json"
    kept.write_text("mine")
    with pytest.raises(ConfigError, match=r"output=.*is there already"):
        data.run(["mix", f"runs={study}", f"output={kept}"])
    assert kept.read_text() == "mine"
