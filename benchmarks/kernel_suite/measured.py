"""From a benchmark's figures to what dispatch reads: lm_research/kernels/measured/*.json.

A row for each layer that torch.nn serves, too (W x included), and for each that it does not; of
several fused forms the fastest.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from kernel_suite.points import Point
from kernel_suite.ratios import BASELINE, FUSED_NAMES
from kernel_suite.store import Row, Table, read
from lm_research.kernels import measured


def rows(table: Table) -> Iterator[list[object]]:
    """In the order of the grid, so that two versions of a file can be compared line by line."""
    for point in sorted(table, key=lambda p: (*_kind(p), *_size(p))):
        found = table[point]
        ours = {form: found[name].ms for form, name in FUSED_NAMES.items() if _timed(found, name)}
        if point.accounting == "layer" and ours:
            form = min(ours, key=ours.__getitem__)
            base = found[BASELINE].ms if _timed(found, BASELINE) else None
            if base is not None or point.heads > 1:
                yield [*_kind(point), *_size(point), _rounded(base), _rounded(ours[form]), form]


def _kind(point: Point) -> measured.Kind:
    return measured.Kind(point.cell, point.dtype, point.mode, point.layers, point.heads)


def _size(point: Point) -> measured.Size:
    return measured.Size(point.hidden, point.batch, point.steps)


def _timed(found: dict[str, Row], name: str) -> bool:
    return name in found and found[name].measured


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else float(f"{ms:.4g}")


def write(csv: Path, about: dict, folder: Path) -> Path:
    """The device's file, a line for each row; the CSV, and what is told about it, are given.

    Raises:
        ValueError: the figures are of a dry run, or none of them is of a fused kernel.
    """
    if about["dry_run"]:
        raise ValueError(f"{csv} is a dry run: its figures say nothing of the kernels")
    lines = [json.dumps(row) for row in rows(read(csv))]
    if not lines:
        raise ValueError(f"{csv} has no fused kernel beside torch.nn")
    head = {"device": about["device"], "date": about["date"], "versions": about["versions"]}
    head |= {"source": csv.name, "columns": list(measured.COLUMNS)}
    told = ",\n".join(f' "{name}": {json.dumps(value)}' for name, value in head.items())
    body = ",\n".join(f"  {line}" for line in lines)
    path = folder / f"{measured.slug(about['device'])}.json"
    path.write_text(f'{{\n{told},\n "rows": [\n{body}\n ]\n}}\n', encoding="utf-8")
    return path
