"""Small runs over everything in conf/: a new option is in the next chaos without an edit here.

An axis is a name and its values, each a list of overrides. ``pairs`` makes few rows in which every
two values of different axes meet.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, cycle, product
from typing import Any, get_args, get_type_hints

import yaml

from lm_research.config.build import locate
from lm_research.config.paths import shipped
from lm_research.config.schema import Trainer
from lm_research.config.task_rules import OF_DOCUMENTS
from lm_research.models.sequence_model import CountModel

Axes = Mapping[str, Sequence[Sequence[str]]]
Row = tuple[int, ...]
Pair = tuple[int, int, int, int]
"""Value i of axis a and value j of axis b, as (a, i, b, j)."""

# Words, not numbers, tell the paragraphs apart: a text option may mask numbers.
COLOURS = ("brown", "red", "grey", "white", "black", "golden", "silver", "amber", "dun", "blue")
TREES = ("oak", "elm", "ash", "birch", "cedar", "maple", "willow", "poplar", "pine", "larch")
TEXT = "\n\n".join(
    f"They say that the quick {colour} fox has jumped over the lazy dog, which was asleep in the "
    f"shade of the old {tree} at the end of the garden and did not see it."
    for colour, tree in product(COLOURS, TREES)
)
FILE = "text.txt"
FILL = {  # what an option leaves for the user to say
    "data=files": [f"data.paths=[{FILE}]", "data.document=paragraph"],
    "data=hugging_face": ["data.path=text", f"data.data_files=[{FILE}]"],
    "data=mixture": ["data.weights={dialogue_en: 1, quotations: 2}"],
}
GROUPS = ("data", "text", "task", "vectorizer", "model", "optimizer", "scheduler", "averaging")
GROUPS += ("output_layer",)
CORPORA = ("data", "text")
QUALITY = {"c4": "bbc_news", "fineweb": "bbc_news", "gopher": "bbc_news", "chinese_web": "news_zh"}
"""Text options that drop short texts, and a source of articles that they leave something of."""
NOT_ON_A_CPU = ("16-mixed",)
TAGGED_FILE = "train.conllu"
TAGGED = "".join(
    f"1\tThe\t_\tDET\t_\n2\t{colour}\t_\tADJ\t_\n3\t{tree}\t_\tNOUN\t_\n4\tfell\t_\tVERB\t_\n\n"
    for colour, tree in product(COLOURS, TREES)
)
"""Sentences whose words have tags, in CoNLL-U."""
LABELLED = ("tweets", "bbc_news", "reviews_zh")


def axes() -> dict[str, list[list[str]]]:
    """Every option of the groups that a run is made of, and every way of training.

    Runs start where a file :data:`FILE` holds :data:`TEXT`.
    """
    found = {group: _options(group) for group in GROUPS}
    found["task"] = [["task=language_modeling"]]  # for the other see `classifiers`
    found["model"] = [v for v in found["model"] if _file(v)["_target_"] not in OF_DOCUMENTS]
    return found | _training() | {"state": _either("task.carry_state", "true", "false")}


def classifiers() -> dict[str, list[list[str]]]:
    """The same of the classes of documents, on sources that have some."""
    names = ("vectorizer", "model", "optimizer", "scheduler", "averaging")
    found = {group: _options(group) for group in names}
    found["model"] = [v for v in found["model"] if not issubclass(_class(v), CountModel)]
    found["data"] = _either("data", *LABELLED)
    found["text"] = [["text=word", "budget.train_bytes=30000", "budget.eval_bytes=3000"]]
    found["task"] = [["task=classification", "task.epochs=2", "task.max_tokens=64"]]
    found["pooling"] = _either("task.pooling", "last", "mean", "max", "attention")
    found["weights"] = _either("task.class_weights", "null", "balanced")
    return found | _training()


def taggers() -> dict[str, list[list[str]]]:
    """The same of tags of words. Runs start where :data:`TAGGED_FILE` holds :data:`TAGGED`."""
    names = ("vectorizer", "optimizer", "scheduler", "averaging")
    found = {group: _options(group) for group in names}
    found["model"] = axes()["model"]
    found["model"] = [v for v in found["model"] if not issubclass(_class(v), CountModel)]
    file = "{_target_: lm_research.data.downloads.RemoteFile, name: %s, sha256: null, urls: []}"
    data = ["data=ud_english_ewt", "data.downloads=.", "data.document=sentence"]
    found["data"] = [[*data, f"data.files=[{file % TAGGED_FILE}]"]]
    found["text"] = _either("text", "byte", "character", "word", "bpe")
    found["task"] = [["task=tagging", "task.epochs=2", "budget.eval_bytes=3000"]]
    found["directions"] = _either("task.bidirectional", "true", "false")
    return found | _training()


def writers() -> dict[str, list[list[str]]]:
    """The same of translation and summarization, on sources that pip brings."""
    names = ("vectorizer", "optimizer", "scheduler", "averaging")
    found = {group: _options(group) for group in names}
    found["model"] = [v for v in axes()["model"] if not issubclass(_class(v), CountModel)]
    short = ["task.most_source=24", "task.most_target=8", "task.beam=2"]
    titles = ["task=summarization", "data=bbc_headlines", "budget.train_bytes=60000", *short]
    found["task"] = [["task=translation", "data=interface_en", *short], titles]
    found["text"] = _either("text", "byte", "character", "word", "bpe")
    found["attention"] = _either("task.attention", "multiplicative", "additive")
    found["copy"] = _either("task.copy", "true", "false")
    found["sampling"] = _either("task.scheduled_sampling", "0.0", "0.5")
    return found | _training()


def _training() -> dict[str, list[list[str]]]:
    precisions = get_args(get_type_hints(Trainer)["precision"])
    return {
        "precision": _either(
            "trainer.precision", *(p for p in precisions if p not in NOT_ON_A_CPU)
        ),
        "accumulate": _either("trainer.accumulate", "1", "3"),
        "noise": [["noise"], ["calm"]],
    }


def _either(key: str, *values: str) -> list[list[str]]:
    return [[f"{key}={value}"] for value in values]


def _options(group: str) -> list[list[str]]:
    files = sorted((shipped("conf") / group).glob("*.yaml"))
    options = {f"{group}={file.stem}": file.read_text() for file in files}
    at_hand = [
        option
        for option, text in options.items()
        if "${downloads}" not in text and (": ???" not in text or option in FILL)
    ]
    return [[option, *FILL.get(option, ())] for option in at_hand]


def overrides(axes: Axes, row: Row) -> list[str]:
    """A row as overrides; "noise" stands for every kind of dropout that its model has."""
    plain = [text for values, at in zip(axes.values(), row, strict=True) for text in values[at]]
    chosen = [text for text in plain if text not in ("noise", "calm")]
    if "noise" in plain:
        chosen += _noise([text for text in chosen if text.startswith(("model=", "vectorizer="))])
    return chosen


def _noise(options: list[str]) -> list[str]:
    fields = [f"{text.partition('=')[0]}.{name}" for text in options for name in _file([text])]
    drop = [
        f"{name}=0.2" for name in fields if name.endswith(("dropout", ".weight_drop", ".zoneout"))
    ]
    return drop + [f"{name}=2" for name in fields if name.endswith(".num_layers")]


def covering(axes: Axes) -> list[list[str]]:
    """Overrides in which every two ways of training meet, with the corpora dealt out to them."""
    rows = every_two({name: values for name, values in axes.items() if name not in CORPORA})
    return [[*row, *corpus] for row, corpus in zip(rows, cycle(corpora(axes)), strict=False)]


def every_two(axes: Axes) -> list[list[str]]:
    """Overrides in which every two options meet."""
    return [overrides(axes, row) for row in pairs(axes)]


def once(axes: Axes) -> list[list[str]]:
    """Fewer overrides: every option occurs."""
    ways = {name: values for name, values in axes.items() if name not in CORPORA}
    dealt_corpora = corpora(axes)
    dealt = dealt_out(ways, max(len(dealt_corpora), *map(len, axes.values())))
    return [[*row, *corpus] for row, corpus in zip(dealt, cycle(dealt_corpora), strict=False)]


def dealt_out(axes: Axes, rows: int | None = None) -> list[list[str]]:
    """As few rows in which every option occurs, or ``rows``."""
    count = rows or max(map(len, axes.values()))
    columns = [_in_turns(name, len(values), count) for name, values in axes.items()]
    return [overrides(axes, row) for row in zip(*columns, strict=True)]


def _in_turns(name: str, values: int, count: int) -> list[int]:
    """Each value once a turn, in an order of the axis's own: axes of two values go not together."""
    rng = random.Random(f"{name} {count}")
    turns = [rng.sample(range(values), values) for _ in range(0, count, values)]
    return [value for turn in turns for value in turn][:count]


