"""The contract of a vectorizer.

Shapes: B batch, T time, D vector size, V vocabulary, C context. Ids are int64.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lm_research.kernels import TableRows
from lm_research.vectorizers.tables import bring_up_to_date

NOTHING = -1
"""The id of a position before the stream began; its vector contribution is zero."""
HistoryStep = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
"""ids_B of tokens and the history, to x_BD and the history on."""


class Vectorizer(nn.Module, ABC):
    """ids_BT -> x_BTD, causally: x at t depends on ids up to and including t, never on t+1.

    ``context`` is how many earlier ids x_t depends on (0 for a look-up, n-1 for a bag over the
    last n tokens). :meth:`stream` keeps them between calls, so that cutting a stream into
    windows changes nothing.

    Subclasses are built with ``vocabulary_size`` first, set ``dim`` and ``context``, and register
    what :meth:`fit` learns as buffers or parameters of fixed shape, so that ``state_dict`` holds
    it.
    """

    dim: int
    context: int = 0
    needs_fit: bool = False

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.register_state_dict_pre_hook(_up_to_date)

    def fit(self, documents: Iterable[np.ndarray]) -> None:
        """Learn from training documents, each an int array ids_N without separators."""

    @abstractmethod
    def forward(self, ids_BT: Tensor) -> Tensor:
        """x_BTD (float) of ids_BT (int64; ``NOTHING`` where there is no token)."""

    def rows(self, ids_BT: Tensor) -> TableRows | None:
        """x_BTD before its look-up, for models that need only the table's rows; None: it is none.

        For ids that are all tokens.
        """
        return None

    def document(self, ids_N: Tensor) -> Tensor:
        """x_D of a whole document: by default the mean of its positions' vectors."""
        return self(ids_N[None])[0].mean(0)

    def documents(self, documents: Sequence[Tensor]) -> Tensor:
        """x_BD of B documents (ids_N each): what :meth:`document` gives, one row each.

        Bags as wide as the vocabulary come as a sparse CSR matrix.
        """
        return torch.stack([self.document(ids_N) for ids_N in documents])

    def report(self) -> dict[str, Any]:
        """What fitting or loading was like, as JSON values, for the run's data.json."""
        return {}

    def output_weight(self) -> Tensor | None:
        """The V x D matrix that an output layer may share ("weight tying"), or None."""
        return None

    def stream(self, ids_BT: Tensor, history_BC: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x_BTD of a window that continues a stream, and the history to hand to the next call.

        ``history_BC`` holds the last ``context`` ids; ``None`` at the start of a stream.
        """
        if self.context == 0:
            return self(ids_BT), None
        if history_BC is None:
            history_BC = ids_BT.new_full((ids_BT.shape[0], self.context), NOTHING)
        joined = torch.cat([history_BC, ids_BT], dim=1)
        return self(joined)[:, self.context :], joined[:, -self.context :]

    def step(self, ids_B: Tensor, history_BC: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One token a stream: x_BD and the history on."""
        x_B1D, history_BC = self.stream(ids_B[:, None], history_BC)
        return x_B1D[:, 0], history_BC

    def stepper(self) -> HistoryStep:
        """:meth:`step` for many steps without gradients, by mode and weights as they are now.

        A vectorizer prepares here what each of them would otherwise do anew.
        """
        return self.step


def _up_to_date(module: nn.Module, prefix: str, keep_vars: bool) -> None:
    bring_up_to_date(module)
