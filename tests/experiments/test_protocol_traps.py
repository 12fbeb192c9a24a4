"""Details of a protocol that move a published number, each turned on: the number moves as told."""

import os
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lm_research.cli.assembly import build_model
from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.config.expected import read_expected
from lm_research.config.paths import experiments
from lm_research.data.batches import Batch
from lm_research.metrics.flops import parameter_count
from lm_research.models.ngram import KneserNey
from lm_research.studies.experiments import find
from lm_research.studies.plan import override_text
from lm_research.tasks.classification import shorten
from lm_research.tasks.evaluation import evaluating
from lm_research.text.cleaning import Cleaner
from lm_research.text.spaced import SpacedTokenizer

DOWNLOADS = os.environ.get("LM_RESEARCH_DOWNLOADS")
corpora = pytest.mark.skipif(not DOWNLOADS, reason="LM_RESEARCH_DOWNLOADS names no folder")


@pytest.fixture(scope="module")
def treebank():
    """Vocabulary size, and the stream of each split, with the experiment's own options."""
    node = compose(["experiment=kneser_ney_ptb", f"downloads={DOWNLOADS}"]).config
    tokenizer, found = SpacedTokenizer(10_000), {"train": [], "validation": [], "test": []}
    for document in build(node["data"]):
        found[document.split].append(document.text)
    tokenizer.train(found["train"])
    streams = {
        split: np.concatenate([[0], *(np.append(tokenizer.encode(t).ids_N, 0) for t in texts)])
        for split, texts in found.items()
    }
    return tokenizer.vocabulary_size, streams, found


def perplexity(model, ids_N):
    nats = 0.0
    for start in range(0, len(ids_N) - 1, 2048):
        stop = min(start + 2048, len(ids_N) - 1)
        log_p = model.log_probabilities(ids_N, start, stop)
        nats -= log_p[np.arange(stop - start), ids_N[start + 1 : stop + 1]].sum()
    return np.exp(nats / (len(ids_N) - 1))


@corpora
@pytest.mark.slow
def test_one_discount_an_order_is_another_kneser_ney(treebank):
    size, streams, _ = treebank
    assert (size, len(streams["test"]) - 1) == (10_000, 82_430)  # closed, <unk> and ends counted
    expected = read_expected(experiments()["kneser_ney_ptb"] / "expected.yaml")
    for discounts, known in (("modified", 148.28), ("single", 150.60)):
        model = KneserNey(size, 3, discounts=discounts)
        model.fit(streams["train"])
        found = perplexity(model, streams["test"])
        assert found == pytest.approx(known, abs=0.02)
        row = expected.row("KN3")
        assert (abs(found - row.published) <= row.tolerance) == (discounts == "modified")


@corpora
def test_ends_of_lines_and_spaces_are_counted_as_published(treebank):
    """Characters: one space between words and one newline a line, or the file's raw bytes."""
    _, streams, texts = treebank
    assert (streams["test"] == 0).sum() - 1 == 3_761
    assert sum(len(text) + 1 for text in texts["test"]) == 442_423  # Mikolov, Merity
    node = compose(["data=ptb", "data.strip=false", f"downloads={DOWNLOADS}"]).config["data"]
    raw = [document.text for document in build(node) if document.split == "test"]
    assert sum(len(text) + 1 for text in raw) == 449_945


@corpora
def test_bais_characters_are_without_the_space_that_begins_a_line():
    """5,059K, 396K and 446K, and 50 different ones, the end of a line among them."""
    config = compose(["experiment=bai_char_ptb", f"downloads={DOWNLOADS}"]).config
    clean, texts = Cleaner(build(config["text"]["cleaning"])).clean, defaultdict(list)
    for document in build(config["data"]):
        texts[document.split].append(clean(document.text))
    counts = {split: sum(len(text) + 1 for text in found) for split, found in texts.items()}
    assert counts == {"train": 5_059_550, "validation": 396_412, "test": 446_184}
    assert len(set("\n".join(texts["train"]))) == 50