def corpora(axes: Axes) -> list[list[str]]:
    """Every source with a text option that leaves something of it, and every such option."""
    both = {name: axes[name] for name in CORPORA}
    clash = {(i, j) for _, i, _, j in clashes(both)}
    sources, texts = (range(len(values)) for values in both.values())
    used: Counter[int] = Counter()
    dealt = []
    for i in sources:
        sound = [j for j in texts if (i, j) not in clash]
        dealt.append((i, min(sound, key=lambda j: (used[j], j))))
        used[dealt[-1][1]] += 1
    dealt += [(next(i for i in sources if (i, j) not in clash), j) for j in texts if not used[j]]
    return [overrides(both, row) for row in dealt]


def clashes(axes: Axes) -> set[Pair]:
    """Sources of which the rules of a text option would leave nothing: short, or of a language."""
    if not {"data", "text"} <= axes.keys():
        return set()
    data, text = list(axes).index("data"), list(axes).index("text")
    wanted = [{rule.get("language") for rule in _file(v)["cleaning"]} for v in axes["text"]]
    spoken = [_file(values)["language"] for values in axes["data"]]
    met = product(enumerate(spoken), enumerate(wanted))
    foreign = {(data, i, text, j) for (i, one), (j, only) in met if only - {None, one}}
    named = [[values[0].partition("=")[2] for values in axes[name]] for name in CORPORA]
    pairs_of_names = product(enumerate(named[0]), enumerate(named[1]))
    short = {
        (data, i, text, j)
        for (i, source), (j, option) in pairs_of_names
        if QUALITY.get(option, source) != source
    }
    return foreign | short


