"""Models of a document's one vector: linear, or a multilayer perceptron.

With averaged embeddings the first is fastText (Joulin et al. 2017), the second a deep averaging
network (Iyyer et al. 2015); with bags as wide as the vocabulary, logistic regression.

Shapes: B batch, D input size, H output size.
"""

from itertools import pairwise

from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveInt
from lm_research.models.document_models import VectorModel


class Bag(VectorModel):
    """x_BD -> y_BH through layers of relu(W x + b); without any, y is x.

    Args:
        input_size: D.
        hidden_sizes: of the layers, in order.
        dropout: probability of dropping an entry of a layer's output; of x where there is none.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_sizes: list[PositiveInt] | None = None,
        dropout: DropProbability = 0.0,
    ) -> None:
        super().__init__()
        sizes = [input_size, *(hidden_sizes or [])]
        self.output_size = sizes[-1]
        pairs = pairwise(sizes)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BD: Tensor) -> Tensor:
        """y_BH; a sparse x without a layer comes out as it is."""
        y_BH = x_BD
        for layer in self.layers:
            y_BH = self.dropout(layer(y_BH).relu())
        return y_BH if self.layers or y_BH.is_sparse_csr else self.dropout(y_BH)
