"""The contract of an architecture.

Shapes: B batch, T time, D input size, H output size, V vocabulary, L layers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

State = Any
"""A tensor, or nested tuples / lists of tensors, batch-first: what a model carries over time."""

StateStep = Callable[[Tensor, State | None], tuple[Tensor, State]]
"""x_BD and the state, to y_BH and the state on."""


class SequenceModel(nn.Module, ABC):
    """x_BTD, state -> y_BTH, state.

    Causal: y at t depends on x up to t. T steps one at a time equal one call of T, whatever the
    cuts, up to float rounding. Built with ``input_size`` (D) first; sets ``output_size`` (H).
    Every state tensor has the batch in dimension 0, so that callers can detach, move, and select
    rows without knowing the architecture.
    """

    output_size: int
    reads_rows: bool = False
    """Whether x_BTD may also be a :class:`~lm_research.kernels.TableRows`, not looked up yet."""

    @abstractmethod
    def forward(
        self, x_BTD: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps. ``state=None`` starts from :meth:`initial_state`.

        With ``lengths`` (int64, B, 1 <= length <= T) row b holds ``lengths[b]`` real steps: its
        outputs beyond are zero and its state is the one after its last real step.
        """

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """The state before the first step (zeros, or learned where the model says so)."""

    def backend(self, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
        """What serves the layers on ``device``, as recorded once a run; nothing if PyTorch does."""
        return {}

    def features(
        self, x_BTD: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """:meth:`forward` up to the dropout of its outputs, which :meth:`drop_outputs` then is.

        An architecture without such a dropout overrides neither.
        """
        found: tuple[Tensor, State] = self(x_BTD, state, lengths=lengths)
        return found

    def drop_outputs(self, y_BTH: Tensor) -> Tensor:
        """What is left to do after :meth:`features`, in training: nothing."""
        return y_BTH

    def step(self, x_BD: Tensor, state: State | None) -> tuple[Tensor, State]:
        """One step: y_BH and the new state."""
        y_B1H, state = self(x_BD[:, None], state)
        return y_B1H[:, 0], state

    def stepper(self) -> StateStep:
        """:meth:`step` for many steps without gradients, by mode and weights as they are now.

        An architecture prepares here what each of them would otherwise do anew.
        """
        return self.step


class CountModel(ABC):
    """A model that is counted rather than trained by gradients (n-grams).

    It reads token ids, so a vectorizer has nothing to do with it. Built with ``vocabulary_size``.
    """

    order: int
    """Contexts hold ``order - 1`` tokens."""

    @abstractmethod
    def fit(self, ids_N: np.ndarray) -> None:
        """Count the training stream (documents joined by the separator, which starts it)."""

    @abstractmethod
    def log_probabilities(self, ids_N: np.ndarray, start: int, stop: int) -> np.ndarray:
        """log p(. | ids_N[:t+1]) for t in start..stop-1: nats, float64, (stop - start, V)."""

    @abstractmethod
    def state_dict(self) -> dict[str, np.ndarray]:
        """What ``fit`` counted, as plain arrays."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Restore what ``state_dict`` returned."""

    @abstractmethod
    def parameter_count(self) -> int:
        """Number of stored counts."""
