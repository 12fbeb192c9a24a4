"""Runs of task=translation and task=summarization: scores, evaluate, predict, resume, refusals."""

import json

import pytest
import sacrebleu
import torch

from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.data.document import DataError
from lm_research.tracking.checkpoint_store import CheckpointStore

SMALL = ("task.epochs=1", "budget.batch_size=16", "task.beam=2", "task.longest_extra=3")
SHORT = ("budget.train_bytes=12000", "budget.eval_bytes=800", "task.most_source=48")
TRANSLATION = ("task=translation", "data=interface_en", "model=gru", *SMALL, *SHORT)
TITLES = ("task=summarization", "data=bbc_headlines", "model=lstm", *SMALL, "budget.batch_size=4")
WORDS = ("text=word", "task.vocabulary=separate")


def rows_of(folder, name="predictions.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("more", [(), (*WORDS, "task.attention=additive"), ("model=cnn",)])
def test_a_translation_leaves_scores_of_what_it_wrote(train, read_json, capsys, more):
    from lm_research.cli import evaluate, predict

    folder = train(*TRANSLATION, *more)
    summary, rows = read_json(folder / "summary.json"), rows_of(folder)
    held = [row for row in rows if row["split"] == "validation"]
    written, true = [r["predicted"] for r in held], [r["target"] for r in held]
    expected = sacrebleu.corpus_bleu(written, [true], tokenize="zh").score
    assert summary["val/bleu"] == pytest.approx(expected)
    copied = sacrebleu.corpus_bleu([r["source"] for r in held], [true], tokenize="zh").score
    assert summary["baseline/copy_source/val_bleu"] == pytest.approx(copied)
    assert any("tok:zh" in text for text in read_json(folder / "data.json")["signatures"])
    assert {r["split"] for r in rows} == {"validation", "test"}

    evaluate.run([f"run={folder}", "checkpoint=best"])
    scores = rows_of(folder, "evaluations.jsonl")[0]
    assert scores["bleu"] == summary["val/bleu"]
    assert scores["loss_nats"] == pytest.approx(summary["val/loss_nats"])

    lines = folder / "lines.jsonl"
    texts = [{"id": row["id"], "text": row["source"]} for row in held[:9]]
    lines.write_text("\n".join(map(json.dumps, texts)), encoding="utf-8")
    capsys.readouterr()
    for size in (1, 4):
        predict.run([f"run={folder}", f"input={lines}", f"batch_size={size}"])
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["id"] for row in found] == [row["id"] for row in texts]
        assert [row["predicted"] for row in found] == written[:9]


def test_a_summary_is_scored_beside_extracts_of_its_document(train, read_json):
    folder = train(*TITLES, "budget.train_bytes=40000", "budget.eval_bytes=6000", "task.copy=true")
    summary = read_json(folder / "summary.json")
    for name in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        assert 0 <= summary[f"val/{name}"] <= 100
        for baseline in ("lead_words", "lead", "tfidf", "textrank"):
            assert summary[f"baseline/{baseline}/test_{name}"] > 0
    assert 0 <= summary["val/copy_rate"] <= 1
    attended = read_json(folder / "attention.json")["texts"]
    for text in attended:
        assert len(text["weights"]) == len(text["written"])
        for row in text["weights"]:
            assert len(row) == len(text["source"])
            assert sum(row) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("more", [(), ("model=transformer", "task.scheduled_sampling=0.5")])
def test_a_cut_run_ends_like_an_undisturbed_one(train, cut, more):
    ways = (*TRANSLATION, "model.dropout=0.3", "model.num_layers=2", "callbacks.checkpoint.every=5")
    ways += ("budget.train_bytes=5000", "budget.eval_bytes=300")
    whole = train(*ways, *more, output="whole")
    cut(7, *ways, *more)
    again = train(*ways, *more, output="cut")
    files = [CheckpointStore(folder / "checkpoints").path("last") for folder in (whole, again)]
    first, second = (torch.load(file, weights_only=True) for file in files)
    assert first["global_step"] == second["global_step"] > 7
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    assert (whole / "predictions.jsonl").read_text() == (again / "predictions.jsonl").read_text()


def test_what_does_not_fit_is_told_before_anything_starts(train):
    for overrides, told in [
        (["task=translation", "model=ngram"], "model=lstm, gru, rnn"),
        (["task=translation", "model=kim_cnn"], "model=lstm, gru, rnn"),
        (["task=summarization", "trainer.devices=2"], "one process"),
        (["task=translation", "task.copy=true", "task.vocabulary=separate"], "shared"),
        (["task=translation", "task.tie_weights=true", "vectorizer.dim=6"], "vectorizer.dim="),
        (["task=translation", "model=transformer", "task.attention=additive"], "multiplicative"),
        (["task=translation", "model=transformer", "task.input_feeding=true"], "null, false"),
        (["task=translation", "model=transformer", "model.positions=learned"], "most_source=256"),
    ]:
        with pytest.raises(ConfigError, match=told):
            compose(overrides)
    with pytest.raises(DataError, match="target"):
        train("task=translation", *SMALL, "data=tweets", "model=gru")
