"""The types that a configuration value may have, with the range each allows.

A class says what it accepts by annotating its ``__init__`` with these; validation reads the
annotations from the source text, without importing the class (see ``signatures.py``), so that a
wrong value is named before torch is loaded.
"""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Interval:
    """Numbers from ``low`` to ``high``; an ``open_*`` end is excluded, ``None`` is unbounded."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def contains(self, value: float) -> bool:
        """Whether ``value`` lies inside; NaN never does."""
        if self.low is not None and not (value > self.low if self.open_low else value >= self.low):
            return False
        if self.high is not None:
            return value < self.high if self.open_high else value <= self.high
        return value == value

    def __str__(self) -> str:
        if self.high is None:
            return f"greater than {self.low}" if self.open_low else f"at least {self.low}"
        if self.low is None:
            return f"less than {self.high}" if self.open_high else f"at most {self.high}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"within {left}{self.low}, {self.high}{right}"


PositiveInt = Annotated[int, Interval(low=1)]
NonNegativeInt = Annotated[int, Interval(low=0)]
FoldCount = Annotated[int, Interval(low=2)]
"""Of cross-validation: at least two, one of which is held out."""
PositiveFloat = Annotated[float, Interval(low=0, open_low=True)]
NonNegativeFloat = Annotated[float, Interval(low=0)]
Probability = Annotated[float, Interval(low=0, high=1)]
"""A number in [0, 1], both ends included."""
DropProbability = Annotated[float, Interval(low=0, high=1, open_high=True)]
"""A dropout rate: [0, 1), since dropping everything learns nothing."""
Fraction = Annotated[float, Interval(low=0, high=1, open_high=True)]
"""A share that leaves something: [0, 1)."""
OpenFraction = Annotated[float, Interval(low=0, high=1, open_low=True, open_high=True)]
"""A share that leaves something and is something: (0, 1)."""
