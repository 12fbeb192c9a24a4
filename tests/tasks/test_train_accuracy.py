"""``train/accuracy`` is that of all logits, counted along the way; training is the same without."""

import json

import pytest
import pytorch_lightning as pl
import torch

from lm_research.callbacks.metrics import MetricsLogger
from lm_research.cli.assembly import assemble
from lm_research.cli.fitting import make_trainer
from lm_research.config.compose import compose
from lm_research.data.pair_batches import inputs_of
from lm_research.tasks import head_loss
from lm_research.tasks.head_loss import NO_TARGET
from lm_research.tasks.lean_loop import LeanOptimization
from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_folder import RunFolder

LANGUAGE = ("budget.train_tokens=1600", "optimizer.lr=0.05", "text=byte")
DOCUMENTS = ("task.epochs=1", "budget.train_bytes=3000", "text=word")
TINY = (
    "budget=smoke",
    "budget.batch_size=4",
    "budget.window=16",
    "budget.hidden_size=16",
    "budget.eval_bytes=2000",
    "trainer=cpu",
    "trainer.threads=1",
    "tracking=disabled",
)
EVERY = 12
BLOCKS = {"few": 1 << 25, "blocks": 0}


def first_of(logits_NV):
    """Places in a stable sort: of equal logits the one of lower index."""
    return logits_NV.sort(dim=-1, descending=True, stable=True).indices[:, 0]


def tagged_sentences(folder):
    """Sentences of different lengths in the place of the corpus, and the options that say so."""
    sentences = []
    for number in range(60):
        tags = ["DET", "NOUN", "VERB", "ADV"][: 2 + number % 3]
        words = [f"{tag.lower()}{number % 7}" for tag in tags]
        pairs = enumerate(zip(words, tags, strict=True), start=1)
        rows = [f"{n}\t{word}\t_\t{tag}" + "\t_" * 6 for n, (word, tag) in pairs]
        sentences.append("\n".join([f"# text = {' '.join(words)}", *rows, "", ""]))
    files = []
    for split, part in (("train", sentences), ("validation", sentences[:5])):
        (folder / f"{split}.conllu").write_text("".join(part), encoding="utf-8")
        files.append(
            "{_target_: lm_research.data.downloads.RemoteFile, "
            f"name: {split}.conllu, split: {split}, sha256: null, urls: []}}"
        )
    return f"data.downloads={folder}", f"data.files=[{', '.join(files)}]", "data.document=sentence"


class Replayed(pl.Callback):
    """Right predictions of one batch in ten and of those that end a row.

    From the logits that the model gives just before the step.
    """

    def __init__(self, said):
        self.said, self.right, self.count, self.rows = said, 0, 0, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (batch_idx + 1) % 10 and not self.ends_a_row(trainer, batch_idx):
            return
        with trainer.precision_plugin.forward_context(), torch.no_grad():
            logits_NV, targets_N = self.said(pl_module, batch)
        real_N = targets_N >= 0
        self.right += int((first_of(logits_NV) == targets_N)[real_N].sum())
        self.count += int(real_N.sum())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.ends_a_row(trainer, batch_idx):
            self.rows.append(self.right / self.count)
            self.right = self.count = 0

    def ends_a_row(self, trainer, batch_idx):
        return batch_idx + 1 in (*range(EVERY, 1000, EVERY), trainer.num_training_batches)


def said_of_windows(module, batch):
    fresh = batch.fresh or module.stream is None
    y_BTH, _ = module.hidden(batch.ids_BT, (None, None) if fresh else module.stream)
    last = slice(-1 if module.predict == "last" else None, None)
    return module.head(y_BTH[:, last].flatten(0, 1)), batch.targets_BT[:, last].flatten()


def said_of_documents(module, batch):
    return module.logits(batch), batch.labels_B


def said_of_words(module, batch):
    return module.logits(batch).flatten(0, 1), batch.tags_BW.flatten()


def said_of_pairs(module, batch):
    memory, state = module.begin(batch.source_BS, batch.source_lengths_B)
    a_BTH, weight_BTS, _ = module.decode(inputs_of(batch.target_BT), memory, state)
    return module._log_p(a_BTH, weight_BTS, memory).flatten(0, 1), batch.target_BT.flatten()


