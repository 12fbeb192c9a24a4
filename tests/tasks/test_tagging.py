"""Tagging of words: models, scores, runs, predictions; a run that is cut; what is refused."""

import itertools
import json
import os
import signal
from functools import partial

import numpy as np
import pytest
import torch
import yaml

from lm_research.callbacks.stop_signals import Stopped
from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.config.paths import shipped
from lm_research.config.problems import ConfigError
from lm_research.data.tagged_batches import tagged_batch
from lm_research.data.tagged_words import Sentence
from lm_research.tasks.tagging import Tagging
from lm_research.tracking.checkpoint_store import CheckpointStore

TASK = ("task=tagging", "task.epochs=2", "budget.batch_size=16", "budget.train_bytes=30000")
VOCABULARY, TAGS = 40, ["A", "B", "C"]


def options(group):
    return sorted(file.stem for file in (shipped("conf") / group).glob("*.yaml"))


OF_DOCUMENTS = ("bag", "char_cnn", "kim_cnn")
MODELS = [name for name in options("model") if name not in ("ngram", *OF_DOCUMENTS)]


VECTORIZERS = [name for name in options("vectorizer") if name not in ("glove", "word2vec")]
# Those two are an embedding, trained first.


def node(group, option):
    """A node of conf/ at a small size."""
    text = (shipped("conf") / group / f"{option}.yaml").read_text(encoding="utf-8")
    for name, value in (("budget.hidden_size", 8), ("budget.num_layers", 1), ("seed", 1)):
        text = text.replace(f"${{{name}}}", str(value))
    return yaml.safe_load(text)


def tagger(vectorizer, model, **task):
    torch.manual_seed(0)
    vectors = build(node("vectorizer", vectorizer), vocabulary_size=VOCABULARY)
    if vectors.needs_fit and getattr(vectors, "path", None) is None:
        rng = np.random.default_rng(1)
        vectors.fit([rng.integers(1, VOCABULARY, 30) for _ in range(20)])
    adam = partial(torch.optim.Adam, lr=0.01)

    def make_model(width):
        return build(node("model", model), input_size=width)

    inner = make_model(vectors.dim)
    return Tagging(vectors, inner, make_model, adam, lambda step: 1.0, TAGS, **task)


def sentence(rng, words):
    """So many words of one to three tokens."""
    tokens_W = rng.integers(1, 4, words)
    ids_N = rng.integers(1, VOCABULARY, tokens_W.sum())
    return Sentence(ids_N, np.cumsum(tokens_W), rng.integers(0, len(TAGS), words))


@pytest.fixture(scope="module")
def sentences():
    rng = np.random.default_rng(0)
    return [sentence(rng, words) for words in (1, 7, 3, 12, 2)]


def test_every_vectorizer_and_model_predicts_alone_as_in_a_batch_and_takes_a_step(sentences):
    pairs = itertools.product(VECTORIZERS, MODELS)
    for (vectorizer, model), both in zip(pairs, itertools.cycle([True, True, False])):
        task = tagger(vectorizer, model, bidirectional=both)
        task.eval()
        name = f"{vectorizer} {model} {both}"
        together = task.log_probabilities(tagged_batch(sentences))
        for row, one in zip(together, sentences, strict=True):
            alone = task.log_probabilities(tagged_batch([one]))[0]
            found = row[: len(one.ends_W)]
            torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5, msg=name)
        task.train()
        optimizer = task.configure_optimizers()["optimizer"]
        before = [p.detach().clone() for p in task.parameters()]
        task.training_step(tagged_batch(sentences), 0).backward()
        optimizer.step()
        changed = [not torch.equal(a, b) for a, b in zip(before, task.parameters(), strict=True)]
        assert any(changed[-2:]), name
        assert any(changed[:-2]), name


@pytest.mark.parametrize("model", MODELS)
def test_a_word_is_read_whole_and_only_two_directions_see_both_sides(model, sentences):
    ids_N, ends_W, tags_W = sentences[3]
    word = 5
    first, last = int(ends_W[word - 1]), int(ends_W[word]) - 1

    def changes(task, place):
        other = ids_N.copy()
        other[place] = other[place] % (VOCABULARY - 1) + 1
        both = [Sentence(ids, ends_W, tags_W) for ids in (ids_N, other)]
        one, two = task.eval().log_probabilities(tagged_batch(both))
        # equal rows of a product differ in the last bit now and then, by where they lie in memory
        return bool((one[word] - two[word]).abs().max() > 1e-6)

    forward, both = tagger("embedding", model, bidirectional=False), tagger("embedding", model)
    assert changes(forward, first)
    assert changes(forward, last)
    assert not changes(forward, last + 1)
    assert changes(both, last + 1)
    assert changes(both, first - 1)
    with torch.no_grad():  # the second model by itself
        size = both.model.output_size
        both.head.weight[:, :size] = 0
    assert changes(both, first)
    assert changes(both, last)
    assert not changes(both, first - 1)


