"""Tags of words (parts of speech, chunks): one LightningModule for vectorizers and sequence models.

Shapes: B batch, T tokens, W words, D vector, H hidden, C tags.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from lm_research.config.types import PositiveInt
from lm_research.data.tagged_batches import NO_TAG, TaggedBatch
from lm_research.kernels.padded import turned
from lm_research.models.sequence_model import SequenceModel
from lm_research.tasks.document_task import DocumentTask
from lm_research.tasks.head_loss import head_loss, head_loss_with_hits
from lm_research.tasks.language_modeling import default_dtype
from lm_research.vectorizers.vectorizer import Vectorizer


class Tagging(DocumentTask):
    """ids -> vectorizer -> model -> at each word, log p(tag).

    Models are causal, so a word is known at its last token and not before: there its tag is
    predicted, of what the model says. With ``bidirectional`` a second model reads the sentence from
    its end, for which the whole word is read at its *first* token; what the two say at these places
    is joined (Graves and Schmidhuber 2005)::

        log p(tag of w) = log softmax(W [forward(last token of w), backward(first token of w)] + b)

    Without it the tag follows from the word and what is before it: what a language model, which
    reads in the same way, has learned of it can be told so.

    Training reads every sentence ``epochs`` times, ``budget.batch_size`` at a time;
    ``budget.train_tokens`` and ``budget.window`` mean nothing here.

    Args:
        vectorizer: ids_BT -> x_BTD.
        model: reads forward.
        make_model: input size -> another model of the configuration.
        optimizer: parameters -> optimizer.
        scheduler: step -> factor on the learning rate.
        classes: tags, in the order of the outputs.
        epochs: passes over the training split.
        bidirectional: a second model reads backward.
        train_accuracy: training steps can count their right tags (``hits_2``).
    """

    tagged = True
    """Its words have tags: see ``data.tagged_words``."""

    def __init__(
        self,
        vectorizer: Vectorizer,
        model: SequenceModel,
        make_model: Callable[[int], SequenceModel],
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[[int], float],
        classes: Sequence[str],
        epochs: PositiveInt = 10,
        bidirectional: bool = True,
        train_accuracy: bool = True,
    ) -> None:
        super().__init__(optimizer, scheduler)
        self.vectorizer, self.model = vectorizer, model
        self.classes, self.train_accuracy = list(classes), train_accuracy
        self.backward_model = make_model(vectorizer.dim) if bidirectional else None
        size = model.output_size * (2 if bidirectional else 1)
        self.head = nn.Linear(size, len(self.classes))

    def logits(self, batch: TaggedBatch) -> Tensor:
        """logits_BWC: log p(tag), up to a constant of each word."""
        return self.head(self.said(batch))

    def said(self, batch: TaggedBatch) -> Tensor:
        """said_BWH, what the head reads of each word."""
        x_BTD, lengths_B = self.vectorizer(batch.ids_BT), batch.lengths_B
        y_BTH, _ = self.model(x_BTD, lengths=lengths_B)
        said_BWH = _at(y_BTH, batch.last_BW)
        if self.backward_model is not None:
            z_BTH, _ = self.backward_model(turned(x_BTD, lengths_B), lengths=lengths_B)
            before_BWH = _at(turned(z_BTH, lengths_B), batch.first_BW)
            said_BWH = torch.cat([said_BWH, before_BWH], dim=-1)
        return said_BWH

    def training_step(self, batch: TaggedBatch, batch_index: int) -> Tensor:
        """Mean cross-entropy in nats over the words."""
        said_NH, tags_N = self.said(batch).flatten(0, 1), batch.tags_BW.flatten()
        given = said_NH, self.head.weight, self.head.bias, tags_N
        if not self.counts_hits:
            return head_loss(*given, ignore=NO_TAG)
        loss, self.hits_2 = head_loss_with_hits(*given, ignore=NO_TAG)
        return loss

    def log_probabilities(self, batch: TaggedBatch) -> Tensor:
        """log_p_BWC (nats, at least float32) on the CPU, without gradients, in its mode."""
        with torch.inference_mode(), default_dtype(self.dtype):
            logits_BWC = self.logits(self.transfer_batch_to_device(batch, self.device, 0))
            finer = torch.promote_types(logits_BWC.dtype, torch.float32)
            return logits_BWC.to(finer).log_softmax(-1).cpu()


def _at(y_BTH: Tensor, place_BW: Tensor) -> Tensor:
    """y_BWH: of each row, the steps at these places."""
    return y_BTH.gather(1, place_BW[..., None].expand(-1, -1, y_BTH.shape[-1]))
