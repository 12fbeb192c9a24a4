"""Does a number of ours agree with a published one?

With values x_1..x_n over seeds, their 95 % t-interval [low, high] (of one value: the value itself),
the published p and the tolerance T:

    reproduced      [low, high] meets [p - T, p + T]
    better, worse   it lies on one side of it
    not comparable  another configuration or protocol; or an interval so wide that it meets anything

T is never wider than the paper's own spread or three times ours (whichever is larger), where the
paper gives a spread; where it gives none, T is what ``expected.yaml`` says and gives reasons for. A
budget that was cut is compared with a recorded curve, and gets no verdict, whatever comes of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lm_research.analysis.statistics import Estimate, mean, t_interval

State = Literal[
    "reproduced", "better", "worse", "not comparable", "on course", "off course", "no verdict"
]
GOOD: frozenset[State] = frozenset({"reproduced", "better"})
SEED_SPREADS = 3.0
WIDEST = 1.0
"""Half an interval over tolerances beyond which its meeting the published value says nothing."""
SAME_TOKENS = 0.01
"""Relative distance of two token counts that are the same point of a curve."""


@dataclass(frozen=True)
class Claim:
    """One published number.

    Args:
        published: p.
        tolerance: T as ``expected.yaml`` has it.
        minimize: less is better.
        spread: the paper's own, if it gives one.
        deterministic: no seed moves our number.
    """

    published: float
    tolerance: float
    minimize: bool
    spread: float | None = None
    deterministic: bool = False


@dataclass(frozen=True)
class Verdict:
    """The state and, in words, why; what was measured and with what tolerance it was judged."""

    state: State
    why: str
    estimate: Estimate | None = None
    tolerance: float | None = None

    @property
    def good(self) -> bool:
        """Reproduced, or better."""
        return self.state in GOOD


def judge(values: Sequence[float], claim: Claim, incomparable: str | None = None) -> Verdict:
    """The verdict on one setting's results under n seeds.

    Args:
        incomparable: why they are of something else, if they are.

    Raises:
        ValueError: values that are not finite.
    """
    if not values:
        return Verdict("no verdict", "there is no result")
    estimate = _estimate(values, claim)
    tolerance = allowed(claim, estimate.sd)
    if incomparable is not None:
        return Verdict("not comparable", incomparable, estimate, tolerance)
    low, high = _ends(estimate)
    p = claim.published
    if abs(estimate.mean - p) > tolerance and (high - low) / 2 > WIDEST * tolerance:
        why = f"the interval over {estimate.n} seeds is too wide to tell; run more seeds"
        return Verdict("not comparable", why, estimate, tolerance)
    if low <= _up(p + tolerance) and high >= _down(p - tolerance):
        return Verdict("reproduced", _said(estimate, claim), estimate, tolerance)
    state: State = "better" if (high < p) == claim.minimize else "worse"
    away = min(abs(low - p), abs(high - p))
    why = f"{_said(estimate, claim)}, {away:.4g} away from the published value"
    return Verdict(state, why, estimate, tolerance)


def in_short(states: Sequence[str]) -> str:
    """ "reproduced" where all are, else "1 reproduced, 1 worse"."""
    if len(set(states)) == 1:
        return states[0]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"


def allowed(claim: Claim, seed_spread: float | None) -> float:
    """T: the claim's, capped where the paper gives a spread; see the module's docstring."""
    if claim.spread is None:
        return claim.tolerance
    return min(claim.tolerance, max(claim.spread, SEED_SPREADS * (seed_spread or 0.0)))


def judge_course(
    values: Mapping[int, Sequence[float]], curve: Mapping[int, float], tolerance: float
) -> Verdict:
    """Whether a budget that was cut is where a recorded curve was; never more than that.

    Args:
        values: tokens read -> a value for each seed.
        curve: tokens read -> the recorded value.
        tolerance: relative.
    """
    pairs = [(at, seen, curve[at]) for tokens, seen in sorted(values.items())
             for at in [_same_point(tokens, curve)] if at is not None and seen]  # fmt: skip
    if not pairs:
        points = ", ".join(f"{tokens:,}" for tokens in sorted(curve)) or "nowhere"
        return Verdict("no verdict", f"a partial budget; the curve is recorded at {points} tokens")
    tokens, seen, recorded = pairs[-1]
    off = [at for at, some, true in pairs if abs(mean(some) - true) > tolerance * abs(true)]
    found = f"{mean(seen):.4g} at {tokens:,} tokens, recorded {recorded:.4g} (± {tolerance:.0%})"
    if off:
        others = ", ".join(f"{at:,}" for at in off)
        return Verdict("off course", f"{found}; away at {others} tokens", t_interval(seen))
    return Verdict("on course", f"{found}; a partial budget gets no verdict", t_interval(seen))


def _estimate(values: Sequence[float], claim: Claim) -> Estimate:
    if claim.deterministic and min(values) != max(values):
        raise ValueError(f"values {list(values)} of a deterministic method differ")
    return t_interval(values[:1] if claim.deterministic else values)


def _ends(estimate: Estimate) -> tuple[float, float]:
    if estimate.low is None or estimate.high is None:
        return estimate.mean, estimate.mean
    return estimate.low, estimate.high


def _said(estimate: Estimate, claim: Claim) -> str:
    if claim.deterministic:
        return "deterministic: no interval"
    if estimate.half_width is None:
        return "one seed: no interval"
    return f"{estimate.n} seeds, ± {estimate.half_width:.4g}"


def _same_point(tokens: int, curve: Mapping[int, float]) -> int | None:
    near = [at for at in curve if abs(at - tokens) <= SAME_TOKENS * at]
    return min(near, key=lambda at: abs(at - tokens), default=None)


def _up(value: float) -> float:
    """Decimal tolerances are not binary: 148.25 lies within 0.05 of 148.3."""
    return value + 1e-12 * abs(value)


def _down(value: float) -> float:
    return value - 1e-12 * abs(value)
