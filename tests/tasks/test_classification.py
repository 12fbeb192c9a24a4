"""Classification of documents: batches, models, scores, runs; scikit-learn is the judge."""

import itertools
import json
import os
import signal
from functools import cache as remembered
from functools import partial

import numpy as np
import pytest
import torch

from lm_research.callbacks.stop_signals import Stopped
from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.config.paths import shipped
from lm_research.config.problems import ConfigError
from lm_research.data.document import DataError
from lm_research.data.document_batches import DocumentBatch, DocumentBatches, padded
from lm_research.data.labels import LabelledSplit, classes_of
from lm_research.models.kim_cnn import KimCNN
from lm_research.tasks.classification import Classification, shorten
from lm_research.tasks.classifying import evaluate_classifier
from lm_research.tasks.pooling import Pooling
from lm_research.tracking.checkpoint_store import CheckpointStore

TASK = ("task=classification", "task.epochs=2", "budget.batch_size=16", "budget.train_bytes=30000")
VOCABULARY = 40


def options(group):
    return sorted(file.stem for file in (shipped("conf") / group).glob("*.yaml"))


@remembered
def node(group, option):
    small = ["budget=smoke", "budget.hidden_size=8", "task=classification"]
    model = [] if group == "model" else ["model=lstm"]
    return compose([*small, *model, f"{group}={option}"]).config[group]


def classifier(vectorizer, model, **task):
    torch.manual_seed(0)
    vectors = build(node("vectorizer", vectorizer), vocabulary_size=VOCABULARY)
    if vectors.needs_fit and getattr(vectors, "path", None) is None:
        rng = np.random.default_rng(1)
        vectors.fit([rng.integers(1, VOCABULARY, 30) for _ in range(20)])
    inner = build(node("model", model), input_size=vectors.dim)
    adam = partial(torch.optim.Adam, lr=0.01)
    return Classification(vectors, inner, adam, lambda step: 1.0, ["a", "b", "c"], **task)


def batch_of(documents, labels=None):
    ids_BT, lengths_B = padded(documents, None)
    labels_B = torch.zeros(len(documents), dtype=torch.int64) if labels is None else labels
    return DocumentBatch(ids_BT, lengths_B, labels_B)


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [rng.integers(1, VOCABULARY, length) for length in (1, 9, 3, 17, 2)]


MODELS = [name for name in options("model") if name != "ngram"]  # which counts, and is refused
EVERY = list(itertools.product(options("vectorizer"), MODELS))


def test_every_vectorizer_and_model_predicts_alone_as_in_a_batch_and_takes_a_step(documents):
    for vectorizer, model in EVERY:
        task = classifier(vectorizer, model)
        task.eval()
        name = f"{vectorizer} {model}"
        together = task.log_probabilities(batch_of(documents))
        alone = torch.cat([task.log_probabilities(batch_of([d])) for d in documents])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5, msg=name)
        task.train()
        optimizer = task.configure_optimizers()["optimizer"]
        before = [p.detach().clone() for p in task.parameters()]
        task.training_step(batch_of(documents, torch.tensor([0, 1, 2, 0, 1])), 0).backward()
        optimizer.step()
        changed = zip(before, task.parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in changed), name


@pytest.mark.parametrize("kind", ["last", "mean", "max", "attention"])
def test_pooling_is_that_of_each_row_alone(kind):
    torch.manual_seed(0)
    pooling, y_BTH, lengths = Pooling(kind, 4), torch.randn(3, 6, 4), [6, 1, 3]
    found = pooling(y_BTH, torch.tensor(lengths))
    for row, (y_TH, length) in enumerate(zip(y_BTH, lengths, strict=True)):
        y_NH = y_TH[:length]
        expected = {"last": y_NH[-1], "mean": y_NH.mean(0), "max": y_NH.amax(0)}
        if kind == "attention":
            expected[kind] = pooling.query(pooling.key(y_NH).tanh()).softmax(0).T @ y_NH
        torch.testing.assert_close(found[row], expected[kind].reshape(-1))


def test_kims_network_is_convolution_and_maximum_over_time():
    torch.manual_seed(0)
    model = KimCNN(5, widths=[2, 3], filters=7).eval()
    x_TD = torch.randn(4, 5)
    padded_SD = torch.cat([torch.zeros(2, 5), x_TD, torch.zeros(2, 5)])
    expected = []
    for layer, width in zip(model.convolutions, (2, 3), strict=True):
        weight, bias = layer.weight, layer.bias  # (F, D, h)
        windows = [padded_SD[s : s + width].T for s in range(8 - width + 1)]
        values = torch.stack([(weight * w).sum((1, 2)) + bias for w in windows]).relu()
        expected.append(values.amax(0))
    found = model(x_TD[None], torch.tensor([4]))[0]
    torch.testing.assert_close(found, torch.cat(expected))