def test_the_loss_is_the_mean_over_words_whose_tag_is_known(sentences):
    task = tagger("embedding", "gru").eval()
    unknown = sentences[1]._replace(tags_W=np.where(np.arange(7) == 2, -1, sentences[1].tags_W))
    given = [unknown, *sentences[2:]]
    log_p = [task.log_probabilities(tagged_batch([one]))[0] for one in given]
    nats = [-p[w, t] for p, one in zip(log_p, given, strict=True) for w, t in enumerate(one.tags_W)]
    kept = [
        n for n, t in zip(nats, np.concatenate([s.tags_W for s in given]), strict=True) if t >= 0
    ]
    found = task.training_step(tagged_batch(given), 0)
    torch.testing.assert_close(found.detach(), torch.stack(kept).mean())


# --- runs

WORDS = {
    "DET": ["the", "a", "every", "no"],
    "NOUN": ["dog", "cat", "bird", "house", "river", "friend", "idea"],
    "VERB": ["sees", "likes", "follows", "knows", "bites"],
}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Overrides of a corpus: CoNLL-U whose other column has chunks, one of whose words is new."""
    folder, rng = tmp_path_factory.mktemp("tagged"), np.random.default_rng(0)
    for split, count in (("train", 150), ("validation", 12), ("test", 12)):
        lines = []
        for number in range(count):
            tags = ["DET", "NOUN", "VERB", "DET", "NOUN", "PUNCT"]
            words = [rng.choice(WORDS[tag]) if tag in WORDS else "." for tag in tags]
            if split != "train" and number == 0:
                words[1] = "wug"
            chunks = ["B-NP", "I-NP", "B-VP", "B-NP", "I-NP", "O"]
            lines.append(f"# text = {' '.join(words)}".replace(" .", "."))
            for place, row in enumerate(zip(words, tags, chunks, strict=True), start=1):
                lines.append(f"{place}\t{row[0]}\t_\t{row[1]}\t{row[2]}\t_\t0\t_\t_\t_")
            lines.append("")
        (folder / f"{split}.conllu").write_text("\n".join([*lines, ""]), encoding="utf-8")
    file = "{{_target_: lm_research.data.downloads.RemoteFile, name: {0}.conllu, split: {0}, "
    file += "sha256: null, urls: []}}"
    files = ", ".join(file.format(split) for split in ("train", "validation", "test"))
    source = "data=ud_english_ewt", f"data.downloads={folder}", f"data.files=[{files}]"
    return [*source, "data.document=sentence", "budget.eval_bytes=9000"]


@pytest.fixture
def tag(train, corpus):
    return partial(train, *TASK, *corpus, "model=gru", "optimizer.lr=0.03")


def test_a_run_leaves_scores_predictions_and_a_table(tag, corpus, read_json, capsys):
    from lm_research.cli import evaluate, predict
    from lm_research.cli.train import result

    folder = tag("evaluate_on=[]", "task.epochs=4")
    summary = read_json(folder / "summary.json")
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    held = [row for row in rows if row["split"] == "validation"]
    assert len(held) == 12
    tags, predicted = ([tag for row in held for tag in row[key]] for key in ("tags", "predicted"))
    right = np.mean([a == b for a, b in zip(tags, predicted, strict=True)])
    assert right == pytest.approx(summary["val/accuracy"])
    assert summary["val/accuracy"] > 0.9
    assert summary["val/words"] == summary["test/words"] == 12 * 6
    assert summary["val/words_unseen"] == summary["test/words_unseen"] == 1
    assert summary["baseline/most_frequent/val_accuracy"] >= 71 / 72
    assert summary["baseline/most_frequent/test_f1_macro"] > 0.9
    table = read_json(folder / "classes.json")
    assert table["classes"] == ["DET", "NOUN", "PUNCT", "VERB"]
    cells = np.array(table["validation"]["confusion"])
    assert np.trace(cells) / cells.sum() == pytest.approx(right)
    assert read_json(folder / "data.json")["tags"]["validation"]["VERB"] == 12
    assert "val/accuracy" in result(folder)[0]
    evaluate.run([f"run={folder}", "split=test", "checkpoint=best"])
    scores = json.loads((folder / "evaluations.jsonl").read_text())
    for name in ("accuracy", "accuracy_unseen", "loss_nats"):
        assert scores[name] == pytest.approx(summary[f"test/{name}"])
    baseline = "baseline/most_frequent/accuracy"
    assert scores[baseline] == summary["baseline/most_frequent/test_accuracy"]
    capsys.readouterr()
    text = folder / "texts.jsonl"
    lines = ["The dog sees a cat.", "no", "every friend knows the river. " * 90]
    text.write_text("\n".join(json.dumps({"id": i, "text": t}) for i, t in enumerate(lines)))
    outputs = []
    for size in (1, 3):
        predict.run([f"run={folder}", f"input={text}", f"batch_size={size}"])
        outputs.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert outputs[0] == outputs[1]
    assert outputs[0][0]["words"] == ["The", "dog", "sees", "a", "cat", "."]
    assert outputs[0][0]["tags"][-1] == "PUNCT"
    assert [len(row["tags"]) for row in outputs[0]] == [6, 1, 6 * 90]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("text", ["byte", "character", "word"])
def test_every_tokenizer_learns_chunks_and_the_run_has_their_scores(tag, text, read_json):
    summary = read_json(tag(f"text={text}", "data.tag_column=4", "task.epochs=3") / "summary.json")
    assert 0 < summary["val/f1_span"] <= 1
    assert summary["baseline/most_frequent/val_f1_span"] > 0.9
    assert summary["val/accuracy"] > 0.5


def test_another_source_is_scored_on_the_tags_that_it_shares(corpus, tiny, tmp_path, read_json):
    from lm_research.cli import evaluate
    from lm_research.cli.job import run
    from lm_research.cli.sweep_cost import cost

    config = compose([*tiny, *TASK, *corpus, "model=rnn", "task.epochs=1"]).config
    assert cost(config).parameters > 0
    folder, other = tmp_path / "run", tmp_path / "other"
    other.mkdir()
    row = "1\tThe\t_\tDET\n2\tdog\t_\tNOUN\n3\tquickly\t_\tADV\n\n"
    (other / "held.conllu").write_text(row * 3)
    files = [{**config["data"]["files"][1], "name": "held.conllu"}]
    node = {**config["data"], "name": "held", "downloads": str(other), "files": files}
    run({**config, "evaluate_on": {"held": node}}, folder)
    summary = read_json(folder / "summary.json")
    counts = ("words", "other_tags", "words_unseen", "sentences")
    assert [summary[f"eval/held/{name}"] for name in counts] == [6, 3, 3, 3]
    scores = evaluate.score(evaluate.Options(run=str(folder), checkpoint="best"), node)
    assert scores["accuracy"] == summary["eval/held/accuracy"]
    assert [scores[name] for name in counts] == [6, 3, 3, 3]
    assert scores["baseline/most_frequent/accuracy"] >= 1 / 2


def test_a_cut_run_ends_like_an_undisturbed_one(tag, at_step, tmp_path):
    noise = ("model.output_dropout=0.3", "model.num_layers=2", "callbacks.checkpoint.every=5")
    whole = tag(*noise, output="whole")
    at_step(7, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped):
        tag(*noise, output="cut")
    cut = tag(*noise, output="cut")
    files = [CheckpointStore(folder / "checkpoints").path("last") for folder in (whole, cut)]
    first, second = (torch.load(file, weights_only=True) for file in files)
    assert first["global_step"] == second["global_step"] > 7
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    assert (whole / "predictions.jsonl").read_text() == (cut / "predictions.jsonl").read_text()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data=tweets"], "ud_english_ewt, ud_chinese_gsdsimp, conll2000, brown"),
        (["data=conll2000", "evaluate_on=[tweets]"], "evaluate_on.tweets"),
        (["data=conll2000", "model=bag"], "model=lstm"),
        (["data=conll2000", "model=kim_cnn"], "model=lstm"),
        (["data=conll2000", "model=ngram"], "model=lstm"),
        (["data=conll2000", "trainer.devices=2"], "one process"),
        (["data=conll2000", "text=word_tagged"], "text.tagger"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_starts(overrides, told):
    with pytest.raises(ConfigError, match=told):
        compose(["task=tagging", *overrides])
