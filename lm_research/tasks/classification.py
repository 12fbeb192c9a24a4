"""Classification of documents: one LightningModule for every vectorizer and every model.

Shapes: B batch, T time, D vector, H hidden, C classes.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveInt
from lm_research.data.document_batches import PADDING, DocumentBatch
from lm_research.models.document_models import DocumentModel, VectorModel
from lm_research.models.sequence_model import SequenceModel
from lm_research.models.word_dropout import drop_words
from lm_research.tasks.document_task import DocumentTask
from lm_research.tasks.head_loss import NO_TARGET
from lm_research.tasks.hits import hits_of, tally
from lm_research.tasks.language_modeling import default_dtype
from lm_research.tasks.pooling import Pooling
from lm_research.vectorizers.vectorizer import Vectorizer


class Classification(DocumentTask):
    """ids -> vectorizer -> model -> one vector a document -> logits -> log p(class).

    A ``VectorModel`` reads the vectorizer's vector of the whole document; a ``SequenceModel`` the
    vectors of its tokens, and what it says is pooled; a ``DocumentModel`` pools by itself.

    Training reads every document ``epochs`` times, ``budget.batch_size`` at a time;
    ``budget.train_tokens`` and ``budget.window`` mean nothing here.

    Args:
        vectorizer: ids_BT -> x_BTD, or documents -> x_BD.
        model: any of the three.
        optimizer: parameters -> optimizer.
        scheduler: step -> factor on the learning rate.
        classes: names, in the order of the outputs.
        class_counts: training documents of each; None where a checkpoint is about to be loaded.
        epochs: passes over the training split.
        pooling: of a ``SequenceModel``'s outputs; see :class:`Pooling`.
        labels: ``one``: a softmax, and the loss is -log p(label). ``several``: a document is of any
            number of classes, each has a sigmoid of its own, and the loss is -log p(labels), the
            sum of the classes' binary cross-entropies.
        documents: training documents; like ``class_counts``.
        class_weights: ``balanced`` weighs a document of class c by D / (C D_c), where D_c of the D
            training documents are of it; of several labels, class by class, those of it by
            D / (2 D_c) and the others by D / (2 (D - D_c)). None: all alike.
        calibrate: ``temperature``: logits of held-out documents are divided by a temperature that
            is fitted to the validation split after training (Guo et al. 2017); None: they are not.
        max_tokens: of a document that are read; None: all.
        word_dropout: probability of leaving a token out of its document, while training; see
            :func:`drop_words`.
        train_accuracy: training steps can count their right predictions (``hits_2``).
        baseline: score scikit-learn's linear models on the same tokens, too.
    """

    labelled = True
    """Its documents have labels: see ``data.labels``."""

    class_weight_C: Tensor
    class_weight_2C: Tensor
    """of several labels: the weights of documents that are not of a class, and of those that are"""
    temperature: Tensor
    """there if ``calibrate`` asks for it; 1 until it is fitted"""

    def __init__(
        self,
        vectorizer: Vectorizer,
        model: SequenceModel | DocumentModel | VectorModel,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[[int], float],
        classes: Sequence[str],
        class_counts: Sequence[int] | None = None,
        documents: int | None = None,
        labels: Literal["one", "several"] = "one",
        epochs: PositiveInt = 10,
        pooling: Literal["last", "mean", "max", "attention"] = "max",
        class_weights: Literal["balanced"] | None = None,
        calibrate: Literal["temperature"] | None = None,
        max_tokens: PositiveInt | None = 1024,
        word_dropout: DropProbability = 0.0,
        train_accuracy: bool = True,
        baseline: bool = False,
    ) -> None:
        super().__init__(optimizer, scheduler)
        self.vectorizer, self.model = vectorizer, model
        self.classes, self.max_tokens = list(classes), max_tokens
        self.word_dropout = word_dropout
        self.train_accuracy = train_accuracy
        pools = isinstance(model, SequenceModel)
        self.pooling = Pooling(pooling, model.output_size) if pools else None
        self.head = nn.Linear(model.output_size, len(self.classes))
        self.calibrate = calibrate
        if calibrate:
            self.register_buffer("temperature", torch.ones(()))
        self.several = labels == "several"
        counts = class_counts if class_weights == "balanced" else None
        self._weigh(counts, documents)

    def _weigh(self, counts: Sequence[int] | None, documents: int | None) -> None:
        """The classes' weights: balanced by ``counts``, or 1; a part of what checkpoints hold."""
        if not self.several:
            weights = [1.0] * len(self.classes) if counts is None else _balanced(counts)
            self.register_buffer("class_weight_C", torch.tensor(weights))
            return
        both = torch.ones(2, len(self.classes))
        if counts is not None and documents is not None:
            pairs = [_balanced([documents - count, count]) for count in counts]
            both = torch.tensor(pairs).T.contiguous()
        self.register_buffer("class_weight_2C", both)

    def logits(self, batch: DocumentBatch) -> Tensor:
        """logits_BC: log p(class), up to a constant of each row; of several labels log p/(1-p)."""
        if isinstance(self.model, VectorModel):
            return self._of_vectors(self.vectorizer.documents(batch.documents()))
        x_BTD = self.vectorizer(batch.ids_BT)
        if isinstance(self.model, DocumentModel):
            return self.head(self.model(x_BTD, batch.lengths_B))
        assert self.pooling is not None
        y_BTH, _ = self.model(x_BTD, lengths=batch.lengths_B)
        return self.head(self.pooling(y_BTH, batch.lengths_B))

    def _of_vectors(self, x_BD: Tensor) -> Tensor:
        """Products of sparse rows are in full precision: PyTorch has none in bfloat16."""
        kind = x_BD.device.type
        cast = torch.is_autocast_enabled(kind) and not x_BD.is_sparse_csr
        with torch.autocast(kind, torch.get_autocast_dtype(kind), enabled=cast):
            return self.head(self.model(x_BD))

    def training_step(self, batch: DocumentBatch, batch_index: int) -> Tensor:
        """Mean -log p(label or labels) in nats over the documents, weighed by class."""
        if self.word_dropout:
            ids_BT, lengths_B = drop_words(
                batch.ids_BT, batch.lengths_B, self.word_dropout, PADDING
            )
            batch = batch._replace(ids_BT=ids_BT, lengths_B=lengths_B)
        logits_BC = self.logits(batch)
        if self.several:
            return self._loss_of_several(logits_BC, batch.labels_B)
        if self.counts_hits:
            self.hits_2 = hits_of(logits_BC, batch.labels_B, NO_TARGET)
        return F.cross_entropy(logits_BC, batch.labels_B, self.class_weight_C)

    def _loss_of_several(self, logits_BC: Tensor, labels_BC: Tensor) -> Tensor:
        if self.counts_hits:
            right_B = ((logits_BC.detach() > 0) == labels_BC).all(1)
            self.hits_2 = tally(right_B, torch.zeros_like(right_B, dtype=torch.int64), NO_TARGET)
        weight_BC = torch.where(labels_BC, self.class_weight_2C[1], self.class_weight_2C[0])
        y_BC = labels_BC.to(logits_BC.dtype)
        total = F.binary_cross_entropy_with_logits(logits_BC, y_BC, weight_BC, reduction="sum")
        return total / len(labels_BC)

    def held_out_logits(self, batch: DocumentBatch) -> Tensor:
        """logits_BC as the model has them, at least float32, on the CPU, without gradients."""
        with torch.inference_mode(), default_dtype(self.dtype):
            logits_BC = self.logits(self.transfer_batch_to_device(batch, self.device, 0))
            return logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32)).cpu()

    def log_probabilities(self, batch: DocumentBatch) -> Tensor:
        """log_p_BC (nats, at least float32) on the CPU, without gradients, in the caller's mode."""
        with torch.inference_mode():
            return self.normalized(self.held_out_logits(batch))

    def normalized(self, logits_BC: Tensor) -> Tensor:
        """log p(class), at least float32: of a softmax, or of each class's own sigmoid.

        Where there is a temperature the logits are divided by it first.
        """
        logits_BC = logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32))
        if self.calibrate:
            logits_BC = logits_BC / self.temperature.to(logits_BC.device)
        return F.logsigmoid(logits_BC) if self.several else logits_BC.log_softmax(-1)

    def set_temperature(self, value: float) -> None:
        """What logits of held-out documents are divided by from now on."""
        self.temperature.fill_(value)

    def configure_optimizers(self) -> Any:
        """As of every task, and the bound on the output layer."""
        found = super().configure_optimizers()
        bound = getattr(self.model, "head_max_norm", None)
        if bound is not None:
            hook = lambda *_: shorten(self.head.weight, bound)  # noqa: E731
            found["optimizer"].register_step_post_hook(hook)
        return found


def _balanced(counts: Sequence[int]) -> list[float]:
    """scikit-learn's: D / (C D_c); a class without a document weighs as if it had one."""
    return [sum(counts) / (len(counts) * max(count, 1)) for count in counts]


def shorten(weight_CH: Tensor, most: float) -> None:
    """Scale the rows that are longer than ``most`` back to it, in place."""
    with torch.no_grad():
        weight_CH.copy_(weight_CH.renorm(2, 0, most))