def test_word_dropout_is_for_training_alone_and_means_are_over_what_is_left():
    model = classifier("embedding", "bag", word_dropout=0.5)
    batch = batch_of([np.arange(1, 30), np.arange(5, 12)], torch.tensor([0, 2]))
    model.train()
    torch.manual_seed(1)
    loss = model.training_step(batch, 0)
    torch.manual_seed(1)
    kept_BT = torch.rand(batch.ids_BT.shape) >= 0.5
    weight_VD = model.vectorizer.weight
    means = [
        weight_VD[ids_T[:n][kept_T[:n]]].mean(0)
        for ids_T, kept_T, n in zip(batch.ids_BT, kept_BT, [29, 7], strict=True)
    ]
    expected = torch.nn.functional.cross_entropy(model.head(torch.stack(means)), batch.labels_B)
    torch.testing.assert_close(loss, expected)
    model.eval()
    whole = classifier("embedding", "bag").eval()
    whole.load_state_dict(model.state_dict())
    assert torch.equal(model.log_probabilities(batch), whole.log_probabilities(batch))


def test_rows_of_kims_output_layer_stay_within_the_norm():
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    shorten(weight, 3.0)
    torch.testing.assert_close(weight, torch.tensor([[1.8, 2.4], [0.3, 0.4]]))
    task = classifier("embedding", "kim_cnn")
    with torch.no_grad():
        task.head.weight.mul_(1000)
    optimizer = task.configure_optimizers()["optimizer"]
    task.training_step(batch_of([np.array([1, 2, 3])]), 0).backward()
    optimizer.step()
    assert task.head.weight.norm(dim=1).max() <= 3.0001


def test_class_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 7 + [1] * 2 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    task = classifier("embedding", "bag", class_weights="balanced", class_counts=[7, 2, 1])
    np.testing.assert_allclose(task.class_weight_C.numpy(), expected, rtol=1e-6)


@pytest.fixture(scope="module")
def prepared(cache):
    from lm_research.cli.assembly import assemble

    overrides = ["budget=smoke", "data=tweets", *TASK, "tracking=disabled", f"cache={cache}"]
    config = compose([*overrides, "vectorizer=embedding", "model=bag"]).config
    return config, assemble(config)


def test_labels_come_with_their_documents(prepared):
    config, assembly = prepared
    split = assembly.data.labelled("validation")
    by_id = {document.id: document for document in build(config["data"])}
    assert classes_of(split.store) == ["negative", "neutral", "positive"]
    for index, name in enumerate(split.ids()):
        assert split.classes[split.labels_D[index]] == by_id[name].label
        record = split.split.documents[index]
        assert record["bytes"] == len(by_id[name].text.encode())
        assert record["words"] == len(by_id[name].text.split())
    assert assembly.data.text()["labels"]["validation"]["neutral"] == split.counts()[1] > 0


def test_classes_are_matched_by_their_names(prepared):
    store = prepared[1].data.prepared.store
    own = LabelledSplit(store, "train", classes_of(store))
    turned = LabelledSplit(store, "train", ["positive", "negative"])
    assert turned.left_out == own.counts()[1]
    assert turned.counts() == [own.counts()[2], own.counts()[0]]


def test_an_epoch_has_every_document_once_and_a_batch_is_a_function_of_its_number(prepared):
    split = prepared[1].data.labelled("train")
    batches = DocumentBatches(split, 16, 1000, seed=3)
    for epoch in range(2):
        found = [batches.batch(epoch * batches.per_epoch + i) for i in range(batches.per_epoch)]
        texts = sorted(tuple(d.tolist()) for batch in found for d in batch.documents())
        assert texts == sorted(tuple(split.document(i).tolist()) for i in range(len(split)))
        assert found[-1].tokens_seen == (epoch + 1) * split.lengths_D.sum()
    again = DocumentBatches(split, 16, 1000, seed=3).batch(batches.per_epoch + 2)
    assert torch.equal(again.ids_BT, batches.batch(batches.per_epoch + 2).ids_BT)
    other = DocumentBatches(split, 16, 1000, seed=4).batch(0)
    assert not torch.equal(other.labels_B, batches.batch(0).labels_B) or (
        other.ids_BT.shape != batches.batch(0).ids_BT.shape
    )
    wasted = [(b.ids_BT < 0).float().mean() for b in map(batches.batch, range(batches.per_epoch))]
    assert np.mean(wasted) < 0.25