def fitted(cache, folder, options, said=said_of_windows):
    """The module, accuracies of its rows, those replayed, and whether the plain loop ran."""
    config = compose([*TINY, f"cache={cache}", *options]).config
    assembly, replayed = assemble(config), Replayed(said)
    with RunFolder.create(folder, config) as run, Recorder(run, []) as recorder:
        metrics = MetricsLogger(recorder, every=EVERY)
        trainer = make_trainer(config["trainer"], [metrics, replayed])
        trainer.fit(assembly.model, datamodule=assembly.data)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lean = isinstance(trainer.fit_loop.epoch_loop.automatic_optimization, LeanOptimization)
    return assembly.model, [row.get("train/accuracy") for row in rows], replayed.rows, lean


@pytest.mark.parametrize("many", BLOCKS)
@pytest.mark.parametrize(
    ("options", "lean"),
    [
        ([], True),
        (["trainer.precision=bf16-mixed"], True),
        (["trainer.precision=64-true"], False),
        (["trainer.accumulate=2"], False),
        (["task.tie_weights=true", "vectorizer.dim=12"], True),
        (["task.predict=last", "task.label_smoothing=0.1"], True),
    ],
)
def test_of_language_models(cache, tmp_path, monkeypatch, many, options, lean):
    monkeypatch.setattr(head_loss, "MANY_LOGITS", BLOCKS[many])
    _, told, replayed, found = fitted(cache, tmp_path / "run", [*LANGUAGE, *options])
    assert found is lean
    assert len(told) == 3
    assert told == replayed
    assert max(told) > 0


@pytest.mark.parametrize(
    ("said", "options"),
    [
        (said_of_documents, ["task=classification", "data=bbc_news", "model=gru"]),
        (said_of_words, ["task=tagging", "data=ud_english_ewt", "model=gru"]),
        (said_of_pairs, ["task=translation", "data=interface_en", "model=gru"]),
        (said_of_pairs, ["task=translation", "data=interface_en", "model=gru", "task.copy=true"]),
    ],
)
def test_of_other_tasks(cache, tmp_path, said, options):
    if "task=tagging" in options:
        options = [*options, *tagged_sentences(tmp_path)]
    _, told, replayed, lean = fitted(cache, tmp_path / "run", [*DOCUMENTS, *options], said)
    assert lean
    assert told == replayed


@pytest.mark.parametrize("many", BLOCKS)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_weights_are_the_same_bits_without(cache, tmp_path, monkeypatch, many, precision):
    monkeypatch.setattr(head_loss, "MANY_LOGITS", BLOCKS[many])
    options = [*LANGUAGE, "model.dropout=0.2", "model.num_layers=2"]
    options += [f"trainer.precision={precision}"]
    with_it, told, _, _ = fitted(cache, tmp_path / "with", options)
    without, untold, _, lean = fitted(
        cache, tmp_path / "without", [*options, "task.train_accuracy=false"]
    )
    assert lean
    assert None not in told
    assert set(untold) == {None}
    for (name, a), b in zip(
        with_it.state_dict().items(), without.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("layer", ["adaptive", "sampled"])
def test_none_where_the_loss_does_not_see_every_output(cache, tmp_path, layer):
    options = [*LANGUAGE, f"output_layer={layer}"]
    options += ["output_layer.samples=20"] if layer == "sampled" else []
    said = lambda module, batch: (torch.zeros(1, 2), torch.zeros(1))  # noqa: E731
    _, told, *_ = fitted(cache, tmp_path / "run", options, said)
    assert set(told) == {None}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("ignore", [NO_TARGET, -1, 2])
@pytest.mark.parametrize("many", BLOCKS)
def test_ties_and_targets_that_do_not_count(monkeypatch, dtype, ignore, many):
    monkeypatch.setattr(head_loss, "MANY_LOGITS", BLOCKS[many])
    torch.manual_seed(0)
    y_NH = torch.randn(60, 3).round().to(dtype).requires_grad_()
    weight_VH = torch.randn(9, 3).round().to(dtype).requires_grad_()  # few values: many ties
    targets_N = torch.randint(9, (60,))
    targets_N[10:20] = ignore
    given = y_NH, weight_VH, None, targets_N, 0.1, ignore
    (loss, hits_2), alone = head_loss.head_loss_with_hits(*given), head_loss.head_loss(*given)
    assert torch.equal(loss, alone)
    found = [torch.autograd.grad(one, [y_NH, weight_VH]) for one in (loss, alone)]
    assert all(map(torch.equal, *found))
    real_N = targets_N != ignore
    right_N = first_of(y_NH @ weight_VH.T) == targets_N
    assert hits_2.tolist() == [int((right_N & real_N).sum()), int(real_N.sum())]
    assert 0 < hits_2[0] < hits_2[1] < 60
