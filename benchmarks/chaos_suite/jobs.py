"""Small runs over everything in conf/: a new option is in the next chaos without an edit here.

An axis is a name and its values, each a list of overrides. ``pairs`` makes few rows in which every
two values of different axes meet.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml

from lm_research.config.compose import compose
from lm_research.config.paths import shipped
from lm_research.config.schema import Trainer

Axes = Mapping[str, Sequence[Sequence[str]]]
Row = tuple[int, ...]
Pair = tuple[int, int, int, int]
"""Value i of axis a and value j of axis b, as (a, i, b, j)."""

TEXT = "\n\n".join(
    f"Paragraph {i} says that the quick brown fox with the number {i * i} has jumped over the "
    f"lazy dog, which was asleep in the shade of the {i}th tree." for i in range(100)
)
FILL = {  # what an option leaves for the user to say
    "data=files": ["data.paths=[{folder}/text.txt]", "data.document=paragraph"],
    "data=hugging_face": ["data.path=text", "data.data_files=[{folder}/text.txt]"],
    "data=mixture": ["data.weights={{dialogue_en: 1, quotations: 2}}"],
}
GROUPS = ("data", "text", "task", "vectorizer", "model", "optimizer", "scheduler", "averaging")
NOT_ON_A_CPU = ("16-mixed",)


def axes(folder: Path) -> dict[str, list[list[str]]]:
    """Every option of the groups that a run is made of, and every way of training.

    Args:
        folder: where the text file lies, for options that need one.
    """
    found = {group: _options(group, folder) for group in GROUPS}
    precisions = get_args(get_type_hints(Trainer)["precision"])
    found["precision"] = [[f"trainer.precision={p}"] for p in precisions if p not in NOT_ON_A_CPU]
    found["accumulate"] = [["trainer.accumulate=1"], ["trainer.accumulate=3"]]
    found["state"] = [["task.carry_state=true"], ["task.carry_state=false"]]
    found["noise"] = [["noise"], ["calm"]]
    return found


def _options(group: str, folder: Path) -> list[list[str]]:
    files = sorted((shipped("conf") / group).glob("*.yaml"))
    return [_filled(f"{group}={file.stem}", folder) for file in files]


def _filled(option: str, folder: Path) -> list[str]:
    return [option, *(text.format(folder=folder) for text in FILL.get(option, ()))]


def overrides(axes: Axes, row: Row) -> list[str]:
    """A row as overrides; "noise" stands for every kind of dropout that its model has."""
    plain = [text for values, at in zip(axes.values(), row, strict=True) for text in values[at]]
    chosen = [text for text in plain if text not in ("noise", "calm")]
    if "noise" in plain:
        chosen += _noise([text for text in chosen if text.startswith(("model=", "vectorizer="))])
    return chosen


def _noise(options: list[str]) -> list[str]:
    config = compose(options).config
    names = [(group, name) for group in ("model", "vectorizer") for name in config[group]]
    drop = [f"{g}.{n}=0.2" for g, n in names if n.endswith("dropout") or n == "zoneout"]
    return drop + [f"{g}.{n}=2" for g, n in names if n == "num_layers"]


def clashes(axes: Axes) -> set[Pair]:
    """Sources in a language that all rules of a text option would leave nothing of."""
    if not {"data", "text"} <= axes.keys():
        return set()
    data, text = list(axes).index("data"), list(axes).index("text")
    wanted = [{rule.get("language") for rule in _file(v)["cleaning"]} for v in axes["text"]]
    spoken = [_file(values)["language"] for values in axes["data"]]
    met = product(enumerate(spoken), enumerate(wanted))
    return {(data, i, text, j) for (i, one), (j, only) in met if only - {None, one}}


def _file(values: Sequence[str]) -> dict[str, Any]:
    group, _, option = values[0].partition("=")
    read: dict[str, Any] = yaml.safe_load(shipped(f"conf/{group}/{option}.yaml").read_text("utf-8"))
    return read


def pairs(axes: Axes, seed: int = 0, tries: int = 30) -> list[Row]:
    """Few rows in which every two values of two axes meet, unless they clash (greedy)."""
    rng = random.Random(seed)
    sizes, never = [len(values) for values in axes.values()], clashes(axes)
    left = {
        (a, i, b, j)
        for a, b in combinations(range(len(sizes)), 2)
        for i, j in product(range(sizes[a]), range(sizes[b]))
    } - never
    rows = []
    while left:
        a, i, b, j = min(left)
        drawn = [[rng.randrange(n) for n in sizes] for _ in range(tries)]
        fixed = [tuple({a: i, b: j}.get(k, at) for k, at in enumerate(row)) for row in drawn]
        row = max(fixed, key=lambda row: (not never & _met(row), len(left & _met(row))))
        rows += [] if never & _met(row) else [row]
        left -= _met(row) if row in rows else set()
    return rows


def _met(row: Row) -> set[Pair]:
    return {(a, row[a], b, row[b]) for a, b in combinations(range(len(row)), 2)}