def step(lr, clip, reduction, window):
    """Weights after one update by the sum over time, averaged over the batch, or by the mean."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 9).double()
    x_BTD, y_BT = torch.randn(20, window, 6).double() * 3, torch.randint(9, (20, window))
    loss = F.cross_entropy(layer(x_BTD).flatten(0, 1), y_BT.flatten())
    if reduction == "sum over time":
        loss = loss * window
    loss.backward()
    torch.nn.utils.clip_grad_norm_(layer.parameters(), clip)
    torch.optim.SGD(layer.parameters(), lr).step()
    return layer.weight.detach()


@pytest.mark.parametrize(
    ("name", "window", "norm"),
    [("zaremba_small", 20, 5.0), ("zaremba_medium", 35, 5.0), ("zaremba_large", 35, 10.0)],
)
def test_a_loss_summed_over_time_is_a_rate_and_a_norm(name, window, norm):
    config = compose([f"experiment={name}"]).config
    lr, clip = config["optimizer"]["lr"], config["trainer"]["gradient_clip"]
    assert config["budget"]["window"] == window
    published = step(1.0, norm, "sum over time", window)
    assert torch.allclose(step(lr, clip, "mean", window), published, rtol=0, atol=1e-5)
    assert not torch.allclose(step(1.0, norm, "mean", window), published, rtol=0, atol=1e-2)


@pytest.mark.parametrize("name", ["karpathy_book", "karpathy_war_and_peace"])
def test_entries_of_a_sum_over_time_are_clipped_as_those_of_a_mean(name):
    """char-rnn clips entries at 5 and leaves out the division by 100, which RMSProp undoes."""
    config = compose([f"experiment={name}"]).config
    window, largest = config["budget"]["window"], config["trainer"]["gradient_clip"]
    assert config["trainer"]["gradient_clip_by"] == "value"
    published = rmsprop_steps(5.0, window)
    torch.testing.assert_close(rmsprop_steps(largest, 1), published, rtol=0, atol=1e-5)
    assert not torch.allclose(rmsprop_steps(5.0, 1), published, rtol=0, atol=1e-3)


def rmsprop_steps(largest, factor):
    """Weights after some gradients, of which every third is large, times a factor and clipped."""
    weight = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.RMSprop([weight], lr=0.002, alpha=0.95)
    generator = torch.Generator().manual_seed(1)
    for number in range(30):
        gradient = torch.randn(50, generator=generator, dtype=torch.float64)
        weight.grad = gradient * factor * (0.5 if number % 3 == 0 else 0.01)
        torch.nn.utils.clip_grad_value_([weight], largest)
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize(
    "name",
    ["zaremba_small", "zaremba_medium", "zaremba_large", "awd_lstm_ptb", "bai_word_ptb",
     "bai_char_ptb", "karpathy_book", "karpathy_war_and_peace"],
)  # fmt: skip
def test_lanes_are_cut_alike_in_every_pass_as_in_the_authors_code(name):
    """Cut elsewhere in every pass, Zaremba's small LSTM is better by 2.6 % (decision 34)."""
    assert compose([f"experiment={name}"]).config["task"]["windows"] == "repeated"


@pytest.mark.parametrize(
    ("name", "hold", "epochs", "divisor"),
    [("zaremba_small", 4, 13, 2), ("zaremba_medium", 6, 39, 1.2), ("zaremba_large", 14, 55, 1.15)],
)
def test_the_paper_holds_its_rate_for_an_epoch_less_than_the_code(name, hold, epochs, divisor):
    """Zaremba's small LSTM, seed 1: 117.9, 112.0 by the paper; 120.7, 115.2 by the code."""
    config = compose([f"experiment={name}"]).config
    budget, node = config["budget"], config["scheduler"]
    lanes = 929_589 // budget["batch_size"] // budget["window"]
    assert budget["train_tokens"] == epochs * lanes * budget["batch_size"] * budget["window"]
    assert node["every_steps"] == lanes
    assert node["hold_steps"] == (hold + 1) * lanes
    paper = build({**node, "hold_steps": hold * lanes}, steps=1)
    code = build(node, steps=1)
    for epoch in range(epochs):
        middle = lanes * epoch + lanes // 2
        assert paper(middle) == pytest.approx(divisor ** -max(epoch + 1 - hold, 0))
        assert code(middle) == pytest.approx(divisor ** -max(epoch - hold, 0))


def awd_lstm(*overrides):
    """AWD-LSTM's own task, of fewer units, in float64."""
    sizes = ("vectorizer.dim=12", "model.hidden_size=30", "model.last_hidden_size=12")
    config = compose(["experiment=awd_lstm_ptb", *sizes, *overrides]).config
    tokenizer = SpacedTokenizer(10_000)
    tokenizer.train([" ".join(f"w{n}" for n in range(40))])
    torch.manual_seed(0)
    task = build_model(config, tokenizer, None).double()
    with torch.no_grad():  # fresh weights hardly look at the state
        for weight in task.parameters():
            weight.mul_(4)
    return task


