"""Translation and summarization: one LightningModule for every vectorizer and sequence model.

Shapes: B batch, S source tokens, T target tokens, D vector, H hidden, M memory size, V vocabulary,
R rows (sources, or beams of sources).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.problems import ConfigError, Problem
from lm_research.config.types import DropProbability, NonNegativeFloat, NonNegativeInt, PositiveInt
from lm_research.data.document_batches import PADDING
from lm_research.data.pair_batches import PairBatch, inputs_of
from lm_research.data.pairs import Vocabulary
from lm_research.kernels.padded import turned
from lm_research.models.attention import Attention, AttentionKind
from lm_research.models.encoder_decoder import Decoder, EncoderDecoderModel
from lm_research.models.recurrent import Recurrent
from lm_research.models.sequence_model import SequenceModel, State
from lm_research.tasks.copying import mixed, mixed_at
from lm_research.tasks.decoding import Search
from lm_research.tasks.document_task import DocumentTask
from lm_research.tasks.head_loss import head_loss, head_loss_with_hits
from lm_research.tasks.hits import hits_of
from lm_research.tasks.language_modeling import default_dtype, shared_matrix
from lm_research.tasks.streaming import map_tensors
from lm_research.vectorizers.vectorizer import Vectorizer


class Memory(NamedTuple):
    """What the encoder has read.

    Attributes:
        outputs_BSM: of the encoder.
        keys: what attention compares with, (B, S, H); of each layer that attends, with its values.
        none_BS: bool, where there is no token.
        source_BS: the ids.
    """

    outputs_BSM: Tensor
    keys: Any
    none_BS: Tensor
    source_BS: Tensor


class DecoderState(NamedTuple):
    """The vectorizer's history, the model's state, and the last vector of the decoder (R, H)."""

    history_RC: Tensor | None
    inner: State | None
    attended_RH: Tensor


class SequenceToSequence(DocumentTask):
    """Source ids -> encoder -> attention <- decoder <- target ids so far; log p(next target id).

    Encoder and decoder are models of one configuration. The decoder is that of Luong et al. 2015
    (https://arxiv.org/abs/1508.04025): what it says, h_t, looks at the encoder's outputs, and the
    attentional vector goes to the output layer and, with input feeding, into the next step::

        a_t = tanh(W [c_t, h_t]),  c_t = attention(h_t, encoder)      log p = log softmax(V a_t + b)

    A recurrent decoder starts from the encoder's last state: as it is, or, where the encoder
    reads in both directions, tanh(W [forward, backward] + b) of each of its parts. Other models
    start from nothing. Dropout is the models' own.

    An :class:`EncoderDecoderModel` (``model=transformer``) attends as published instead (Vaswani et
    al. 2017, https://arxiv.org/abs/1706.03762): each position of the encoder to the whole source,
    each layer of the decoder to the encoder's outputs, and h_t goes to the output layer as it is,
    a_t = h_t. The weights a_ts, which copying, coverage and the report's pictures go by, are those
    of the last layer, the mean of its heads.

    With ``copy`` (See et al. 2017, https://arxiv.org/abs/1704.04368), of one vocabulary, the
    distribution is a mixture of the vocabulary's and of the source's tokens under attention::

        p(y) = g_t softmax(V a_t + b)_y + (1 - g_t) sum_s a_ts [source_s = y]
        g_t = sigmoid(u a_t + v)

    Training reads every pair ``epochs`` times, ``budget.batch_size`` at a time;
    ``budget.train_tokens`` and ``budget.window`` mean nothing here.

    Args:
        vectorizer: ids_BT -> x_BTD; of the sources, and of the targets if the vocabulary is shared.
        model: the encoder.
        make_model: input size -> another model of the configuration.
        optimizer: parameters -> optimizer.
        scheduler: step -> factor on the learning rate.
        steps: of the training, over which ``scheduled_sampling`` rises.
        target_vectorizer: of the targets, where they have a vocabulary of their own.
        unknown_id: of the targets' words that the vocabulary lacks, which no text is written with.
        kind: which scores and baselines the run has.
        vocabulary: one for sources and targets, or one for each; see ``data.pairs``.
        epochs: passes over the training split.
        attention: see :class:`Attention`; an ``EncoderDecoderModel`` is multiplicative.
        bidirectional: a second encoder reads the source from its end (Bahdanau et al. 2015); the
            outputs of both are joined. Of an ``EncoderDecoderModel``: the one encoder sees the
            whole source; else what is behind each position.
        input_feeding: null: for recurrent models. An ``EncoderDecoderModel`` has none.
        copy: the decoder may take a token of the source.
        tie_weights: the output layer's matrix is that of the targets' vectors (Press & Wolf 2017,
            https://arxiv.org/abs/1608.05859), which are as wide as the model.
        label_smoothing: share of the target's mass that is spread over the vocabulary.
        scheduled_sampling: probability that a target token which the decoder reads is one it has
            drawn itself (Bengio et al. 2015, https://arxiv.org/abs/1506.03099), reached linearly at
            the end of the training. The draws are of a pass over the true targets, all steps at
            once (Mihaylova & Martins 2019, https://arxiv.org/abs/1906.07651), for every model.
        train_accuracy: training steps can count their right next tokens (``hits_2``).
        most_source, most_target: tokens that are read of a text, and learned of a target with its
            end; null: all.
        beam, length_penalty, coverage_penalty, no_repeat_ngram_size: of the search; see
            :class:`Search`.
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
        steps: PositiveInt = 1,
        target_vectorizer: Vectorizer | None = None,
        unknown_id: int | None = None,
        kind: Literal["translation", "summarization"] = "translation",
        vocabulary: Vocabulary = "shared",
        epochs: PositiveInt = 10,
        attention: AttentionKind = "multiplicative",
        bidirectional: bool = True,
        input_feeding: bool | None = None,
        copy: bool = False,
        tie_weights: bool = False,
        label_smoothing: DropProbability = 0.1,
        scheduled_sampling: DropProbability = 0.0,
        train_accuracy: bool = True,
        most_source: PositiveInt | None = 512,
        most_target: PositiveInt | None = 128,
        beam: PositiveInt = 5,
        length_penalty: NonNegativeFloat = 1.0,
        coverage_penalty: NonNegativeFloat = 0.0,
        no_repeat_ngram_size: NonNegativeInt = 0,
        longest_ratio: NonNegativeFloat = 1.5,
        longest_extra: PositiveInt = 20,
        sentences: PositiveInt = 1,
    ) -> None:
        super().__init__(optimizer, scheduler)
        self.vectorizer, self.model = vectorizer, model
        self.target_vectorizer = target_vectorizer
        self.steps, self.train_accuracy = steps, train_accuracy
        self.kind, self.sentences = kind, sentences
        self.label_smoothing, self.scheduled_sampling = label_smoothing, scheduled_sampling
        self.most_source, self.most_target = most_source, most_target
        self.longest_ratio, self.longest_extra = longest_ratio, longest_extra
        how = Search(beam, length_penalty, coverage_penalty)
        banned = () if unknown_id is None else (unknown_id,)
        self.search = replace(how, no_repeat_ngram_size=no_repeat_ngram_size, banned=banned)
        self.recurrent, self.bidirectional = isinstance(model, Recurrent), bidirectional
        self.feeding = self.recurrent if input_feeding is None else input_feeding
        self.layerwise = isinstance(model, EncoderDecoderModel)
        self.backward_model: SequenceModel | None = None
        if self.layerwise:
            self._attend_in_layers(make_model, attention)
        else:
            self._attend_behind(make_model, attention)
        self.head = nn.Linear(model.output_size, self._writes.vocabulary_size)
        if tie_weights:
            self.head.weight = self._tied_matrix()
        self.generates = nn.Linear(model.output_size, 1) if copy else None
        self.bridge = _Bridge(model) if self.recurrent and bidirectional else None

    def _attend_in_layers(
        self, make_model: Callable[[int], SequenceModel], attention: AttentionKind
    ) -> None:
        if attention != "multiplicative" or self.feeding:
            name, feeding = type(self.model).__name__, self.feeding
            raise ValueError(
                f"attention={attention}, input_feeding={feeding}: a {name} attends in its layers; "
                "attention=multiplicative and input_feeding=null or false"
            )
        made: Any = make_model(self._writes.dim)
        self.decoder: Any = Decoder(made, self.model.output_size)

    def _attend_behind(
        self, make_model: Callable[[int], SequenceModel], attention: AttentionKind
    ) -> None:
        size, both = self.model.output_size, self.bidirectional
        self.backward_model = make_model(self.vectorizer.dim) if both else None
        self.decoder = make_model(self._writes.dim + (size if self.feeding else 0))
        memory_size = 2 * size if both else size
        self.attention = Attention(attention, size, memory_size)
        self.combine = nn.Linear(memory_size + size, size)

    @property
    def _writes(self) -> Vectorizer:
        return self.target_vectorizer or self.vectorizer

    @property
    def vocabulary_size(self) -> int:
        """Of the targets."""
        return self._writes.vocabulary_size

    def _tied_matrix(self) -> nn.Parameter:
        weight_VD, size = shared_matrix(self._writes), self.model.output_size
        if weight_VD.shape[1] != size:
            raise ValueError(
                f"task.tie_weights=true: vectors of {weight_VD.shape[1]} numbers and a model of "
                f"{size}; give both one width: vectorizer.dim={size}"
            )
        return weight_VD

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """As of every module.

        Raises:
            ConfigError: a model that attends in its layers is given weights of one that did not yet
                when they were trained.
        """
        if self.layerwise and "combine.weight" in state_dict:
            message = (
                "attends to the encoder in each layer of the decoder, and these weights are of a "
                "run of before, which attended behind the last one"
            )
            fix = "train it again with another output=FOLDER; or use it with the code of its commit"
            raise ConfigError([Problem("model", message, type(self.model).__name__, fix)])
        return super().load_state_dict(state_dict, strict, assign)

    # --- reading and writing

    def begin(self, source_BS: Tensor, lengths_B: Tensor) -> tuple[Memory, DecoderState]:
        """Read the sources: what the decoder looks at, and its state before the first token."""
        x_BSD, inner = self.vectorizer(source_BS), None
        if self.layerwise:
            whole = {"causal": not self.bidirectional}
            outputs_BSM, _ = self.model(x_BSD, lengths=lengths_B, **whole)
            keys = self.decoder.keys(outputs_BSM)
        else:
            outputs_BSM, inner = self._encoded(x_BSD, lengths_B)
            keys = self.attention.keys(outputs_BSM)
        place_S = torch.arange(source_BS.shape[1], device=source_BS.device)
        none_BS = place_S >= lengths_B.to(source_BS.device)[:, None]
        attended_RH = outputs_BSM.new_zeros(len(source_BS), self.model.output_size)
        state = DecoderState(None, inner, attended_RH)
        return Memory(outputs_BSM, keys, none_BS, source_BS), state

    def _encoded(self, x_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, State | None]:
        """What one or two encoders say, and the state that a decoder starts from."""
        outputs_BSM, state = self.model(x_BSD, lengths=lengths_B)
        backward_state = None
        if self.backward_model is not None:
            turned_BSD = turned(x_BSD, lengths_B)
            backward_BSH, backward_state = self.backward_model(turned_BSD, lengths=lengths_B)
            outputs_BSM = torch.cat([outputs_BSM, turned(backward_BSH, lengths_B)], dim=-1)
        if self.bridge is not None:
            return outputs_BSM, self.bridge(state, backward_state)
        return outputs_BSM, state if self.recurrent else None

    def decode(
        self, input_BT: Tensor, memory: Memory, state: DecoderState
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """Vectors a_BTH and weights (B, T, S) after each of T tokens."""
        x_BTD, history_BC = self._writes.stream(input_BT, state.history_RC)
        if self.layerwise:
            given = x_BTD, memory.keys, memory.none_BS, state.inner
            h_BTH, weight_BTS, inner = self.decoder(*given)
            return h_BTH, weight_BTS, DecoderState(history_BC, inner, h_BTH[:, -1])
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
            h_BTH, memory.keys, memory.outputs_BSM, memory.none_BS
        )
        return self.combine(torch.cat([context_BTM, h_BTH], dim=-1)).tanh(), weight_BTS

    def write(
        self, last_R: Tensor, memory: Memory, state: DecoderState
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """One token on; see :class:`lm_research.tasks.decoding.Writer`."""
        a_R1H, weight_R1S, state = self.decode(last_R[:, None], memory, state)
        return self._log_p(a_R1H, weight_R1S, memory)[:, 0], weight_R1S[:, 0], state

    def _log_p(self, a_BTH: Tensor, weight_BTS: Tensor, memory: Memory) -> Tensor:
        """log p_BTV of the next token, in nats."""
        log_p_BTV = _log_softmax(self.head(a_BTH))
        if self.generates is None:
            return log_p_BTV
        return mixed(log_p_BTV, self.generates(a_BTH), weight_BTS, memory.source_BS)

    # --- training and scoring

    def training_step(self, batch: PairBatch, batch_index: int) -> Tensor:
        """Mean cross-entropy in nats over the targets' tokens, with label smoothing."""
        memory, state = self.begin(batch.source_BS, batch.source_lengths_B)
        input_BT = inputs_of(batch.target_BT)
        share = self.scheduled_sampling * min(self.global_step / self.steps, 1.0)
        if share > 0:
            input_BT = self._own_tokens(input_BT, memory, state, share)
        a_BTH, weight_BTS, _ = self.decode(input_BT, memory, state)
        if self.generates is not None:
            return self._copying_loss(a_BTH, weight_BTS, memory, batch.target_BT)
        weights = self.head.weight, self.head.bias
        targets_N = batch.target_BT.flatten()
        given = a_BTH.flatten(0, 1), *weights, targets_N, self.label_smoothing, PADDING
        if not self.counts_hits:
            return head_loss(*given)
        loss, self.hits_2 = head_loss_with_hits(*given)
        return loss

    def _copying_loss(
        self, a_BTH: Tensor, weight_BTS: Tensor, memory: Memory, target_BT: Tensor
    ) -> Tensor:
        """Label smoothing alone needs the mixture's other tokens, and several times as long."""
        assert self.generates is not None
        log_p_BTV, gate_BT1 = _log_softmax(self.head(a_BTH)), self.generates(a_BTH)
        given = log_p_BTV, gate_BT1, weight_BTS, memory.source_BS
        if self.counts_hits:
            with torch.no_grad():
                log_p_NV = mixed(*given).flatten(0, 1)
            self.hits_2 = hits_of(log_p_NV, target_BT.flatten(), PADDING)
        if self.label_smoothing:
            return F.cross_entropy(  # of log-probabilities the softmax is themselves
                mixed(*given).flatten(0, 1),
                target_BT.flatten(),
                ignore_index=PADDING,
                label_smoothing=self.label_smoothing,
            )
        there_BT = target_BT != PADDING
        return -mixed_at(*given, target_BT).masked_fill(~there_BT, 0.0).sum() / there_BT.sum()

    @torch.no_grad()
    def _own_tokens(
        self, input_BT: Tensor, memory: Memory, state: DecoderState, share: float
    ) -> Tensor:
        """The inputs, with a share of them (but the first ones) drawn from the model itself."""
        a_BTH, weight_BTS, _ = self.decode(input_BT, memory, state)
        p_BTV = self._log_p(a_BTH, weight_BTS, memory).exp()
        drawn_BT = p_BTV.flatten(0, 1).multinomial(1).view(input_BT.shape)
        own_BT = inputs_of(drawn_BT)
        taken_BT = torch.rand(input_BT.shape, device=input_BT.device) < share
        return torch.where(taken_BT & (input_BT != PADDING), own_BT, input_BT)

    def read(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """log p_BTV (nats) of every next target token and attention_BTS, on the CPU.

        Without gradients, in the caller's mode.
        """
        with torch.inference_mode(), default_dtype(self.dtype):
            moved = self.transfer_batch_to_device(batch, self.device, 0)
            memory, state = self.begin(moved.source_BS, moved.source_lengths_B)
            a_BTH, weight_BTS, _ = self.decode(inputs_of(moved.target_BT), memory, state)
            return self._log_p(a_BTH, weight_BTS, memory).cpu(), weight_BTS.cpu()


class _Bridge(nn.Module):
    """From the last states of two recurrent encoders to the first one of the decoder."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        sizes = [part.shape[-1] for part in _parts(model.initial_state(1))]
        self.maps = nn.ModuleList(nn.Linear(2 * size, size) for size in sizes)

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


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
