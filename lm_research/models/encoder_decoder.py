"""An encoder-decoder: the contract of a model whose layers look at a source, and its decoder.

As published (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762): the positions of the encoder
see the whole source, and every layer of the decoder attends to the encoder's outputs, between its
own mixing of positions and its feed-forward network.

Shapes: B batch, T steps of the decoder, S steps of the encoder, D input size, H output size, M
memory size, L layers.
"""

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from lm_research.models.cross_attention import CrossAttention
from lm_research.models.sequence_model import SequenceModel, State

Between = Callable[[int, Tensor], Tensor]
"""The number of a layer and x_BTH in the middle of it, to the x_BTH that the layer goes on with."""


class EncoderDecoderModel(SequenceModel):
    """A ``SequenceModel`` that can be an encoder, and a :class:`Decoder` around it, too.

    ``task=translation`` and ``summarization`` then use it so. Other models are an encoder as they
    are, and a decoder that attends to it behind its last layer.
    """

    @abstractmethod
    def forward(
        self,
        x_BTD: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        causal: bool = True,
        between: Between | None = None,
    ) -> tuple[Tensor, State]:
        """As :meth:`SequenceModel.forward`, and:

        Args:
            causal: False: y at t depends on all of x, each row up to its length. There is no state
                then, neither given nor returned (None): what was read whole does not go on.
            between: called once in each layer, from below.
        """

    @abstractmethod
    def cross_attentions(self, memory_size: int) -> list[CrossAttention]:
        """New ones for each layer, over outputs of size M, initialised as the model is."""


class Decoder(nn.Module):
    """A model, with attention over an encoder's outputs in each of its layers.

    Args:
        model: causal.
        memory_size: M, of the encoder's outputs.
    """

    def __init__(self, model: EncoderDecoderModel, memory_size: int) -> None:
        super().__init__()
        self.model = model
        self.cross = nn.ModuleList(model.cross_attentions(memory_size))

    def keys(self, memory_BSM: Tensor) -> list[Tensor]:
        """Each layer's keys and values of a memory, (B, S, 2H): computed once for all steps."""
        layers = (layer for layer in self.cross if isinstance(layer, CrossAttention))
        return [layer.keys(memory_BSM) for layer in layers]

    def forward(
        self, x_BTD: Tensor, keys: list[Tensor], none_BS: Tensor, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """y_BTH, the last layer's attention_BTS, the mean of its heads, and the state on.

        Args:
            x_BTD: vectors of T tokens.
            keys: see :meth:`keys`.
            none_BS: bool, where the source has no token.
            state: the model's.
        """
        weights: list[Tensor] = []

        def look(number: int, x_BTH: Tensor) -> Tensor:
            last = number == len(self.cross) - 1
            y_BTH, weight_BTS = self.cross[number](x_BTH, keys[number], none_BS, weighed=last)
            if weight_BTS is not None:
                weights.append(weight_BTS)
            return y_BTH

        y_BTH, state = self.model(x_BTD, state, between=look)
        return y_BTH, weights[0], state
