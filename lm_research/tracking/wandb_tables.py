"""A run's part of the matrix of sources: trained on one, scored on several."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PREFIX = "eval/"


def evaluation_rows(
    config: Mapping[str, Any], summary: Mapping[str, Any]
) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of the table, a row for each source that the run was scored on.

    Args:
        config: the resolved configuration; the training source goes by its own name, since all
            mixtures are one option.
        summary: numbers named ``eval/SOURCE/SCORE``; others are passed over.

    Returns:
        Columns trained_on, evaluated_on and the scores in alphabetical order; an undefined score
        is None.
    """
    scores: dict[str, dict[str, Any]] = {}
    for name, value in summary.items():
        if name.startswith(_PREFIX) and name.count("/") == 2:
            _, source, score = name.split("/")
            scores.setdefault(source, {})[score] = value
    names = sorted({score for of_source in scores.values() for score in of_source})
    trained = _training_source(config)
    rows = [
        [trained, source, *(of_source.get(name) for name in names)]
        for source, of_source in scores.items()
    ]
    return ["trained_on", "evaluated_on", *names], rows


def over_documents(
    columns: list[str], rows: list[list[Any]], folder: Path
) -> tuple[list[str], list[list[Any]]]:
    """The same table with the 95 % bootstrap interval of bits per byte over documents.

    Args:
        columns, rows: of :func:`evaluation_rows`.
        folder: the run's, which keeps each document's score. Without them the table stays as it is.
    """
    from lm_research.analysis.documents import document_interval
    from lm_research.analysis.runs import load_run

    try:
        run = load_run(folder)
    except FileNotFoundError:  # taken away meanwhile: the scores themselves are still to be sent
        return columns, rows
    found = [document_interval([(run, f"{_PREFIX}{row[1]}")], resamples=999) for row in rows]
    if not any(found):
        return columns, rows
    bounds = [[one.low, one.high] if one else [None, None] for one in found]
    heads = ["bits_per_byte_low", "bits_per_byte_high"]
    return [*columns, *heads], [[*row, *two] for row, two in zip(rows, bounds, strict=True)]


def _training_source(config: Mapping[str, Any]) -> str:
    for group, key in (("data", "name"), ("choices", "data")):
        values = config.get(group)
        if isinstance(values, Mapping) and values.get(key):
            return str(values[key])
    return "unknown"
