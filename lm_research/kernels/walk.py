"""How a scan walks over time, and what happens to its state on the way.

Shapes: B batch, T time, H hidden size, R directions (1, or 2: in time's order and against it).
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

SCHEMA = (
    "Tensor? lengths, Tensor? reset, Tensor? dropout, Tensor? zoneout_h, Tensor? zoneout_c, "
    "float? share_h, float? share_c, bool reverse, int directions, str precision, bool recompute"
)
"""A walk's part of an operator's arguments: tensors, then values (:meth:`Walk.flat`)."""
TENSORS, VALUES = 5, 6


@dataclass(frozen=True)
class Walk:
    """What all scans share beside gates, weights and initial states.

    Two directions lie beside each other as further heads do: gates (B, T, R x gates x H), weight
    (R x gates x H, D), states (B, R x H), y (B, T, R x H); the second walks against time.

    Attributes:
        lengths_B: int64; real steps of every row. Beyond them y is 0 and the state stays.
        reset_BT: bool; the state is cleared before step t is walked. (2, B, T) for two directions.
        reverse: whether the one direction is against time; False for two.
        directions: R.
        dropout_BH: (B, R x H), in the gates' type; what h is multiplied with before U, the same at
            every step (Gal and Ghahramani 2016); 0 or 1 / (1 - p).
        zoneout_h: (B, T, R x H), bool: units whose h stays what it was (Krueger et al. 2017); or a
            share, which every h keeps of what it was (its expectation, for evaluation).
        zoneout_c: the same of the LSTM's cell.
        precision: of float32 products: ``tf32x3``, ``tf32``, ``ieee``.
        recompute: keep the least for the gradient and compute gates anew in the backward scan.
    """

    lengths_B: Tensor | None = None
    reset_BT: Tensor | None = None
    reverse: bool = False
    directions: int = 1
    dropout_BH: Tensor | None = None
    zoneout_h: Tensor | float | None = None
    zoneout_c: Tensor | float | None = None
    precision: str = "tf32x3"
    recompute: bool = False

    @property
    def mask_h(self) -> Tensor | None:
        """Zoneout of h as a mask."""
        return self.zoneout_h if isinstance(self.zoneout_h, Tensor) else None

    @property
    def mask_c(self) -> Tensor | None:
        """Zoneout of the cell as a mask."""
        return self.zoneout_c if isinstance(self.zoneout_c, Tensor) else None

    @property
    def share_h(self) -> float | None:
        """Zoneout of h as a share."""
        return None if isinstance(self.zoneout_h, Tensor) else self.zoneout_h

    @property
    def share_c(self) -> float | None:
        """Zoneout of the cell as a share."""
        return None if isinstance(self.zoneout_c, Tensor) else self.zoneout_c

    @property
    def masks(self) -> bool:
        """Whether there is dropout or zoneout."""
        given = self.dropout_BH, self.zoneout_h, self.zoneout_c
        return any(part is not None for part in given)

    def parts(self) -> list["Walk"]:
        """One walk a direction."""
        if self.directions == 1:
            return [self]
        return [self._part(direction) for direction in range(self.directions)]

    def _part(self, direction: int) -> "Walk":
        def mine(tensor: Any) -> Any:
            whole = not isinstance(tensor, Tensor)
            return tensor if whole else tensor.chunk(self.directions, -1)[direction]

        return replace(
            self,
            reset_BT=None if self.reset_BT is None else self.reset_BT[direction],
            reverse=bool(direction),
            directions=1,
            dropout_BH=mine(self.dropout_BH),
            zoneout_h=mine(self.zoneout_h),
            zoneout_c=mine(self.zoneout_c),
        )

    def flat(self) -> tuple[Any, ...]:
        """As an operator takes it (:data:`SCHEMA`)."""
        tensors = self.lengths_B, self.reset_BT, self.dropout_BH, self.mask_h, self.mask_c
        values = self.reverse, self.directions, self.precision, self.recompute
        return *tensors, self.share_h, self.share_c, *values

    @classmethod
    def of(cls, *flat: Any) -> "Walk":
        """The walk that :meth:`flat` took apart."""
        lengths, reset, dropout, mask_h, mask_c, share_h, share_c, *rest = flat
        zoneout_h = share_h if mask_h is None else mask_h
        zoneout_c = share_c if mask_c is None else mask_c
        reverse, directions, precision, recompute = rest
        return cls(
            lengths_B=lengths,
            reset_BT=reset,
            reverse=reverse,
            directions=directions,
            dropout_BH=dropout,
            zoneout_h=zoneout_h,
            zoneout_c=zoneout_c,
            precision=precision,
            recompute=recompute,
        )
