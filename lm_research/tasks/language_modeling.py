"""Language modelling by maximum likelihood: one LightningModule for every architecture.

Shapes: B batch, T time, D vector, H hidden, V vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lm_research.config.types import (
    DropProbability,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from lm_research.data.batches import Batch
from lm_research.models.sequence_model import SequenceModel, StateStep
from lm_research.tasks.activation_penalties import activation_penalties, in_the_gradient
from lm_research.tasks.clipping import ClippedTask
from lm_research.tasks.output_layers.full import Full
from lm_research.tasks.output_layers.output_layer import Init, OutputLayer, OutputSpec, initialise
from lm_research.tasks.plateau import set_rates
from lm_research.tasks.streaming import Step, Stream, map_tensors
from lm_research.vectorizers.tables import read_whole
from lm_research.vectorizers.vectorizer import HistoryStep, Vectorizer


class LanguageModeling(ClippedTask):
    """ids -> vectorizer -> model -> output layer -> log p(next id).

    Args:
        vectorizer: ids_BT -> x_BTD.
        model: x_BTD, state -> y_BTH, state.
        optimizer: parameters -> optimizer.
        scheduler: step -> factor on the learning rate.
        carry_state: a training window starts from the (detached) state that the last one left.
        tie_weights: the output layer is the vectorizer's matrix (Press & Wolf 2017, Inan et al.
            2017), through a projection where H and D differ.
        predict: train on every position of a window, or on its last one only.
        label_smoothing: share of the target's mass that is spread over the vocabulary.
        eval_window: tokens per evaluation step.
        eval_stride: evaluation reads windows of ``eval_window`` tokens, each from the initial state
            and so many tokens after the one before, and scores what is new in each; None: one
            stream with carried state.
        eval_batches: batches of random windows, as those of training, whose mean loss on the
            validation split is scored beside it (``loss_nats_sampled``), as nanoGPT reports it.
        head_init: how the output layer begins, as ``torch.nn.Linear`` or as Keras' Dense
            (Glorot-uniform, zero bias), or ``uniform`` (U(-r, r), the bias too); a shared matrix is
            left as its vectorizer drew it.
        head_init_range: r.
        head_bias: whether the output layer has one.
        decay: what the optimizer's weight decay takes: all parameters, or those of two dimensions
            and more, as GPT-2's recipes have it.
        windows: "consecutive": each follows the last one of its lane, and every pass over the text
            cuts it elsewhere; "repeated": all passes have the same lanes and windows, as Zaremba
            et al. 2014 and most recipes since; "random": drawn anywhere in the text, as nanoGPT
            reads it; then no state can be carried. (The data module deals them out.)
        window_lengths: "fixed": ``budget.window`` tokens each; "random": drawn about it, and the
            learning rate of each update is scaled by its window's share of ``budget.window``
            (:mod:`lm_research.data.random_lengths`; likewise).
        activation_regularization: alpha of AR, and
        temporal_activation_regularization: beta of TAR
            (:mod:`lm_research.tasks.activation_penalties`). They are in the gradient alone: losses
            that are reported are without.
        unscored: the first so many positions of a training window are context alone: no loss has
            their predictions. A consecutive window begins so much before the end of the one before
            it, and each from the initial state (Bai et al. 2018).
        train_accuracy: training steps can count their right predictions (``hits_2``) from the
            logits of the loss; output layers that do not compute them all have none.
        output_layer: what it is built for -> the output layer.
        token_counts: counts_V of the training tokens, for output layers that go by frequency.
    """

    def __init__(
        self,
        vectorizer: Vectorizer,
        model: SequenceModel,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        scheduler: Callable[[int], float],
        carry_state: bool = True,
        tie_weights: bool = False,
        predict: Literal["every", "last"] = "every",
        label_smoothing: DropProbability = 0.0,
        eval_window: PositiveInt = 1024,
        eval_stride: PositiveInt | None = None,
        eval_batches: NonNegativeInt = 0,
        head_init: Init = "torch",
        head_init_range: PositiveFloat = 0.1,
        head_bias: bool = True,
        decay: Literal["all", "matrices"] = "all",
        windows: Literal["consecutive", "repeated", "random"] = "consecutive",
        window_lengths: Literal["fixed", "random"] = "fixed",
        activation_regularization: NonNegativeFloat = 0.0,
        temporal_activation_regularization: NonNegativeFloat = 0.0,
        unscored: NonNegativeInt = 0,
        train_accuracy: bool = True,
        output_layer: Callable[[OutputSpec], OutputLayer] = Full,
        token_counts: Tensor | None = None,
    ) -> None:
        super().__init__()
        if windows == "random" and carry_state:
            raise ValueError("windows=random: no window follows another; carry_state=false")
        if windows == "random" and window_lengths == "random":
            raise ValueError("window_lengths=random: is for lanes, windows=consecutive")
        if unscored and (carry_state or predict == "last"):
            raise ValueError(f"unscored={unscored}: carry_state=false and predict=every")
        if eval_stride is not None and not 1 <= eval_stride <= eval_window:
            raise ValueError(f"eval_stride={eval_stride}: 1 to eval_window={eval_window}")
        self.vectorizer, self.model = vectorizer, model
        self.make_optimizer, self.schedule = optimizer, scheduler
        self.carry_state, self.predict = carry_state, predict
        self.train_accuracy = train_accuracy
        self.alpha, self.beta = activation_regularization, temporal_activation_regularization
        self.decay, self.unscored = decay, unscored
        self.eval_window, self.eval_stride = eval_window, eval_stride
        self.eval_batches = eval_batches
        self.vocabulary_size = vectorizer.vocabulary_size
        shared_VD = shared_matrix(vectorizer) if tie_weights else None
        sizes = model.output_size, self.vocabulary_size
        spec = OutputSpec(*sizes, head_bias, shared_VD, label_smoothing, token_counts)
        self.head = output_layer(spec)
        initialise(self.head, head_init, head_init_range, shared_VD)
        self.stream: Stream | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Plain attributes past ``nn.Module``'s search for parameters.

        Lightning notes the current hook on the module dozens of times a step; through
        ``nn.Module.__setattr__`` that alone costs a tenth of a millisecond.
        """
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def hidden(self, ids_BT: Tensor, stream: Stream) -> tuple[Tensor, Stream]:
        """y_BTH, what the head reads, of a window that continues ``stream``."""
        return self._through(self.model, ids_BT, stream)

    def _through(
        self, model: Callable[..., Any], ids_BT: Tensor, stream: Stream
    ) -> tuple[Tensor, Stream]:
        history_BC, state = stream
        by_rows = ids_BT.is_cpu and self.model.reads_rows
        if by_rows and (rows := self.vectorizer.rows(ids_BT)) is not None:
            y_BTH, state = model(rows, state)
            return y_BTH, (None, state)
        x_BTD, history_BC = self.vectorizer.stream(ids_BT, history_BC)
        y_BTH, state = model(x_BTD, state)
        return y_BTH, (history_BC, state)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """A window with a rate of its own: of its update alone, since schedules set the next."""
        for config in self.trainer.lr_scheduler_configs if batch.rate != 1 else []:
            set_rates(config.scheduler, batch.rate)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The output layer's loss in nats: the mean over the window's scored predictions.

        Its gradient is that of the penalties, too.
        """
        if batch.fresh or self.stream is None or not self.carry_state:
            self.stream = (None, None)
        if not (self.alpha or self.beta):
            y_BTH, stream = self.hidden(batch.ids_BT, self.stream)
            self.stream = map_tensors(Tensor.detach, stream)
            return self._loss(y_BTH, batch.targets_BT)
        raw_BTH, stream = self._through(self.model.features, batch.ids_BT, self.stream)
        self.stream = map_tensors(Tensor.detach, stream)
        y_BTH = self.model.drop_outputs(raw_BTH)
        penalty = activation_penalties(y_BTH, raw_BTH, self.alpha, self.beta)
        return in_the_gradient(self._loss(y_BTH, batch.targets_BT), penalty)

    def _loss(self, y_BTH: Tensor, targets_BT: Tensor) -> Tensor:
        first = targets_BT.shape[1] - 1 if self.predict == "last" else self.unscored
        if first:
            y_BTH, targets_BT = y_BTH[:, first:], targets_BT[:, first:]
        y_NH, targets_N = y_BTH.flatten(0, 1), targets_BT.flatten()
        if not self.counts_hits:
            return self.head.loss(y_NH, targets_N)
        loss, self.hits_2 = self.head.loss_with_hits(y_NH, targets_N)
        return loss

    def configure_optimizers(self) -> Any:
        """The optimizer, and its rate's factor at every step."""
        trained = [p for p in self.parameters() if p.requires_grad]
        optimizer = self.make_optimizer(trained if self.decay == "all" else _grouped(trained))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def start(self, batch: int) -> Stream:
        """The stream before its first token (see ``streaming.StreamingModel``)."""
        return None, None

    def advance(self, ids_BT: Tensor, stream: Stream) -> tuple[Tensor, Stream]:
        """log_p_BTV (nats, float32 or finer) and the stream on, without gradients.

        The mode is the caller's: put the module in evaluation mode first.
        """
        with torch.inference_mode(), default_dtype(self.dtype):
            y_BTH, stream = self.hidden(ids_BT.to(self.device), stream)
            return self.head.log_probs(y_BTH), stream

    def stepper(self) -> Step:
        """Single steps by the weights as they are at this call (see ``streaming.stepper``).

        What they need of vectorizer, model and output layer is prepared once. The mode is the
        caller's here, too.
        """
        with torch.inference_mode():
            parts = self.vectorizer.stepper(), self.model.stepper(), self.head.scorer()
        return partial(self._step, *parts, self.device, self.dtype)

    def _step(
        self,
        vectors: HistoryStep,
        model: StateStep,
        scores: Callable[[Tensor], Tensor],
        device: torch.device,
        dtype: torch.dtype | str,
        ids_B: Tensor,
        stream: Stream,
    ) -> tuple[Tensor, Stream]:
        history_BC, state = stream
        with torch.inference_mode(), default_dtype(dtype):
            x_BD, history_BC = vectors(ids_B.to(device), history_BC)
            y_BH, state = model(x_BD, state)
            return scores(y_BH), (history_BC, state)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The carried state is part of where training stands."""
        checkpoint["stream"] = self.stream

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the carried state."""
        self.stream = checkpoint.get("stream")

    def on_train_start(self) -> None:
        """A state that was loaded is still on the CPU."""
        self.stream = map_tensors(lambda t: t.to(self.device), self.stream)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, index: int) -> Batch:
        """Two copies, and none on a CPU."""
        if device.type == "cpu":
            return batch
        ids_BT = batch.ids_BT.pin_memory().to(device, non_blocking=True)
        targets_BT = batch.targets_BT.pin_memory().to(device, non_blocking=True)
        return batch._replace(ids_BT=ids_BT, targets_BT=targets_BT)


@contextmanager
def default_dtype(dtype: torch.dtype | str) -> Iterator[None]:
    """The type that a vectorizer without weights gives: that of the weights, as in training."""
    before = torch.get_default_dtype()
    if before == dtype:
        yield
        return
    torch.set_default_dtype(dtype)  # type: ignore[arg-type]
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def shared_matrix(vectorizer: Vectorizer) -> nn.Parameter:
    """W_VD of a vectorizer, for the output layer to be the same.

    Raises:
        ValueError: it has none.
    """
    weight_VD = vectorizer.output_weight()
    if weight_VD is None:
        name = type(vectorizer).__name__
        raise ValueError(
            f"task.tie_weights=true needs a vectorizer with a matrix to share; {name} has none"
        )
    assert isinstance(weight_VD, nn.Parameter)
    read_whole(weight_VD)
    return weight_VD


def _grouped(parameters: list[nn.Parameter]) -> Any:
    """Two groups of the optimizer: with its weight decay, and without."""
    matrices = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
