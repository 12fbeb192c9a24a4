"""Documents with several labels, from the loss to what a finished run says of a text."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from lm_research.cli.serve_answers import Trial
from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.data.document import DataError
from lm_research.data.document_batches import DocumentBatch, padded
from lm_research.hub import AutoModel
from lm_research.tasks.classification import Classification
from lm_research.tasks.classifying import classify

CLASSES = ["cat", "dog", "owl"]
LABELS = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])


def classifier(**task):
    config = compose(["budget=smoke", "task=classification", "model=bag", "vectorizer=embedding"])
    torch.manual_seed(0)
    vectors = build(config.config["vectorizer"], vocabulary_size=20)
    model = build(config.config["model"], input_size=vectors.dim)
    adam = partial(torch.optim.Adam, lr=0.01)
    return Classification(vectors, model, adam, lambda step: 1.0, CLASSES, labels="several", **task)


def batch():
    documents = [np.array(ids) for ids in ([1, 2, 3], [4], [5, 6, 7, 8])]
    return DocumentBatch(*padded(documents, None), LABELS)


def test_the_loss_is_binary_cross_entropy_and_hits_are_whole_documents():
    model = classifier()
    model.counts_hits = True
    loss = model.training_step(batch(), 0)
    p = model.logits(batch()).double().sigmoid()
    expected = -torch.where(LABELS, p, 1 - p).log().sum() / 3
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    right = ((p > 0.5) == LABELS).all(1).sum()
    assert model.hits_2.tolist() == [int(right), 3]
    loss.backward()
    assert model.head.weight.grad.abs().sum() > 0
    torch.testing.assert_close(
        model.log_probabilities(batch()).exp().double(), p, atol=1e-6, rtol=0
    )


def test_balanced_weights_are_scikit_learns_class_by_class():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.random.default_rng(0).random((50, 3)) < (0.1, 0.5, 0.8)
    counts = labels.sum(0).tolist()
    model = classifier(class_weights="balanced", class_counts=counts, documents=50)
    for place, column in enumerate(labels.T):
        expected = compute_class_weight("balanced", classes=np.array([False, True]), y=column)
        np.testing.assert_allclose(model.class_weight_2C[:, place], expected, rtol=1e-6)
    weight = torch.where(LABELS, model.class_weight_2C[1], model.class_weight_2C[0])
    p = model.logits(batch()).sigmoid()
    expected = -(weight * torch.where(LABELS, p, 1 - p).log()).sum() / 3
    torch.testing.assert_close(model.training_step(batch(), 0), expected)


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """Texts that name the animals they are labelled with; some name none."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(400):
        held = [name for name in CLASSES if rng.random() < 0.4]
        noise = [f"w{i}" for i in rng.integers(0, 30, 6)]
        text = " ".join(rng.permutation([*held, *noise, str(number)]))
        rows.append({"text": text, "animals": held})
    file = tmp_path_factory.mktemp("animals") / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


DATA = ("data=files", "data.label_field=animals", "task=classification", "task.labels=several")
MODEL = ("model=bag", "vectorizer=bag_of_words", "vectorizer.projection=null", "optimizer.lr=0.1")
SIZE = ("task.epochs=12", "budget.batch_size=16", "budget.eval_bytes=4000", "splits.test=0.1")


@pytest.fixture
def trained(train, animals):
    return partial(train, *DATA, *SIZE, f"data.paths={animals}")


def test_a_run_learns_them_and_says_so_everywhere(trained, read_json, tmp_path, capsys):
    from sklearn.metrics import f1_score

    from lm_research.cli import evaluate, export, predict
    from lm_research.cli.saved import load
    from lm_research.cli.train import result

    folder = trained(*MODEL, "task.baseline=true")
    summary = read_json(folder / "summary.json")
    assert summary["val/subset_accuracy"] > 0.8
    assert summary["val/average_precision"] > 0.95
    assert summary["baseline/tfidf_svm/val_f1_micro"] > 0.5
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == "validation"]
    sides = [
        [[name in row[key] for name in CLASSES] for row in rows] for key in ("labels", "predicted")
    ]
    assert summary["val/f1_macro"] == pytest.approx(
        f1_score(*map(np.array, sides), average="macro")
    )
    assert any(len(row["labels"]) == 0 for row in rows)
    table = read_json(folder / "classes.json")["validation"]
    assert table["support"] == np.array(sides[0]).sum(0).tolist()
    curves = read_json(folder / "curves.json")["validation"]["roc"]
    assert np.mean([curve["area"] for curve in curves]) == pytest.approx(summary["val/roc_auc"])
    assert "val/f1_micro" in result(folder)[0]
    evaluate.run([f"run={folder}", "checkpoint=best", "split=test"])
    scores = json.loads((folder / "evaluations.jsonl").read_text())
    assert scores["hamming_loss"] == summary["test/hamming_loss"]
    texts = tmp_path / "in.txt"
    texts.write_text("owl w1 cat\nw3 w4 w5\n")
    capsys.readouterr()
    predict.run([f"run={folder}", f"input={texts}"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [sorted(row["predicted"]) for row in found] == [["cat", "owl"], []]
    answer = Trial(load(str(folder)), "mine").answer("classify", {"text": "owl w1 cat"})
    assert sorted(answer["predicted"]) == ["cat", "owl"]
    export.run([f"run={folder}", f"output={tmp_path / 'out'}"])
    config = read_json(tmp_path / "out/config.json")
    assert config["problem_type"] == "multi_label_classification"
    assert "several, or none" in (tmp_path / "out/README.md").read_text()
    ids = load(str(folder)).tokenizer.encode("owl w1 cat").ids_N
    ((predicted, _),) = classify(AutoModel.from_pretrained(tmp_path / "out"), [ids])
    assert predicted == answer["predicted"]


@pytest.mark.parametrize("model", ["bag", "gru"])
def test_a_graph_says_the_same(trained, model, tmp_path, capsys):
    from lm_research.cli import export

    folder = trained("model=" + model, "vectorizer=embedding", "task.epochs=1")
    export.run([f"run={folder}", f"output={tmp_path / 'out'}", "format=torchscript"])
    assert "largest difference" in capsys.readouterr().out


def test_a_task_of_one_label_says_what_to_do(trained):
    with pytest.raises(DataError, match=r"task\.labels=one: .* has [23] labels"):
        trained(*MODEL, "task.labels=one")


def test_the_same_seed_gives_the_same_bits(trained):
    first, second = (trained("model=gru", "vectorizer=embedding", output=o) for o in ("a", "b"))
    assert (first / "predictions.jsonl").read_text() == (second / "predictions.jsonl").read_text()
