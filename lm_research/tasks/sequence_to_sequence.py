"""Translation and summarization: one LightningModule for every vectorizer and sequence model.

Shapes: B batch, S source tokens, T target tokens, D vector, H hidden, M memory size, V vocabulary,
R rows (sources, or beams of sources).
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.types import DropProbability, NonNegativeFloat, PositiveInt
from lm_research.data.document_batches import PADDING
from lm_research.data.pair_batches import PairBatch, inputs_of
from lm_research.data.pairs import Vocabulary
from lm_research.models.attention import Attention, AttentionKind
from lm_research.models.recurrent import Recurrent
from lm_research.models.sequence_model import SequenceModel, State
from lm_research.tasks.decoding import Search
from lm_research.tasks.language_modeling import default_dtype
from lm_research.tasks.streaming import map_tensors
from lm_research.vectorizers.vectorizer import Vectorizer


class Memory(NamedTuple):
    """What the encoder has read.

    Attributes:
        outputs_BSM: of the encoder.
        keys_BSH: what attention compares with.
        none_BS: bool, where there is no token.
        source_BS: the ids.
    """

    outputs_BSM: Tensor
    keys_BSH: Tensor
    none_BS: Tensor
    source_BS: Tensor


class DecoderState(NamedTuple):
    """The vectorizer's history, the model's state, and the last attentional vector (R, H)."""

    history_RC: Tensor | None
    inner: State | None
    attended_RH: Tensor


class SequenceToSequence(pl.LightningModule):
    """Source ids -> encoder -> attention <- decoder <- target ids so far; log p(next target id).

    Encoder and decoder are models of one configuration. The decoder is that of Luong et al. 2015
    (https://arxiv.org/abs/1508.04025): what it says, h_t, looks at the encoder's outputs, and the
    attentional vector goes to the output layer and, with input feeding, into the next step::

        a_t = tanh(W [c_t, h_t]),  c_t = attention(h_t, encoder)      log p = log softmax(V a_t + b)

    A recurrent decoder starts from the encoder's last state: as it is, or, where the encoder
    reads in both directions, tanh(W [forward, backward] + b) of each of its parts. Other models
    start from nothing. Dropout is the models' own.

    Training reads every pair ``epochs`` times, ``budget.batch_size`` at a time;
    ``budget.train_tokens`` and ``budget.window`` mean nothing here.

    Args:
        vectorizer: ids_BT -> x_BTD; of the sources, and of the targets if the vocabulary is shared.
        model: the encoder.
        make_model: input size -> another model of the configuration.
        optimizer: parameters -> optimizer.
        scheduler: step -> factor on the learning rate.
        target_vectorizer: of the targets, where they have a vocabulary of their own.
        kind: which scores and baselines the run has.
        vocabulary: one for sources and targets, or one for each; see ``data.pairs``.
        epochs: passes over the training split.
        attention: see :class:`Attention`.
        bidirectional: a second encoder reads the source from its end (Bahdanau et al. 2015); the
            outputs of both are joined.
        input_feeding: null: for recurrent models.
        label_smoothing: share of the target's mass that is spread over the vocabulary.
        most_source, most_target: tokens that are read of a text, and learned of a target with its
            end; null: all.
        beam, length_penalty, coverage_penalty: of the search; see :class:`Search`.
        longest_ratio, longest_extra: a text that is written has at most ``longest_ratio`` times
            the source's tokens, and ``longest_extra`` more.
        sentences: of the extractive baselines, which a summary has.
    """

    paired = True
    """Its documents have targets: see ``data.pairs``."""

    def __init__(
        self,
        vectorizer: Vectorizer,
        model: SequenceModel,
        make_model: Callable[[int], SequenceModel],
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[[int], float],
        target_vectorizer: Vectorizer | None = None,
        kind: Literal["translation", "summarization"] = "translation",
        vocabulary: Vocabulary = "shared",
        epochs: PositiveInt = 10,
        attention: AttentionKind = "multiplicative",
        bidirectional: bool = True,
        input_feeding: bool | None = None,
        label_smoothing: DropProbability = 0.1,
        most_source: PositiveInt | None = 512,
        most_target: PositiveInt | None = 128,
        beam: PositiveInt = 5,
        length_penalty: NonNegativeFloat = 1.0,
        coverage_penalty: NonNegativeFloat = 0.0,
        longest_ratio: NonNegativeFloat = 1.5,
        longest_extra: PositiveInt = 20,
        sentences: PositiveInt = 1,
    ) -> None:
        super().__init__()
        self.vectorizer, self.model = vectorizer, model
        self.target_vectorizer = target_vectorizer
        self.make_optimizer, self.schedule = optimizer, scheduler
        self.kind, self.label_smoothing, self.sentences = kind, label_smoothing, sentences
        self.most_source, self.most_target = most_source, most_target
        self.longest_ratio, self.longest_extra = longest_ratio, longest_extra
        self.search = Search(beam, length_penalty, coverage_penalty)
        recurrent, size = isinstance(model, Recurrent), model.output_size
        self.feeding = recurrent if input_feeding is None else input_feeding
        self.backward_model = make_model(vectorizer.dim) if bidirectional else None
        self.decoder = make_model(self._writes.dim + (size if self.feeding else 0))
        memory_size = 2 * size if bidirectional else size
        self.attention = Attention(attention, size, memory_size)
        self.combine = nn.Linear(memory_size + size, size)
        self.head = nn.Linear(size, self._writes.vocabulary_size)
        self.recurrent = recurrent
        self.bridge = _Bridge(model) if recurrent and bidirectional else None

    @property
    def _writes(self) -> Vectorizer:
        return self.target_vectorizer or self.vectorizer

    @property
    def vocabulary_size(self) -> int:
        """Of the targets."""
        return self._writes.vocabulary_size

    # --- reading and writing

    def begin(self, source_BS: Tensor, lengths_B: Tensor) -> tuple[Memory, DecoderState]:
        """Read the sources: what the decoder looks at, and its state before the first token."""
        x_BSD = self.vectorizer(source_BS)
        outputs_BSM, state = self.model(x_BSD, lengths=lengths_B)
        backward_state = None
        if self.backward_model is not None:
            turned_BSD = turned(x_BSD, lengths_B)
            backward_BSH, backward_state = self.backward_model(turned_BSD, lengths=lengths_B)
            outputs_BSM = torch.cat([outputs_BSM, turned(backward_BSH, lengths_B)], dim=-1)
        place_S = torch.arange(source_BS.shape[1], device=source_BS.device)
        none_BS = place_S >= lengths_B.to(source_BS.device)[:, None]
        memory = Memory(outputs_BSM, self.attention.keys(outputs_BSM), none_BS, source_BS)
        inner = state if self.recurrent else None
        if self.bridge is not None:
            inner = self.bridge(state, backward_state)
        attended_RH = outputs_BSM.new_zeros(len(source_BS), self.model.output_size)
        return memory, DecoderState(None, inner, attended_RH)

    def decode(
        self, input_BT: Tensor, memory: Memory, state: DecoderState
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """Attentional vectors (B, T, H) and weights (B, T, S) after each of T tokens."""
        x_BTD, history_BC = self._writes.stream(input_BT, state.history_RC)
        if not self.feeding:
            h_BTH, inner = self.decoder(x_BTD, state.inner)
            a_BTH, weight_BTS = self._attend(h_BTH, memory)
            return a_BTH, weight_BTS, DecoderState(history_BC, inner, a_BTH[:, -1])
        attended, weights, inner, a_BH = [], [], state.inner, state.attended_RH
        for x_BD in x_BTD.unbind(1):
            h_BH, inner = self.decoder.step(torch.cat([x_BD, a_BH], dim=-1), inner)
            a_B1H, weight_B1S = self._attend(h_BH[:, None], memory)
            a_BH = a_B1H[:, 0]
            attended.append(a_B1H)
            weights.append(weight_B1S)
        new_state = DecoderState(history_BC, inner, a_BH)
        return torch.cat(attended, dim=1), torch.cat(weights, dim=1), new_state

    def _attend(self, h_BTH: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        context_BTM, weight_BTS = self.attention(
            h_BTH, memory.keys_BSH, memory.outputs_BSM, memory.none_BS
        )
        return self.combine(torch.cat([context_BTM, h_BTH], dim=-1)).tanh(), weight_BTS

    def write(
        self, last_R: Tensor, memory: Memory, state: DecoderState
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """One token on; see :class:`lm_research.tasks.decoding.Writer`."""
        a_R1H, weight_R1S, state = self.decode(last_R[:, None], memory, state)
        return _log_softmax(self.head(a_R1H[:, 0])), weight_R1S[:, 0], state

    # --- training and scoring

    def training_step(self, batch: PairBatch, batch_index: int) -> Tensor:
        """Mean cross-entropy in nats over the targets' tokens, with label smoothing."""
        logits_BTV = self._logits(batch)[0]
        return F.cross_entropy(
            logits_BTV.flatten(0, 1),
            batch.target_BT.flatten(),
            ignore_index=PADDING,
            label_smoothing=self.label_smoothing,
        )

    def _logits(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        memory, state = self.begin(batch.source_BS, batch.source_lengths_B)
        a_BTH, weight_BTS, _ = self.decode(inputs_of(batch.target_BT), memory, state)
        return self.head(a_BTH), weight_BTS

    def read(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """log p_BTV (nats) of every next target token and attention_BTS, on the CPU.

        Without gradients, in the caller's mode.
        """
        with torch.inference_mode(), default_dtype(self.dtype):
            moved = self.transfer_batch_to_device(batch, self.device, 0)
            logits_BTV, weight_BTS = self._logits(moved)
            return _log_softmax(logits_BTV).cpu(), weight_BTS.cpu()

    def configure_optimizers(self) -> Any:
        """The optimizer, and its rate's factor at every step."""
        optimizer = self.make_optimizer(p for p in self.parameters() if p.requires_grad)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(
        self, batch: PairBatch, device: torch.device, index: int
    ) -> PairBatch:
        """Four copies, and none on a CPU."""
        if device.type == "cpu":
            return batch
        moved: PairBatch = map_tensors(lambda tensor: tensor.to(device), batch)
        return moved


class _Bridge(nn.Module):
    """From the last states of two recurrent encoders to the first one of the decoder."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        size, parts = model.output_size, len(_parts(model.initial_state(1)))
        self.maps = nn.ModuleList(nn.Linear(2 * size, size) for _ in range(parts))

    def forward(self, state: State, backward: State) -> State:
        pairs = zip(_parts(state), _parts(backward), strict=True)
        joined = [torch.cat(pair, dim=-1) for pair in pairs]
        mapped = iter([one(x).tanh() for one, x in zip(self.maps, joined, strict=True)])
        return map_tensors(lambda _: next(mapped), state)


def _parts(state: State) -> list[Tensor]:
    """The tensors of a nested state, in order."""
    found: list[Tensor] = []
    map_tensors(found.append, state)
    return found


def turned(x_BSD: Tensor, lengths_B: Tensor) -> Tensor:
    """Each row's real steps in reverse order, zeros behind them."""
    steps_S = torch.arange(x_BSD.shape[1], device=x_BSD.device)
    place_BS = lengths_B.to(x_BSD.device)[:, None] - 1 - steps_S
    taken = x_BSD.gather(1, place_BS.clamp(min=0)[..., None].expand_as(x_BSD))
    return taken.masked_fill((place_BS < 0)[..., None], 0.0)


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
