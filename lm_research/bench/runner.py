"""Runs a benchmark's rows: equality first, then turns, then what is to be said of them."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from statistics import median
from typing import Any

from lm_research.bench.case import Plan, in_turns, ratios
from lm_research.bench.machine import Machine, measured

Row = dict[str, Any]


def chosen(plans: Iterable[Plan], only: str) -> list[Plan]:
    """Those that have every word of ``only`` among their own (``gru hidden=512``)."""
    wanted = only.split()
    return [plan for plan in plans if not set(wanted) - set(plan.words())]


def row_of(plan: Plan, seconds: float, machine: Machine) -> Row:
    """One row: what, ratio by peer with quartiles, seconds of a round by side, share of the peak.

    Raises:
        AssertionError: the sides do not compute the same; nothing was timed.
    """
    case = plan.make()
    try:
        case.equal()
        times = in_turns(case.sides, seconds, done=case.done)
    finally:
        case.close()
    scale = case.scale() if case.scale else {}
    times = {side: [t * scale.get(side, 1.0) for t in each] for side, each in times.items()}
    middle = {name: median(each) for name, each in times.items()}
    row: Row = {
        **plan.what,
        **case.extra,
        "ratios": {peer: asdict(ratio) for peer, ratio in ratios(times).items()},
        "seconds": {name: float(f"{value:.4g}") for name, value in middle.items()},
        "rounds": len(times["ours"]),
    }
    if scale:
        row["rounds_of_a_side"] = {side: round(count, 2) for side, count in scale.items()}
    if case.flops is not None:
        peak = machine.peak_gflops(str(plan.what.get("dtype")))
        row["share_of_peak"] = round(case.flops / middle["ours"] / 1e9 / peak, 3)
    return row


def run(plans: list[Plan], seconds: float, told: Callable[[Plan, Row], None]) -> list[Row]:
    """All rows, each told when it is done; the machine is measured anew before every one."""
    rows = []
    for plan in plans:
        machine = measured()
        row = {**row_of(plan, seconds, machine), "machine": machine.columns()}
        rows.append(row)
        told(plan, row)
    return rows