def test_weights_dropped_in_evaluation_would_move_the_number():
    """Evaluation takes whole matrices, words and outputs, and its loss has no penalty."""
    task, plain = awd_lstm(), awd_lstm("model.weight_drop=0", "vectorizer.dropout=0")
    ids_BT = torch.randint(task.vocabulary_size, (4, 60))
    batch = Batch(ids_BT[:, :-1], ids_BT[:, 1:], True)

    def nats(one):
        return one.training_step(batch, 0).item()

    with evaluating(task), evaluating(plain):
        assert nats(task) == nats(task) == nats(plain)
    only = awd_lstm(
        "vectorizer.dropout=0", *(f"model.{p}dropout=0" for p in ("", "input_", "output_"))
    )
    only.load_state_dict(task.state_dict())
    with evaluating(only):
        whole = nats(only)
    assert whole == pytest.approx(nats(task.eval()))
    assert abs(nats(only.train()) - whole) > 0.01


def test_awd_lstm_is_of_the_size_that_its_authors_print():
    """24 million weights with 10,000 words, those that the output layer shares counted once."""
    config = compose(["experiment=awd_lstm_ptb"]).config
    tokenizer = SimpleNamespace(vocabulary_size=10_000)
    with torch.device("meta"):
        task = build_model(config, tokenizer, None)
    assert parameter_count(task) == 24_221_600
    assert [layer.hidden_size for layer in task.model.layers] == [1150, 1150, 400]


def test_kims_norm_of_3_is_ours_of_a_half_of_it():
    """Units dropped and weights halved afterwards, or units dropped and doubled."""
    torch.manual_seed(0)
    theirs_CH, z_H = torch.randn(2, 300).double(), torch.rand(300).double()
    ours_CH, kept_H = theirs_CH / 2, (torch.rand(300) < 0.5).double()
    bound = compose(["experiment=kim_cnn_mr"]).config["model"]["max_norm"]
    shorten(theirs_CH, 3.0)  # the paper's s
    shorten(ours_CH, bound)
    assert theirs_CH.norm(dim=1).max() == pytest.approx(3.0)
    torch.testing.assert_close(ours_CH @ (z_H * kept_H * 2), theirs_CH @ (z_H * kept_H))
    torch.testing.assert_close(ours_CH @ z_H, (theirs_CH * 0.5) @ z_H)


KIMS_WORDS = [
    ("it's so laddish", "it 's so laddish"),
    ("isn't (really) funny, we've said .", "is n't ( really ) funny , we 've said"),
    ('a B-movie! why?-- "no"', "a b movie ! why ? no"),
    ("they'd they'll you're 3.5", "they 'd they 'll you 're 3 5"),
]


@pytest.mark.parametrize(("text", "words"), KIMS_WORDS)
def test_the_text_of_mr_is_cut_as_kims_code_cuts_it(text, words):
    rules = build(compose(["experiment=kim_cnn_mr"]).config["text"]["cleaning"])
    assert Cleaner(rules).clean(text).split() == words.split()


@corpora
def test_kims_vocabulary_of_mr_is_the_published_one():
    """Table 1: 18,765 words, of 10,662 sentences of 20 words each. One word is not in our files."""
    config = compose(["experiment=kim_cnn_mr", f"downloads={DOWNLOADS}"]).config
    clean = Cleaner(build(config["text"]["cleaning"])).clean
    sentences = [clean(document.text).split() for document in build(config["data"])]
    assert len(sentences) == 10_662
    assert len({word for words in sentences for word in words}) == 18_764
    assert round(np.mean([len(words) for words in sentences])) == 20


@pytest.mark.parametrize("name", ["kim_cnn_mr", "dan_mr"])
def test_a_number_by_cross_validation_has_every_fold_once(name):
    experiment = find(name)
    data = compose([f"experiment={name}", "seed=5"]).config["data"]
    assert (data["folds"], data["fold_seed"], data["validation_share"]) == (10, 5, 0.1)
    for row in experiment.expected.rows:
        assert row.mean_over == {"data.fold": list(range(10))}