def test_a_linear_bag_is_scikit_learns_logistic_regression(prepared):
    """The same features, the same convex loss, both to its minimum."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    from lm_research.vectorizers.tfidf import TfIdf

    split, held = (prepared[1].data.labelled(name) for name in ("train", "validation"))
    size, penalty = prepared[1].data.prepared.tokenizer.vocabulary_size, 1.0
    vectors = TfIdf(size, block=None)
    vectors.fit(split.document(i) for i in range(len(split)))
    model = build({"_target_": "lm_research.models.bag.Bag"}, input_size=size)
    torch.manual_seed(0)
    task = Classification(vectors, model, torch.optim.SGD, lambda step: 1.0, split.classes)
    batch = batch_of(
        [split.document(i) for i in range(len(split))], torch.from_numpy(split.labels_D)
    )
    optimizer = torch.optim.LBFGS(
        task.head.parameters(), max_iter=300, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = task.training_step(batch, 0) + task.head.weight.square().sum() / (2 * len(split))
        loss.backward()
        return loss

    optimizer.step(closure)
    x = vectors.documents(batch.documents()).detach()
    parts = (x.values().numpy(), x.col_indices().numpy(), x.crow_indices().numpy())
    theirs = LogisticRegression(C=1 / penalty, max_iter=2000, tol=1e-8)
    theirs.fit(csr_matrix(parts, shape=x.shape), split.labels_D)
    ours = evaluate_classifier(task.eval(), held)
    other = vectors.documents([torch.from_numpy(held.document(i)) for i in range(len(held))])
    expected = theirs.predict_log_proba(other.to_dense().numpy())
    np.testing.assert_allclose(ours.log_p_DC, expected, atol=0.02)


@pytest.fixture
def classify(train):
    return partial(train, *TASK, "data=tweets", "budget.eval_bytes=4000", "model=lstm")


def test_a_run_leaves_scores_predictions_and_a_table(classify, read_json, capsys):
    from lm_research.cli import evaluate, predict
    from lm_research.cli.train import result

    folder = classify("task.baseline=true", "evaluate_on=[tweets]")
    summary = read_json(folder / "summary.json")
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    held = [row for row in rows if row["split"] == "validation"]
    right = np.mean([row["label"] == row["predicted"] for row in held])
    assert right == summary["val/accuracy"] == summary["eval/tweets/accuracy"]
    assert {f"baseline/tfidf_{m}/val_f1_macro" for m in ("svm", "logistic")} <= set(summary)
    table = read_json(folder / "classes.json")["validation"]
    assert np.trace(table["confusion"]) / len(held) == pytest.approx(right)
    curves = read_json(folder / "curves.json")["validation"]
    for kind, score in (("roc", "roc_auc"), ("precision_recall", "average_precision")):
        assert sorted(c["class"] for c in curves[kind]) == ["negative", "neutral", "positive"]
        mean = np.mean([curve["area"] for curve in curves[kind]])
        assert mean == pytest.approx(summary[f"val/{score}"])
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line).get("val/loss_nats") for line in lines]
    assert summary["val/loss_nats"] == pytest.approx(min(x for x in losses if x is not None))
    assert "val/accuracy" in result(folder)[0]
    evaluate.run([f"run={folder}", "checkpoint=best"])
    scores = json.loads((folder / "evaluations.jsonl").read_text())
    assert scores["accuracy"] == summary["val/accuracy"]
    text = folder / "texts.jsonl"
    text.write_text("\n".join(json.dumps({"id": i, "text": "I love it" * i}) for i in (1, 2, 3)))
    capsys.readouterr()
    outputs = []
    for size in (1, 3):
        predict.run([f"run={folder}", f"input={text}", f"batch_size={size}"])
        outputs.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert [(row["id"], row["predicted"]) for row in outputs[0]] == [
        (row["id"], row["predicted"]) for row in outputs[1]
    ]
    assert sum(outputs[0][0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_cut_run_ends_like_an_undisturbed_one(classify, at_step, tmp_path):
    dropout = ("model.dropout=0.3", "model.num_layers=2", "callbacks.checkpoint.every=5")
    whole = classify(*dropout, output="whole")
    at_step(7, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped):
        classify(*dropout, output="cut")
    cut = classify(*dropout, output="cut")
    files = [CheckpointStore(folder / "checkpoints").path("last") for folder in (whole, cut)]
    first, second = (torch.load(file, weights_only=True) for file in files)
    assert first["global_step"] == second["global_step"] > 7
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    assert (whole / "predictions.jsonl").read_text() == (cut / "predictions.jsonl").read_text()


def test_what_does_not_fit_is_told_before_anything_starts(train):
    for overrides, told in [
        (["model=bag"], "task=classification"),
        (["task=classification", "model=ngram"], "model=bag"),
        (["task=classification", "trainer.devices=2"], "one process"),
    ]:
        with pytest.raises(ConfigError, match=told):
            compose(overrides)
    with pytest.raises(DataError, match="without_label"):
        train(*TASK, "data=code")
