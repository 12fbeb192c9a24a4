"""Language modelling by maximum likelihood: one LightningModule for every architecture.

Shapes: B batch, T time, D vector, H hidden, V vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveFloat, PositiveInt
from lm_research.data.batches import Batch
from lm_research.models.sequence_model import SequenceModel
from lm_research.tasks.clipping import ClippedTask
from lm_research.tasks.head_loss import head_loss
from lm_research.tasks.streaming import Stream, map_tensors
from lm_research.vectorizers.tables import read_whole
from lm_research.vectorizers.vectorizer import Vectorizer


class LanguageModeling(ClippedTask):
    """ids -> vectorizer -> model -> head -> log p(next id).

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
        head_init: how the output layer begins, as ``torch.nn.Linear`` or as Keras' Dense
            (Glorot-uniform, zero bias), or ``uniform`` (U(-r, r), the bias too); a shared matrix is
            left as its vectorizer drew it.
        head_init_range: r.
        head_bias: whether the output layer has one.
        decay: what the optimizer's weight decay takes: all parameters, or those of two dimensions
            and more, as GPT-2's recipes have it.
        windows: "consecutive": each follows the last one of its lane; "random": drawn anywhere in
            the text, as nanoGPT reads it; then no state can be carried. (The data module deals
            them out.)
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
        head_init: Literal["torch", "keras", "uniform"] = "torch",
        head_init_range: PositiveFloat = 0.1,
        head_bias: bool = True,
        decay: Literal["all", "matrices"] = "all",
        windows: Literal["consecutive", "random"] = "consecutive",
    ) -> None:
        super().__init__()
        if windows == "random" and carry_state:
            raise ValueError("windows=random: no window follows another; carry_state=false")
        self.vectorizer, self.model = vectorizer, model
        self.make_optimizer, self.schedule = optimizer, scheduler
        self.carry_state, self.predict = carry_state, predict
        self.label_smoothing, self.eval_window = label_smoothing, eval_window
        self.vocabulary_size = vectorizer.vocabulary_size
        self.head = _tied(vectorizer, model) if tie_weights else _head(vectorizer, model)
        if not head_bias:
            _without_bias(self.head)
        self.decay = decay
        if head_init == "keras":
            _initialise_as_keras(self.head, vectorizer.output_weight())
        elif head_init == "uniform":
            _initialise_uniformly(self.head, vectorizer.output_weight(), head_init_range)
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
        history_BC, state = stream
        x_BTD, history_BC = self.vectorizer.stream(ids_BT, history_BC)
        y_BTH, state = self.model(x_BTD, state)
        return y_BTH, (history_BC, state)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Mean cross-entropy in nats over the window's predictions."""
        if batch.fresh or self.stream is None or not self.carry_state:
            self.stream = (None, None)
        y_BTH, stream = self.hidden(batch.ids_BT, self.stream)
        self.stream = map_tensors(Tensor.detach, stream)
        targets_BT = batch.targets_BT
        if self.predict == "last":
            y_BTH, targets_BT = y_BTH[:, -1:], targets_BT[:, -1:]
        return head_loss(self.head, y_BTH, targets_BT, self.label_smoothing)

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
            logits_BTV = self.head(y_BTH)
            finer = torch.promote_types(logits_BTV.dtype, torch.float32)
            return logits_BTV.to(finer).log_softmax(-1), stream

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
        return Batch(ids_BT, targets_BT, batch.fresh)


@contextmanager
def default_dtype(dtype: torch.dtype | str) -> Iterator[None]:
    """The type that a vectorizer without weights gives: that of the weights, as in training."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # type: ignore[arg-type]
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _head(vectorizer: Vectorizer, model: SequenceModel) -> nn.Module:
    return nn.Linear(model.output_size, vectorizer.vocabulary_size)


def _tied(vectorizer: Vectorizer, model: SequenceModel) -> nn.Module:
    weight_VD = vectorizer.output_weight()
    if weight_VD is None:
        name = type(vectorizer).__name__
        raise ValueError(
            f"task.tie_weights=true needs a vectorizer with a matrix to share; {name} has none"
        )
    head = nn.Linear(weight_VD.shape[1], weight_VD.shape[0])
    head.weight = weight_VD
    read_whole(weight_VD)
    if model.output_size == weight_VD.shape[1]:
        return head
    return nn.Sequential(nn.Linear(model.output_size, weight_VD.shape[1], bias=False), head)


def _initialise_as_keras(head: nn.Module, shared: Tensor | None) -> None:
    for layer in head.modules():
        if not isinstance(layer, nn.Linear):
            continue
        if layer.weight is not shared:
            nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _initialise_uniformly(head: nn.Module, shared: Tensor | None, bound: float) -> None:
    for parameter in head.parameters():
        if parameter is not shared:
            nn.init.uniform_(parameter, -bound, bound)


def _without_bias(head: nn.Module) -> None:
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            layer.bias = None  # type: ignore[assignment]


def _grouped(parameters: list[nn.Parameter]) -> Any:
    """Two groups of the optimizer: with its weight decay, and without."""
    matrices = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