def _file(values: Sequence[str]) -> dict[str, Any]:
    group, _, option = values[0].partition("=")
    read: dict[str, Any] = yaml.safe_load(shipped(f"conf/{group}/{option}.yaml").read_text("utf-8"))
    return read


def _class(values: Sequence[str]) -> type:
    found: type = locate(_file(values)["_target_"])
    return found


def pairs(axes: Axes, seed: int = 0, tries: int = 30) -> list[Row]:
    """Few rows in which every two values of two axes meet, unless they clash (greedy)."""
    rng = random.Random(seed)
    sizes, never = [len(values) for values in axes.values()], clashes(axes)
    met = _Met(axes)
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
        sound = [row for row in fixed if not never & _pairs_of(row)]
        row = max(sound, key=lambda row: len(left & met(row)), default=None)
        if row is not None:
            rows += [row] if left & met(row) else []
            left -= met(row)
    return rows


class _Met:
    """The pairs of a row. Of a counted model nothing meets but what meets the model itself."""

    def __init__(self, axes: Axes) -> None:
        self.model = list(axes).index("model") if "model" in axes else None
        models = [_class(values) for values in axes.get("model", ())]
        self.counted = {i for i, cls in enumerate(models) if issubclass(cls, CountModel)}

    def __call__(self, row: Row) -> set[Pair]:
        met = _pairs_of(row)
        if self.model is None or row[self.model] not in self.counted:
            return met
        return {pair for pair in met if self.model in (pair[0], pair[2])}


def _pairs_of(row: Row) -> set[Pair]:
    return {(a, row[a], b, row[b]) for a, b in combinations(range(len(row)), 2)}
