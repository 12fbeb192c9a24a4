"""The contracts of models that read whole documents at once, for classification.

Shapes: B batch, T time, D input size, H output size.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class VectorModel(nn.Module, ABC):
    """x_BD -> y_BH: reads one vector a document (``Vectorizer.documents``), dense or sparse CSR.

    Built with ``input_size`` (D) first; sets ``output_size`` (H).
    """

    output_size: int

    @abstractmethod
    def forward(self, x_BD: Tensor) -> Tensor:
        """y_BH."""

    def backend(self, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
        """What serves the layers, as recorded once a run: nothing beside PyTorch."""
        return {}


class DocumentModel(nn.Module, ABC):
    """x_BTD, lengths_B -> y_BH: reads the vectors of all of a document's tokens at once.

    Row b depends on its first ``lengths_B[b]`` (int64, at least 1) steps alone, whatever lies
    behind them and beside them. Built with ``input_size`` (D) first; sets ``output_size`` (H).

    Attributes:
        head_max_norm: largest Euclidean norm of a row of the output layer that follows; None: any.
    """

    output_size: int
    head_max_norm: float | None = None

    @abstractmethod
    def forward(self, x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """y_BH."""

    def backend(self, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
        """What serves the layers, as recorded once a run: nothing beside PyTorch."""
        return {}
