"""The command: runs and methods of one's own experiments, resumed, judged, never written over."""

import json

import numpy as np
import pytest
import yaml

from lm_research.analysis.verdicts import in_short
from lm_research.cli import reproduce_method, reproduce_runs
from lm_research.cli.main import main
from lm_research.cli.reproduce import exit_status, judged, run
from lm_research.cli.reproduce_measured import Measured
from lm_research.config.problems import ConfigError
from lm_research.studies.experiments import find, keep_result, results

ROW = {"name": "a", "published": 0, "metric": "test/perplexity_token", "mark": "V", "why": "so"}
EXPECTED = {
    "paper": "A. Author (2020)",
    "table": "Table 1",
    "direction": "minimize",
    "deterministic": False,
    "seeds": [1, 2],
    "data": {"files": {}},
    "cost": {"cpu": "5 s", "gpu": "none"},
    "sources": {},
}
DYNAMIC = {"_target_": "lm_research.tasks.protocols.dynamic_sgd.DynamicSGD", "rate": 0.1,
           "segment": 5, "decay": 0.0}  # fmt: skip
TINY = {
    "defaults": [{"override /callbacks": "quiet"}, {"override /tracking": "disabled"}],
    "budget": {
        "train_tokens": 512, "batch_size": 4, "window": 16, "hidden_size": 8, "num_layers": 1,
        "train_bytes": 20000, "eval_bytes": 500,
    },
    "callbacks": {"samples": {"length": 2}},
    "trainer": {"precision": "32-true"},
}  # fmt: skip


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Write experiments/mine in the working folder."""
    monkeypatch.chdir(tmp_path)

    def write(rows, config=None, method=None, **changes):
        folder = tmp_path / "experiments/mine"
        folder.mkdir(parents=True, exist_ok=True)
        node = {**EXPECTED, **changes, "rows": rows}
        (folder / "expected.yaml").write_text(yaml.safe_dump(node))
        for name, content in (("config.yaml", config), ("method.yaml", method)):
            if content is not None:
                (folder / name).write_text(yaml.safe_dump(content))
        return find("mine")

    return write


def test_runs_are_judged_and_gone_on_with(experiment, tmp_path, capsys, read_json, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    rows = [
        {**ROW, "name": "narrow", "published": 1.0, "tolerance": 0.1},
        {**ROW, "name": "wide", "published": 150, "tolerance": 149},
    ]
    experiment(rows, TINY)
    assert run(["mine", "seed=1", "trainer=cpu"]) == 1
    file = next((tmp_path / "experiments/mine/results").glob("*.json"))
    found = read_json(file)
    states = {row["name"]: row["state"] for row in found["rows"]}
    assert states == {"narrow": "worse", "wide": "reproduced"}
    assert found["verdict"] == "1 worse, 1 reproduced"
    assert found["command"] == "lm-research reproduce mine seed=1 trainer=cpu"
    assert found["environment"]["versions"]["torch"]
    assert "host" not in found["environment"]
    before = file.read_bytes()
    assert run(["mine", "seed=1", "trainer=cpu"]) == 1
    assert "all 1 jobs are done" in capsys.readouterr().out
    assert file.read_bytes() == before
    assert len(results("mine")) == 2
    assert run(["--list"]) == 0
    assert "1 worse, 1 reproduced" in " ".join(capsys.readouterr().out.split())
    (curve,) = found["rows"][0]["curve"]["seeds"].values()
    assert curve[-1][0] == 512  # every token that was trained on
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["report", "runs=runs/reproduce/mine"])
    shown = capsys.readouterr().out
    assert "Published and ours" in shown
    assert "Published and ours" in (tmp_path / "runs/reproduce/mine/report.html").read_text()
    assert run(["--page"]) == 0
    page = (tmp_path / "reports/reproductions/README.md").read_text()
    assert "| mine | narrow | 1 | " in page
    assert "![mine on the way](mine.svg)" in page
    with pytest.raises(ConfigError, match="is nothing that --page takes"):
        run(["--page", "seed=1"])


OVER = {"model.hidden_size": [4, 6]}


def test_a_row_may_be_a_mean_over_runs(experiment, tmp_path, read_json):
    row = {**ROW, "metric": "val/loss_nats", "mean_over": OVER, "published": 5, "tolerance": 4}
    mine = experiment([row], TINY)
    measured = reproduce_runs.measure(mine, ["seed=1,2", "trainer=cpu", "output=runs"])
    losses = {1: [], 2: []}
    for summary_file in sorted((tmp_path / "runs").rglob("summary.json")):
        config = yaml.safe_load((summary_file.parent / "config.yaml").read_text())
        assert config["model"]["hidden_size"] in (4, 6)
        losses[config["seed"]].append(read_json(summary_file)["val/loss_nats"])
    assert len(set(losses[1] + losses[2])) == 4
    assert measured.values == {"a": {s: pytest.approx(np.mean(x)) for s, x in losses.items()}}
    assert measured.incomparable is None
    some = reproduce_runs.measure(
        mine, ["seed=1", "trainer=cpu", "output=runs", "model.hidden_size=4"]
    )
    assert some.incomparable == "a is a mean over model.hidden_size: 1 runs of 2"


def test_a_classifiers_test_scores_are_those_of_its_best_weights(
    experiment, tmp_path, read_json, monkeypatch
):
    """Which its run has scored: the last weights are not scored in their place."""
    labelled = [f"{{word}} {{word}} {i}" for i in range(90)]
    lines = [
        json.dumps({"text": t.format(word=w), "label": w}) for t in labelled for w in ("up", "down")
    ]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    config = {
        **TINY,
        "defaults": [
            *TINY["defaults"],
            {"override /data": "files"},
            {"override /task": "classification"},
            {"override /model": "bag"},
        ],
        "data": {"paths": [str(tmp_path / "texts.jsonl")], "label_field": "label"},
        "task": {"epochs": 2},
        "budget": {**TINY["budget"], "eval_bytes": 5000},
        "callbacks": {"checkpoint": {"monitor": "val/accuracy"}},
    }
    monkeypatch.setattr(reproduce_runs, "_scores", lambda *_: pytest.fail("scored again"))
    mine = experiment([{**ROW, "metric": "test/accuracy", "tolerance": 1}], config)
    measured = reproduce_runs.measure(mine, ["seed=1", "trainer=cpu", "output=runs"])
    (file,) = (tmp_path / "runs").rglob("summary.json")
    assert measured.values["a"] == {1: read_json(file)["test/accuracy"]}


def measured_by(monkeypatch, experiment, *arguments):
    """What a command would compare, without running it."""
    monkeypatch.setattr(reproduce_runs, "run_study", lambda *args, **kwargs: 0)
    monkeypatch.setattr(reproduce_runs, "_collect", lambda *args: None)
    return reproduce_runs.measure(experiment, ["trainer=cpu", *arguments])


def test_what_arguments_make_of_a_verdict(experiment, monkeypatch):
    mine = experiment([{**ROW, "tolerance": 1.0}], TINY)
    same = measured_by(monkeypatch, mine, "trainer.threads=1", "output=elsewhere", "seed=3")
    assert (same.incomparable, same.partial) == (None, False)
    other = measured_by(monkeypatch, mine, "budget.train_tokens=128", "model.hidden_size=9")
    assert other.incomparable == "another configuration: model.hidden_size 8 -> 9"
    assert other.partial
    with pytest.raises(ConfigError, match="a verdict is on one"):
        reproduce_runs.study_arguments(mine, ["model=rnn,gru"])


def test_other_data_than_the_papers_are_refused(experiment, monkeypatch):
    mine = experiment([{**ROW, "tolerance": 1.0}], TINY, data={"files": {"a.txt": "0" * 64}})
    with pytest.raises(ConfigError, match=r"data\.files\.a\.txt.*is not what would be read"):
        measured_by(monkeypatch, mine)


COURSE = {"metric": "val/x", "source": "a run", "tolerance": 0.05, "why": "so",
          "points": [{"tokens": 100, "value": 10.0}]}  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "states", "code"),
    [
        ({"values": {"a": {1: 5.0, 2: 5.1}}}, {"a": "reproduced"}, 0),
        ({"values": {"a": {1: 5.0}}, "incomparable": "else"}, {"a": "not comparable"}, 1),
        ({"values": {}}, {}, 1),
        ({"course": {100: {1: 10.2}}, "partial": True}, {"course": "on course"}, 3),
        ({"course": {100: {1: 12.0}}, "partial": True}, {"course": "off course"}, 1),
        ({"values": {"a": {1: 5.0}}, "partial": True}, {"course": "no verdict"}, 3),
        (
            {"values": {"a": {1: 5.0}}, "partial": True, "incomparable": "else"},
            {"a": "not comparable"},
            1,
        ),
    ],
)
def test_outcomes_and_the_exit_status(experiment, tmp_path, measured, states, code):
    mine = experiment([{**ROW, "published": 5.0, "tolerance": 0.1}], TINY, course=COURSE)
    found = Measured(tmp_path, **measured)
    outcomes = judged(mine.expected, found)
    assert {name: verdict.state for name, verdict in outcomes.items()} == states
    assert exit_status(found, outcomes) == code
    assert in_short([*states.values()]) == next(iter(states.values()), "none")


def test_a_recipe_is_what_moves_the_number(experiment):
    row = {**ROW, "published": 5.0, "tolerance": 0.1}

    def recipe(row, config):
        mine = experiment([row], config)
        return mine.recipe(mine.expected.rows[0])

    before = recipe(row, TINY)
    assert recipe({**row, "published": 6.0, "tolerance": 1.0, "why": "else"}, TINY) == before
    others = [
        recipe({**row, "setting": {"seed": 2}}, TINY),
        recipe({**row, "at": "best"}, TINY),
        recipe({**row, "protocol": DYNAMIC}, TINY),
        recipe(row, {**TINY, "trainer": {"gradient_clip": 7.0}}),
    ]
    assert len({before, *others}) == 5


def test_a_row_that_needs_a_package(experiment, tmp_path):
    row = {**ROW, "published": 5.0, "tolerance": 0.1, "needs": "no_such_package"}
    mine = experiment([row], TINY)
    verdict = judged(mine.expected, Measured(tmp_path, values={"a": {1: 5.0}}))["a"]
    assert verdict.state == "not comparable"
    assert "pip install no_such_package" in verdict.why


METHOD = {
    "_target_": "lm_research.methods.cross_validation.CrossValidation",
    "classifier": {"_target_": "lm_research.models.naive_bayes.MultinomialNaiveBayes"},
    "folds": 2,
}


def test_a_method_is_kept_seed_by_seed(experiment, tmp_path, monkeypatch, capsys):
    row = {**ROW, "metric": "accuracy", "published": 100.0, "tolerance": 1.0}
    mine_data = {"files": {}, "option": "code"}
    calls = []
    averaged = experiment([{**row, "mean_over": OVER}], method=METHOD, data=mine_data)
    with pytest.raises(ConfigError, match="a method takes its own means"):
        reproduce_method.measure(averaged, [])
    mine = experiment([row], method=METHOD, direction="maximize", data=mine_data)

    def measure(self, source, downloads, seed, progress):
        calls.append(seed)
        progress(1, 1)
        return {"accuracy": 100.0 - seed / 10}

    target = "lm_research.methods.cross_validation.CrossValidation.measure"
    monkeypatch.setattr(target, measure)
    assert run(["mine", "seed=1,2"]) == 0
    assert run(["mine", "seed=1,2,3"]) == 0
    assert calls == [1, 2, 3]
    measured = reproduce_method.measure(mine, ["seed=1", "method.folds=3"])
    assert measured.incomparable == "another method: folds=3"
    assert calls == [1, 2, 3, 1]
    for wrong, told in (
        ("method.folds=0", "out of range"),
        ("method.fold=3", "did you mean `folds`"),
        ("seed=1,1", "each once"),
        ("model=rnn", "nothing that this method takes"),
    ):
        with pytest.raises(ConfigError, match=told):
            reproduce_method.measure(mine, [wrong])


def test_results_are_never_written_over(experiment, tmp_path):
    experiment([{**ROW, "tolerance": 1.0}], TINY)
    first = keep_result("mine", "2026-01-01T00-00-00", {"verdict": "1"})
    second = keep_result("mine", "2026-01-01T00-00-00", {"verdict": "2"})
    assert first != second
    assert [result["verdict"] for result in results("mine")] == ["1", "2"]
    (first.parent / "broken.json").write_text("{")
    assert len(results("mine")) == 2


def test_the_command_line(capsys):
    for arguments, code in (["--help"], 0), ([], 2), (["seed=1"], 2), (["no_such"], 2):
        with pytest.raises(SystemExit) as stopped:
            main(["reproduce", *arguments])
        assert stopped.value.code == code
    assert "must be named first" in capsys.readouterr().err


def test_a_row_may_be_of_the_best_evaluation(experiment, tmp_path):
    """A training that overfits: the least of its evaluations, and the weights they chose."""
    rows = [
        {**ROW, "name": name, "at": at, "metric": metric, "published": 3, "tolerance": 9}
        for at in ("last", "best")
        for name, metric in ((f"val {at}", "val/loss_nats"), (f"test {at}", "test/loss_nats"))
    ]
    config = {
        **TINY,
        "optimizer": {"lr": 0.3},  # so high that it does not end where it was best
        "callbacks": {**TINY["callbacks"], "evaluation": {"times": 8}},
    }
    mine = experiment(rows, config)
    measured = reproduce_runs.measure(mine, ["seed=1", "trainer=cpu", "output=runs"])
    (place,) = {file.parent for file in (tmp_path / "runs").rglob("metrics.jsonl")}
    lines = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    losses = [line["val/loss_nats"] for line in lines if "val/loss_nats" in line]
    values = {name: value[1] for name, value in measured.values.items()}
    assert len(losses) == 8
    assert values["val best"] == min(losses) < values["val last"] == losses[-1]
    scored = [json.loads(x) for x in (place / "evaluations.jsonl").read_text().splitlines()]
    assert {row["checkpoint"]: row["loss_nats"] for row in scored} == {
        "last": values["test last"],
        "best": values["test best"],
    }
    assert values["test best"] != values["test last"]


STAND_IN = {"option": "tweets", "files": {}, "why": "another text"}


def test_a_stand_in_is_run_and_not_comparable(experiment, monkeypatch):
    """Its own reason; together with another change, the change is told."""
    files = {"files": {"a.txt": "0" * 64}, "option": "code"}
    rows = [{**ROW, "tolerance": 1.0}]
    mine = experiment(rows, TINY, data={**files, "stand_in": STAND_IN})
    monkeypatch.setattr(reproduce_runs, "check_files", lambda *args: None)
    found = measured_by(monkeypatch, mine, "data=tweets")
    assert found.incomparable == "another text"
    assert found.files == {}
    found = measured_by(monkeypatch, mine, "data=tweets", "model.hidden_size=9")
    assert found.incomparable.startswith("another configuration: ")
    assert measured_by(monkeypatch, mine).incomparable is None
    plain = experiment(rows, TINY, data=files)
    assert measured_by(monkeypatch, plain, "data=tweets").incomparable.startswith("another conf")


def test_a_method_reads_a_stand_in(experiment, tmp_path, monkeypatch):
    target = "lm_research.methods.cross_validation.CrossValidation"
    monkeypatch.setattr(f"{target}.files", lambda self, source: {source.name: "0" * 64})
    monkeypatch.setattr(
        f"{target}.measure", lambda self, source, *rest: {"accuracy": len(source.name)}
    )
    row = {**ROW, "metric": "accuracy", "published": 4.0, "tolerance": 0.1}
    stand_in = {"option": "tweets", "files": {"tweets": "0" * 64}, "why": "another text"}
    data = {"files": {"code": "0" * 64}, "option": "code", "stand_in": stand_in}
    mine = experiment([row], method=METHOD, direction="maximize", data=data)
    published = reproduce_method.measure(mine, ["seed=1"])
    assert (published.values["a"], published.incomparable) == ({1: 4}, None)
    instead = reproduce_method.measure(mine, ["seed=1", "data=tweets"])
    assert (instead.values["a"], instead.incomparable) == ({1: 6}, "another text")
    assert (published.files, instead.files) == ({"code": "0" * 64}, {"tweets": "0" * 64})
    assert reproduce_method.measure(mine, ["seed=1"]).values["a"] == {1: 4}  # kept apart
    assert judged(mine.expected, instead)["a"].state == "not comparable"
    with pytest.raises(ConfigError, match=r"data\.files\.code.*is not what would be read"):
        reproduce_method.measure(mine, ["seed=1", "data=quotations"])


def test_the_list_names_the_stand_in(experiment, capsys):
    data = {"files": {"a.txt": "0" * 64}, "option": "code", "stand_in": STAND_IN}
    experiment([{**ROW, "tolerance": 1.0}], TINY, data=data)
    assert run(["--list"]) == 0
    assert "mine: a.txt to fetch, or data=tweets" in " ".join(capsys.readouterr().out.split())
