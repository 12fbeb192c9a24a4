"""A temperature from the validation split to whoever uses the run."""

import json
import math
from functools import partial

import numpy as np
import pytest
import torch

from lm_research.cli.saved import SavedRunError, load
from lm_research.cli.serve_answers import Trial
from lm_research.hub import AutoModel
from lm_research.tracking.checkpoint_store import CheckpointStore

RUN = (
    *("task=classification", "data=tweets", "model=bag", "vectorizer=embedding"),
    *("task.epochs=8", "budget.batch_size=16", "budget.train_bytes=30000"),
    *("budget.eval_bytes=6000", "splits.validation=0.1", "splits.test=0.1", "optimizer.lr=0.05"),
)
SCALED = "task.calibrate=temperature"


@pytest.fixture
def classify(train):
    return partial(train, *RUN)


LATE = "callbacks.evaluation.times=1"
"""The one checkpoint is of the end, where the model has become too sure."""


def predictions(folder):
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_run_is_less_sure_of_the_same_classes(classify, read_json):
    plain, scaled = classify(LATE, output="plain"), classify(LATE, SCALED, output="scaled")
    before, after = (read_json(folder / "summary.json") for folder in (plain, scaled))
    temperature = after["calibration/temperature"]
    assert temperature > 1.2
    assert after["val/loss_nats"] < after["val/loss_nats_uncalibrated"]
    for group in ("val", "test"):
        for name in ("loss_nats", "calibration_error"):
            known = before[f"{group}/{name}"]
            assert after[f"{group}/{name}_uncalibrated"] == pytest.approx(known, rel=1e-6)
        for name in ("accuracy", "f1_macro"):
            assert after[f"{group}/{name}"] == before[f"{group}/{name}"]
    assert "val/loss_nats_uncalibrated" not in before
    pairs = list(zip(predictions(plain), predictions(scaled), strict=True))
    assert all(first["predicted"] == second["predicted"] for first, second in pairs)
    changed = np.mean([first["probability"] != second["probability"] for first, second in pairs])
    assert changed > 0.9
    bins = read_json(scaled / "curves.json")["validation"]["reliability"]
    assert [one["name"] for one in bins] == ["before", "after"]
    for one, key in zip(bins, ("calibration_error_uncalibrated", "calibration_error"), strict=True):
        gaps = np.abs(np.array(one["right"]) - one["probability"]) * one["count"]
        assert gaps.sum() / sum(one["count"]) == pytest.approx(after[f"val/{key}"])


def test_everybody_who_uses_the_run_has_its_temperature(classify, read_json, tmp_path, capsys):
    from lm_research.cli import evaluate, export, predict

    folder = classify(SCALED, LATE)
    summary = read_json(folder / "summary.json")
    temperature = summary["calibration/temperature"]
    evaluate.run([f"run={folder}", "checkpoint=best"])
    scores = json.loads((folder / "evaluations.jsonl").read_text())
    assert scores["calibration_error"] == pytest.approx(summary["val/calibration_error"])
    assert scores["loss_nats"] == pytest.approx(summary["val/loss_nats"])
    saved = load(str(folder), "best")
    assert float(saved.model.temperature) == pytest.approx(temperature)
    text = tmp_path / "in.txt"
    text.write_text("I love it so much\n")
    capsys.readouterr()
    predict.run([f"run={folder}", f"input={text}"])
    p = json.loads(capsys.readouterr().out)["probabilities"]
    saved.model.set_temperature(1.0)
    plain = {row["class"]: row["p"] for row in asked(saved)}
    powers = {name: value ** (1 / temperature) for name, value in plain.items()}
    expected = {name: value / sum(powers.values()) for name, value in powers.items()}
    assert p == pytest.approx(expected, abs=2e-6)
    served = {row["class"]: row["p"] for row in asked(load(str(folder), "best"))}
    assert served == pytest.approx(expected, abs=1e-6)
    export.run([f"run={folder}", f"output={tmp_path / 'out'}"])
    exported = AutoModel.from_pretrained(tmp_path / "out")
    assert float(exported.temperature) == pytest.approx(temperature)
    assert f"divided by {temperature:.4g}" in (tmp_path / "out/README.md").read_text()


def asked(saved):
    return Trial(saved, "mine").answer("classify", {"text": "I love it so much"})["classes"]


@pytest.mark.parametrize("format", ["torchscript", "onnx"])
@pytest.mark.parametrize("model", ["bag", "gru"])
def test_a_graph_has_it_too(classify, format, model, tmp_path, read_json):
    from lm_research.cli import export

    if format == "onnx":
        pytest.importorskip("onnxruntime")
    folder = classify(SCALED, LATE, f"model={model}")
    export.run([f"run={folder}", f"output={tmp_path / 'out'}", f"format={format}"])
    assert read_json(tmp_path / "out/config.json")["graph"]["largest_difference"] < 1e-4


def test_each_checkpoint_has_its_own(classify, read_json):
    folder = classify(SCALED, "callbacks.evaluation.times=4", "optimizer.lr=0.2")
    store = CheckpointStore(folder / "checkpoints")
    last, best = store.path("last"), store.path("best")
    assert last != best  # it learned too long
    kept = read_json(folder / "calibration.json")["temperatures"]
    assert set(kept) == {last.name, best.name}
    assert kept[last.name] > kept[best.name]  # and became too sure
    for name, path in (("last", last), ("best", best)):
        assert float(load(str(folder), name).model.temperature) == pytest.approx(kept[path.name])
        weights = torch.load(path, weights_only=True)["state_dict"]
        assert float(weights["temperature"]) == 1  # training goes on without it


@pytest.mark.parametrize("value", ["0", "-1", "NaN", '"x"', "[1]"])
def test_a_damaged_temperature_is_told(classify, value):
    folder = classify(SCALED)
    best = CheckpointStore(folder / "checkpoints").path("best").name
    file = folder / "calibration.json"
    file.write_text(f'{{"temperatures": {{"{best}": {value}}}}}')
    with pytest.raises(SavedRunError, match=r"calibration\.json"):
        load(str(folder), "best")
    file.unlink()
    assert float(load(str(folder), "best").model.temperature) == 1


def test_several_labels_have_one_temperature(train, tmp_path, read_json):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(300):
        held = [name for name in ("cat", "dog", "owl") if rng.random() < 0.4]
        shown = [name for name in held if rng.random() < 0.8] + [f"w{number % 17}", str(number)]
        rows.append({"text": " ".join(shown), "label": held})
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ("data=files", f"data.paths={file}", "data.label_field=label", "task.labels=several")
    folder = train(*RUN, *files, SCALED, "budget.eval_bytes=2000")
    summary = read_json(folder / "summary.json")
    assert summary["val/loss_nats"] < summary["val/loss_nats_uncalibrated"]
    assert math.isfinite(summary["calibration/temperature"])
    for row in predictions(folder):
        assert all((row["probabilities"][name] > 0.5) for name in row["predicted"])
