"""A pre-norm Transformer with sliding-window attention.

    x <- x + dropout(W_o attention(norm(x)))        x <- x + dropout(FFN(norm(x)))

(Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; layer normalisation in front as in Xiong
et al. 2020, https://arxiv.org/abs/2002.04745.) In every layer a position attends to the last
``context`` positions, itself included, in training and in evaluation alike, so that cutting a
stream into windows changes nothing. Positions enter by rotary embedding (Su et al. 2021,
https://arxiv.org/abs/2104.09864), which depends on their distance alone; keys are kept unrotated
and rotated relative to where a block of keys begins, so that no angle grows with the stream.

With ``positions="learned"`` it is GPT-2 (Radford et al. 2019): a trained vector for each of
``context`` positions is added to the input, the stream is read in blocks of ``context``, and
attention ends with the block. A block begins where the stream does, and then every ``context``
positions.

As an encoder (``causal=False``) a position attends to all of its row, with rotary positions
whatever the ``context``. As a decoder (:mod:`lm_research.models.encoder_decoder`) each layer looks
at the encoder's outputs after it has attended to its own past.

Shapes: B batch, T time, D input size, H hidden size, N heads, E = H / N head size, P = context - 1
positions kept, Q queries and K keys of one block, S = kept and new positions together.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveInt
from lm_research.kernels.tracing import is_traced
from lm_research.models.cross_attention import CrossAttention
from lm_research.models.dropout import check_dropout
from lm_research.models.encoder_decoder import Between, EncoderDecoderModel
from lm_research.models.lengths import check_lengths, windows, zero_padding
from lm_research.models.sequence_model import State

GPT2_DEVIATION = 0.02


class Block(NamedTuple):
    """Some queries of a window, the keys within their reach, and which may see which."""

    queries: slice
    keys: slice
    rotation: tuple[Tensor, Tensor] | None
    mask: Tensor  # bool, QK, B1QK or B11K; True where attention is allowed


class Layer(nn.Module):
    """Attention and a feed-forward network, each normalised in front and added to its input."""

    def __init__(
        self,
        size: int,
        num_heads: int,
        inner_size: int,
        dropout: float,
        attention_dropout: float,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_heads, self.attention_dropout = num_heads, attention_dropout
        self.attention_norm = nn.LayerNorm(size, bias=bias)
        self.query_key_value = nn.Linear(size, 3 * size, bias)
        self.attention_output = nn.Linear(size, size, bias)
        self.feedforward_norm = nn.LayerNorm(size, bias=bias)
        self.feedforward = nn.Sequential(
            nn.Linear(size, inner_size, bias), nn.GELU(), nn.Linear(inner_size, size, bias)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BTH: Tensor,
        kept_BP2H: Tensor | None,
        blocks: list[Block],
        between: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """y_BTH, and the keys and values (B, S, 2H) of kept and new positions.

        ``between`` comes after the attention and before the feed-forward network.
        """
        size = x_BTH.shape[2]
        qkv_BT3H = self.query_key_value(self.attention_norm(x_BTH))
        query_BTH, kv_BS2H = qkv_BT3H.split([size, 2 * size], dim=-1)
        if kept_BP2H is not None:
            kv_BS2H = torch.cat([kept_BP2H.to(kv_BS2H.dtype), kv_BS2H], dim=1)
        attended = [self._attend(query_BTH, kv_BS2H, block) for block in blocks]
        y_BTH = attended[0] if len(attended) == 1 else torch.cat(attended, dim=1)
        x_BTH = x_BTH + self.dropout(self.attention_output(y_BTH))
        if between is not None:
            x_BTH = between(x_BTH)
        x_BTH = x_BTH + self.dropout(self.feedforward(self.feedforward_norm(x_BTH)))
        return x_BTH, kv_BS2H

    def _attend(self, query_BTH: Tensor, kv_BS2H: Tensor, block: Block) -> Tensor:
        query_BNQE = self._heads(query_BTH[:, block.queries])
        key, value = kv_BS2H[:, block.keys].chunk(2, dim=-1)
        y_BNQE = F.scaled_dot_product_attention(
            turned(query_BNQE, block.rotation),
            turned(self._heads(key), block.rotation),
            self._heads(value),
            attn_mask=block.mask,
            dropout_p=self.attention_dropout if self.training else 0.0,
        )
        return y_BNQE.transpose(1, 2).flatten(2)

    def _heads(self, x_BSH: Tensor) -> Tensor:
        batch, steps = x_BSH.shape[:2]  # not unflatten: its ONNX remembers the example's steps
        return x_BSH.reshape(batch, steps, self.num_heads, -1).transpose(1, 2)


class Transformer(EncoderDecoderModel):
    """Layers of causal sliding-window attention and feed-forward networks, then a normalisation.

    The state is (valid_B, [kv_BP2H, ...]): each layer's last ``context - 1`` keys (before
    rotation) and values, side by side, and how many of them, counted from the end, are real.

    Args:
        input_size: D; a linear map comes first where it differs from ``hidden_size``.
        hidden_size: H; a multiple of twice ``num_heads``, since rotation works on pairs.
        num_layers: layers of the stack.
        num_heads: attention heads.
        context: positions that a position attends to in every layer, itself included.
        feedforward_ratio: inner size of the feed-forward network over H.
        dropout: probability of dropping an entry of the input and of each branch's output.
        attention_dropout: the same of the attention weights.
        positions: ``rotary``, with a sliding window; or ``learned``, with blocks.
        bias: of linear maps and normalizations.
        init: ``torch``; or ``gpt2``: matrices and positions N(0, 0.02^2), those that end a branch
            over sqrt(2 num_layers) besides, biases 0.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt = 2,
        num_heads: PositiveInt = 4,
        context: PositiveInt = 128,
        feedforward_ratio: PositiveInt = 4,
        dropout: DropProbability = 0.0,
        positions: Literal["rotary", "learned"] = "rotary",
        bias: bool = True,
        init: Literal["torch", "gpt2"] = "torch",
        attention_dropout: DropProbability = 0.0,
    ) -> None:
        super().__init__()
        if hidden_size % (2 * num_heads):
            raise ValueError(
                f"hidden_size is {hidden_size} and num_heads {num_heads}; hidden_size must be a "
                f"multiple of 2 * num_heads = {2 * num_heads}"
            )
        if min(num_layers, context, feedforward_ratio) < 1:
            raise ValueError(
                "num_layers, context and feedforward_ratio must be at least 1; got "
                f"{num_layers}, {context}, {feedforward_ratio}"
            )
        check_dropout("dropout", dropout)
        check_dropout("attention_dropout", attention_dropout)
        self.output_size, self.context = hidden_size, context
        self.head_size = hidden_size // num_heads
        self.num_heads, self.attention_dropout, self.bias = num_heads, attention_dropout, bias
        self.init = init
        same = input_size == hidden_size
        self.project = nn.Identity() if same else nn.Linear(input_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        inner_size = feedforward_ratio * hidden_size
        self.layers = nn.ModuleList(
            Layer(hidden_size, num_heads, inner_size, dropout, attention_dropout, bias)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size, bias=bias)
        self.position_CH: nn.Parameter | None = None
        if positions == "learned":
            self.position_CH = nn.Parameter(torch.randn(context, hidden_size))
        if init == "gpt2":
            initialise_as_gpt2(self, num_layers)

    def cross_attentions(self, memory_size: int) -> list[CrossAttention]:
        """See :meth:`EncoderDecoderModel.cross_attentions`."""
        sizes = self.output_size, memory_size, self.num_heads
        options = self.dropout.p, self.attention_dropout, self.bias
        made = [CrossAttention(*sizes, *options) for _ in self.layers]
        if self.init == "gpt2":
            for layer in made:
                initialise_as_gpt2(layer, len(made))
        return made

    @property
    def kept(self) -> int:
        """P, positions that the state holds."""
        return self.context - 1

    @property
    def mixing_flops_per_token(self) -> int:
        """Forward FLOPs of attention that no parameter shows: 4 * context * H a layer.

        Two products, of a query with ``context`` keys and of as many weights with their values;
        what the masked parts of a block cost beyond that is left out.
        """
        return 4 * self.context * self.output_size * len(self.layers)

    def initial_state(self, batch: int) -> State:
        """Room for P keys and values a layer, none of them real yet."""
        weight = self.norm.weight
        kv_BP2H = weight.new_zeros(batch, self.kept, 2 * self.output_size)
        valid_B = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        return valid_B, [kv_BP2H for _ in self.layers]

    def forward(
        self,
        x_BTD: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        causal: bool = True,
        between: Between | None = None,
    ) -> tuple[Tensor, State]:
        """Run T steps; see :meth:`EncoderDecoderModel.forward`."""
        if lengths is not None:
            check_lengths(lengths, x_BTD)
            lengths = lengths.to(x_BTD.device)
        # At the start of a stream there is nothing to look back to: no cache, less work.
        valid_B, kept = (None, [None] * len(self.layers)) if state is None else state
        y_BTH, new_kept = self.dropout(self._placed(self.project(x_BTD), valid_B)), []
        blocks = self._blocks(y_BTH, valid_B) if causal else [self._whole(y_BTH, lengths)]
        for number, (layer, kept_BP2H) in enumerate(zip(self.layers, kept, strict=True)):
            inside = None if between is None else partial(between, number)
            y_BTH, kv_BS2H = layer(y_BTH, kept_BP2H, blocks, inside)
            if causal:
                new_kept.append(self._last(kv_BS2H, x_BTD.shape[1], lengths))
        y_BTH = self.norm(y_BTH)
        new_state = (self._count(x_BTD, valid_B, lengths), new_kept) if causal else None
        return (y_BTH if lengths is None else zero_padding(y_BTH, lengths)), new_state

    def _placed(self, x_BTH: Tensor, valid_B: Tensor | None) -> Tensor:
        """With the vectors of learned positions."""
        if self.position_CH is None:
            return x_BTH
        step_T = torch.arange(x_BTH.shape[1], device=x_BTH.device)
        place = step_T if valid_B is None else valid_B[:, None] + step_T
        return x_BTH + self.position_CH[place % self.context]

    def _blocks(self, x_BTH: Tensor, valid_B: Tensor | None) -> list[Block]:
        """Cut the queries into pieces of ``context``: the cost then grows with T, not T squared.

        A graph that is written out, for any T, has one piece: the same outputs.
        """
        steps, past = x_BTH.shape[1], 0 if valid_B is None else self.kept
        size, blocks = steps if is_traced() else self.context, []
        for start in range(0, steps, size):
            stop = min(start + size, steps)
            first_key = max(0, past + start - self.kept)
            keys = slice(first_key, past + stop)
            if self.position_CH is not None:
                mask = self._block_mask(slice(past + start, past + stop), keys, past, valid_B)
                blocks.append(Block(slice(start, stop), keys, None, mask.to(x_BTH.device)))
                continue
            mask = self._mask(stop - start, keys.stop - first_key, x_BTH.device)
            if valid_B is not None and first_key < past:
                position_K = torch.arange(first_key, keys.stop, device=x_BTH.device)
                mask = mask & (position_K >= (past - valid_B)[:, None])[:, None, None]
            rotation = rotations(keys.stop - first_key, self.head_size, x_BTH)
            blocks.append(Block(slice(start, stop), keys, rotation, mask))
        return blocks

    def _whole(self, x_BTH: Tensor, lengths_B: Tensor | None) -> Block:
        """Each query with all keys of its row."""
        steps = x_BTH.shape[1]
        every, rotation = slice(0, steps), None
        if self.position_CH is None:
            rotation = rotations(steps, self.head_size, x_BTH)
        elif steps > self.context:
            raise ValueError(
                f"a text of {steps} tokens is read whole, and model.context={self.context} "
                "learned positions are there; raise model.context, lower task.most_source, or "
                "model.positions=rotary"
            )
        place_T = torch.arange(steps, device=x_BTH.device)
        ends_B = lengths_B if lengths_B is not None else torch.full_like(place_T[:1], steps)
        return Block(every, every, rotation, (place_T < ends_B[:, None])[:, None, None])

    def _mask(self, queries: int, keys: int, device: torch.device) -> Tensor:
        """Whether a key is 0 to P positions behind a query; the last key is the last query's."""
        position_K = torch.arange(keys, device=device)
        distance_QK = position_K[keys - queries :, None] - position_K
        return (distance_QK >= 0) & (distance_QK < self.context)

    def _block_mask(self, queries: slice, keys: slice, past: int, valid_B: Tensor | None) -> Tensor:
        """Whether a key is in a query's block and not after it; QK or B1QK.

        ``valid_B`` are the positions of the current block that are behind already.
        """
        device = None if valid_B is None else valid_B.device
        place_Q = torch.arange(queries.start, queries.stop, device=device) - past
        place_K = torch.arange(keys.start, keys.stop, device=device) - past
        behind_QK = place_K <= place_Q[:, None]
        if valid_B is None:
            return behind_QK & (place_K // self.context == place_Q[:, None] // self.context)
        block_BQ = (valid_B[:, None] + place_Q).div(self.context, rounding_mode="floor")
        block_BK = (valid_B[:, None] + place_K).div(self.context, rounding_mode="floor")
        return (behind_QK & (block_BQ[:, :, None] == block_BK[:, None]))[:, None]

    def _last(self, kv_BS2H: Tensor, steps: int, lengths_B: Tensor | None) -> Tensor:
        """The P entries up to each row's last real step, padded in front where there are fewer."""
        size = kv_BS2H.shape[1]
        if lengths_B is None and size >= self.kept:
            return kv_BS2H[:, size - self.kept :].clone()  # a view would keep all of it alive
        padded = F.pad(kv_BS2H, (0, 0, self.kept, 0))
        if lengths_B is None:
            return padded[:, size:].clone()
        return windows(padded, size - steps + lengths_B, self.kept)

    def _count(self, x_BTD: Tensor, valid_B: Tensor | None, lengths_B: Tensor | None) -> Tensor:
        batch, steps = x_BTD.shape[:2]
        if valid_B is None:
            valid_B = torch.zeros(batch, dtype=torch.int64, device=x_BTD.device)
        seen_B = valid_B + (steps if lengths_B is None else lengths_B)
        return seen_B.clamp(max=self.kept) if self.position_CH is None else seen_B % self.context


def initialise_as_gpt2(module: nn.Module, num_layers: int) -> None:
    """N(0, 0.02^2); over sqrt(2 num_layers) besides where a branch ends; biases 0."""
    ends = ("output.weight", "feedforward.2.weight")
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() > 1:
            shrink = math.sqrt(2 * num_layers) if name.endswith(ends) else 1.0
            nn.init.normal_(parameter, std=GPT2_DEVIATION / shrink)


def rotations(length: int, head_size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, (length, E/2), of angle p * 10000^(-2i/E) for position p and pair i.

    Computed in float64 at each call: a buffer would be cast with the module, and its rounding
    would make the product of two rotations depend on more than the distance.
    """
    pair = torch.arange(0, head_size, 2, dtype=torch.float64, device=like.device)
    position = torch.arange(length, dtype=torch.float64, device=like.device)
    angle = position[:, None] * torch.pow(10000.0, -pair / head_size)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def turned(x_BNSE: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
    """Rotated, where positions are."""
    return x_BNSE if rotation is None else rotate(x_BNSE, rotation)


def rotate(x_BNSE: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pairs (x_i, x_{i+E/2}); the S positions are the rotation's last S."""
    steps = x_BNSE.shape[2]
    cos, sin = (part[part.shape[0] - steps :] for part in rotation)
    left, right = x_BNSE.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)
