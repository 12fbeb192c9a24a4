"""`evaluate protocol=...`, and rows of an experiment that have one."""

import json

import pytest
import yaml

from lm_research.cli.evaluate import Options, score
from lm_research.cli.evaluate import run as evaluate
from lm_research.cli.reproduce_runs import measure
from lm_research.config.build import build
from lm_research.config.compose import compose, compose_option
from lm_research.config.expected import read_expected
from lm_research.config.paths import experiments, shipped
from lm_research.config.problems import ConfigError
from lm_research.studies.experiments import find
from lm_research.tasks.protocols.protocol import Protocol, ProtocolError

OPTIONS = sorted(file.stem for file in shipped("conf").glob("protocol/*.yaml"))
SGD = {
    "_target_": "lm_research.tasks.protocols.dynamic_sgd.DynamicSGD",
    "rate": 0.5,
    "segment": 4,
    "decay": 0.0,
}


def last(run):
    return json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])


def files_of(folder):
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_protocol_is_recorded_and_the_run_left_as_it_is(train, option, capsys):
    run = train("data=code", "model=gru", "vectorizer=embedding")
    before = files_of(run)
    assert evaluate([f"run={run}", f"protocol={option}"]) == 0
    found = last(run)
    assert found["protocol"] == compose_option("protocol", [f"protocol={option}"])
    assert evaluate([f"run={run}", f"protocol={option}", "window=7"]) == 0
    assert last(run)["loss_nats"] == pytest.approx(found["loss_nats"], rel=1e-5)
    assert evaluate([f"run={run}"]) == 0
    static = last(run)
    assert "protocol" not in static
    assert static["loss_nats"] != found["loss_nats"]
    assert static["text_sha256"] == found["text_sha256"]
    after = files_of(run)
    del after[run / "evaluations.jsonl"]
    assert after == before


def test_a_protocol_of_another_source_and_of_ones_own_fields(train, capsys):
    run = train("data=code", "model=rnn", "vectorizer=embedding")
    for rate in (0.5, 0.1):
        command = [f"run={run}", "data=tweets", "protocol=dynamic_sgd", f"protocol.rate={rate}"]
        assert evaluate(command) == 0
        assert (last(run)["protocol"]["rate"], last(run)["data"]) == (rate, "tweets")
    assert evaluate([f"run={run}", "data=tweets", "protocol=dynamic_rms"]) == 0  # reads code, too
    assert last(run)["data"] == "tweets"


def test_mistakes_are_told(train):
    run = train("data=code", "model=ngram")
    for arguments, told in (
        (["protocol=dynamic_sdg"], "did you mean `dynamic_sgd`"),
        (["protocol=dynamic_sgd", "protocol.rate=-1"], r"protocol\.rate=-1: is out of range"),
        (["protocol=dynamic_sgd", "protocol.rates=1"], "has no field `rates`"),
        (["protocol.rate=1"], "protocol has fields once an option of it is chosen"),
        (["protocol=neural_cache", "protocol.share=1"], r"protocol\.share=1: is out of range"),
    ):
        with pytest.raises(ConfigError, match=told):
            evaluate([f"run={run}", *arguments])
    with pytest.raises(ProtocolError, match="a counted model"):
        evaluate([f"run={run}", "protocol=dynamic_sgd"])
    assert evaluate([f"run={run}", "protocol=neural_cache", "protocol.theta=0"]) == 0


def test_a_run_of_another_task_has_none(train):
    run = train("task=classification", "data=tweets", "model=bag", "task.epochs=1")
    with pytest.raises(ConfigError, match=r"protocol.*is how a language model reads"):
        score(Options(run=str(run)), None, SGD)


def test_training_has_no_protocol():
    with pytest.raises(ConfigError, match=r"(?s)protocol=DynamicSGD.*lm-research evaluate"):
        compose(["protocol=dynamic_sgd"])
    assert "protocol" not in compose([]).config
    assert compose_option("protocol", []) is None


def test_a_protocol_of_ones_own(tmp_path):
    (tmp_path / "protocol").mkdir()
    text = yaml.safe_dump({**SGD, "rate": 0.25})
    (tmp_path / "protocol/mine.yaml").write_text(text)
    node = compose_option("protocol", ["protocol=mine"], str(tmp_path))
    assert node["rate"] == 0.25
    assert isinstance(build(node), Protocol)


EXPECTED = {
    "paper": "A. Author (2020)",
    "table": "Table 1",
    "direction": "minimize",
    "deterministic": False,
    "seeds": [1],
    "data": {"files": {}},
    "cost": {"cpu": "5 s", "gpu": "none"},
    "sources": {},
}
TINY = {
    "defaults": [{"override /callbacks": "quiet"}, {"override /tracking": "disabled"}],
    "budget": {
        "train_tokens": 512, "batch_size": 4, "window": 16, "hidden_size": 8, "num_layers": 1,
        "train_bytes": 20000, "eval_bytes": 500,
    },
    "callbacks": {"samples": {"length": 2}},
    "trainer": {"precision": "32-true"},
}  # fmt: skip


def test_rows_with_a_protocol_are_of_the_same_run(tmp_path, monkeypatch, read_json):
    """One run, three rows: its own score, and two readings of it, each found once."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments/mine"
    folder.mkdir(parents=True)
    row = {"published": 3, "mark": "V", "tolerance": 9, "why": "so", "metric": "val/loss_nats"}
    rows = [
        {**row, "name": "static"},
        {**row, "name": "dynamic", "protocol": SGD},
        {**row, "name": "dynamic, test", "metric": "test/loss_nats", "protocol": SGD},
    ]
    (folder / "expected.yaml").write_text(yaml.safe_dump({**EXPECTED, "rows": rows}))
    (folder / "config.yaml").write_text(yaml.safe_dump(TINY))
    found = [measure(find("mine"), ["trainer=cpu", "output=runs"]).values for _ in range(2)]
    assert found[0] == found[1]
    (file,) = (tmp_path / "runs").rglob("summary.json")
    assert found[0]["static"] == {1: read_json(file)["val/loss_nats"]}
    lines = (file.parent / "evaluations.jsonl").read_text().splitlines()
    told = {(row["split"], row["loss_nats"]) for row in map(json.loads, lines)}
    assert told == {
        ("validation", found[0]["dynamic"][1]),
        ("test", found[0]["dynamic, test"][1]),
    }
    assert len(lines) == 2
    assert found[0]["dynamic"] != found[0]["static"]


def test_a_wrong_protocol_of_a_row_is_told_with_its_place(tmp_path):
    node = {**EXPECTED, "rows": [{
        "name": "a", "published": 3, "mark": "V", "tolerance": 9, "why": "so",
        "metric": "val/loss_nats", "protocol": {**SGD, "segment": 0},
    }]}  # fmt: skip
    (tmp_path / "expected.yaml").write_text(yaml.safe_dump(node))
    with pytest.raises(ConfigError, match=r"rows\.0\.protocol\.segment=0: is out of range"):
        read_expected(tmp_path / "expected.yaml")


def test_shipped_rows_name_protocols_that_can_be_built():
    nodes = [
        row.protocol
        for folder in experiments().values()
        if "published" in (folder / "expected.yaml").read_text()
        for row in read_expected(folder / "expected.yaml").rows
        if row.protocol is not None
    ]
    assert nodes
    assert all(isinstance(build(node), Protocol) for node in nodes)