def test_the_penalty_of_the_averaging_network_is_over_its_batch():
    """The authors' gradient: that of the documents' sum and of 1e-4 / 2 |w|^2, over the batch."""
    config = compose(["experiment=dan_mr"]).config
    batch, decay = config["budget"]["batch_size"], config["optimizer"]["weight_decay"]
    torch.manual_seed(0)
    x_BD, y_B = torch.randn(batch, 5).double(), torch.randint(2, (batch,))
    theirs, ours = (torch.nn.Linear(5, 2).double() for _ in range(2))
    ours.load_state_dict(theirs.state_dict())
    total = F.cross_entropy(theirs(x_BD), y_B, reduction="sum")
    total = total + 0.5e-4 * sum(p.square().sum() for p in theirs.parameters())
    (total / batch).backward()
    F.cross_entropy(ours(x_BD), y_B).backward()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own.grad + decay * own, other.grad, rtol=0, atol=5e-8)
    plain = [p.grad for p in ours.parameters()]
    assert not torch.allclose(plain[0], theirs.weight.grad, rtol=0, atol=5e-8)


@pytest.mark.parametrize("name", ["elman_ptb", "nplm_ptb"])
def test_an_evaluation_follows_each_epoch(name):
    """A plateau is one of epochs: rnnlm's 0.3 % is a gain of a pass over the text."""
    config = compose([f"experiment={name}"]).config
    budget, times = config["budget"], config["callbacks"]["evaluation"]["times"]
    batch = budget["batch_size"] * budget["window"]
    lanes = 929_589 // budget["batch_size"] // budget["window"]
    assert budget["train_tokens"] == times * lanes * batch


def test_the_log_bilinear_row_reads_and_predicts_with_the_same_vectors():
    setting = read_expected(experiments()["nplm_ptb"] / "expected.yaml").row("LBL").setting
    words = [f"{key}={override_text(value)}" for key, value in setting.items()]
    config = compose(["experiment=nplm_ptb", *words]).config
    assert config["model"]["_target_"].endswith("LogBilinear")
    assert config["task"]["tie_weights"]
    assert config["model"]["hidden_size"] == config["vectorizer"]["dim"]  # no projection between


BAIS_TOKENS = [("bai_char_ptb", 5_059_550), ("bai_word_ptb", 929_589)]


@pytest.mark.parametrize(("name", "tokens"), BAIS_TOKENS)
def test_bais_epochs_are_of_windows_that_overlap(name, tokens):
    config = compose([f"experiment={name}"]).config
    budget, times = config["budget"], config["callbacks"]["evaluation"]["times"]
    scored = budget["window"] - config["task"]["unscored"]
    steps = tokens // budget["batch_size"] // scored
    assert budget["train_tokens"] == times * steps * budget["batch_size"] * budget["window"]
    assert not config["task"]["carry_state"]


@corpora
@pytest.mark.parametrize("name", ["karpathy_book", "karpathy_war_and_peace"])
def test_karpathys_text_has_the_papers_characters(name):
    config = compose([f"experiment={name}", f"downloads={DOWNLOADS}"]).config
    cleaner = Cleaner(build(rule) for rule in config["text"]["cleaning"])
    texts = [cleaner.clean(document.text) for document in build(config["data"])]
    characters = sum(len(text) for text in texts)
    assert characters == pytest.approx(3_258_246, rel=1e-3)
    assert all(text.isascii() and "CHAPTER" not in text for text in texts)
    lines = sum(text.count("\r\n") for text in texts)
    assert lines == sum(text.count("\n") for text in texts)
    assert characters - lines < 0.985 * 3_258_246  # with LF alone it would be another text


def test_karpathys_rate_holds_for_ten_epochs():
    config = compose(["experiment=karpathy_war_and_peace"]).config
    budget, node = config["budget"], config["scheduler"]
    epoch = 2_606_596 // budget["batch_size"] // budget["window"]
    assert (node["every_steps"], node["hold_steps"]) == (epoch, 10 * epoch)
    assert budget["train_tokens"] == 50 * epoch * budget["batch_size"] * budget["window"]
    rates = [build(node, steps=1)(epoch * n + epoch // 2) for n in range(12)]
    assert rates == [1.0] * 10 + [0.95, pytest.approx(0.95**2)]


ROWS = [
    pytest.param(name, row, id=f"{name}: {row.name}")
    for name in ("bai_char_ptb", "bai_word_ptb", "min_rnn_shakespeare", "karpathy_war_and_peace")
    for row in find(name).expected.rows
]


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_each_row_is_a_model_that_can_be_composed(name, row):
    words = [f"{key}={override_text(value)}" for key, value in row.setting.items()]
    config = compose([f"experiment={name}", *words]).config
    kind = config["model"]["_target_"].rpartition(".")[2]
    assert row.name.split()[0].lower() == kind.lower()
    carries = kind in ("LSTM", "GRU", "RNN")
    assert config["task"]["carry_state"] == carries
    assert (config["task"]["unscored"] > 0) == (kind == "TCN")
