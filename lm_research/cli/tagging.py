"""What a run about tags of words (task=tagging) has beside any other run."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lm_research.config.build import build, locate
from lm_research.data.document_batches import batches_in
from lm_research.data.labels import classes_of
from lm_research.data.preparation import PreparedText
from lm_research.data.splits import Split
from lm_research.data.tagged_batches import TaggedDataModule
from lm_research.data.tagged_words import TaggedSplit
from lm_research.metrics.classification import confusion, per_class
from lm_research.metrics.tagging import MostFrequentTag, tag_scores
from lm_research.tasks.evaluation import Evaluation, evaluating
from lm_research.tasks.finding_tags import TaggerEvaluation, evaluate_tagger, tag
from lm_research.tasks.tagging import Tagging
from lm_research.text.cleaning import Cleaner, Comparing
from lm_research.text.tagged_words import Cut, EncodedWords, aligned, encoded, sentences, words_of
from lm_research.text.tokenizer import Tokenizer
from lm_research.text.unicode import valid_unicode
from lm_research.tracking.json_files import read_json, write_json, write_text
from lm_research.tracking.recorder import Recorder

Config = dict[str, Any]
HELD: tuple[tuple[str, Split], ...] = (("val", "validation"), ("test", "test"))
BASELINE = "most_frequent.json"
"""File in a run's folder: each training word's most frequent tag."""


def is_tagged(config: Config) -> bool:
    """Whether the run's task is about tags of words."""
    return bool(getattr(locate(config["task"]["_target_"]), "tagged", False))


def tagging_module(config: Config, prepared: PreparedText) -> tuple[TaggedDataModule, int]:
    """The data of a run about tags, and its steps."""
    budget, debug = config["budget"], config.get("debug") or {}
    sentences = len(TaggedSplit(prepared.store, "train", classes_of(prepared.store)))
    steps = int(config["task"]["epochs"]) * batches_in(sentences, budget["batch_size"])
    steps = min(steps, debug.get("max_steps") or steps)
    overfit = debug.get("overfit_batches", 0)
    return TaggedDataModule(prepared, budget["batch_size"], steps, config["seed"], overfit), steps


def tagging_results(
    model: Tagging, data: TaggedDataModule, recorder: Recorder
) -> dict[str, Evaluation]:
    """Scores of the held-out splits, and of the most frequent tag on them.

    Leaves predictions.jsonl, a row a sentence; classes.json: which tag is taken for which; and
    most_frequent.json, the baseline.
    """
    folder = Path(recorder.folder.path)
    baseline = MostFrequentTag.of(data.tagged("train"))
    results: dict[str, Evaluation] = {}
    tables: dict[str, Any] = {"classes": data.classes, "unit": "words"}
    lines: list[str] = []
    for group, name in HELD:
        split = data.tagged(name)
        if not len(split):
            continue
        with evaluating(model):
            result = results[group] = evaluate_tagger(model, split, data.known)
        recorder.summary(baseline_scores(baseline, split, f"baseline/most_frequent/{group}_"))
        tables[name] = _table(split, result)
        lines += [json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(split, result)]
    write_text(folder / "predictions.jsonl", "".join(lines))
    write_json(folder / "classes.json", tables)
    write_json(folder / BASELINE, {"default": baseline.default, "words": baseline.words})
    return results


def baseline_scores(
    baseline: MostFrequentTag, split: TaggedSplit, prefix: str
) -> dict[str, float | None]:
    """What the most frequent tag of each word scores on a split."""
    found = tag_scores(split, baseline.predict(split), baseline.words)
    names = ("accuracy", "f1_macro", "accuracy_unseen", "f1_span")
    return {prefix + name: found[name] for name in names if name in found}


def _table(split: TaggedSplit, result: TaggerEvaluation) -> dict[str, Any]:
    cells = confusion(split.tags_W, result.predicted_W, len(split.classes))
    of_class = {name: values_C.tolist() for name, values_C in per_class(cells).items()}
    return {"confusion": cells.tolist(), **of_class}


def _rows(split: TaggedSplit, result: TaggerEvaluation) -> Iterator[dict[str, Any]]:
    for index, name in enumerate(split.ids()):
        start = int(split.starts_D[index])
        predicted = result.predicted_W[start : start + int(split.counts_D[index])].tolist()
        yield {
            "split": split.split.name,
            "id": name,
            "words": split.forms(index),
            "tags": split.own_tags(index),
            "predicted": [split.classes[place] for place in predicted],
        }


def score_tags(model: Tagging, split: TaggedSplit, run: str) -> dict[str, Any]:
    """Scores of a finished run's tagger, and of its baseline where the folder has it."""
    file = Path(run).expanduser() / BASELINE
    saved = read_json(file) if file.exists() else None
    baseline = None if saved is None else MostFrequentTag(saved["words"], saved["default"])
    known = None if baseline is None else baseline.words
    found: dict[str, Any] = evaluate_tagger(model, split, known).scores
    if baseline is not None:
        found |= baseline_scores(baseline, split, "baseline/most_frequent/")
    return found


# --- texts that nobody has cut


class Words:
    """Texts as words and, by sentences of bounded length, as ids.

    Args:
        saved: the run.
        cut: see :func:`words_of`.
    """

    def __init__(self, saved: Any, cut: Cut) -> None:
        rules = build(saved.config["text"]["cleaning"])
        self.cleaner = Cleaner(rule for rule in rules if not isinstance(rule, Comparing))
        self.tokenizer: Tokenizer = saved.tokenizer
        self.language, self.cut = str(saved.config["data"]["language"]), cut

    def __call__(self, text: str) -> list[tuple[list[str], EncodedWords]]:
        """Words and ids of each sentence of a text; a word that has no token is left out."""
        text = valid_unicode(self.cleaner.clean(text, "input") or text)
        pieces = aligned(text, words_of(text, self.language, self.cut)) or []
        found = []
        for group in sentences(pieces):
            held = [piece for piece in group if len(self.tokenizer.encode(piece).ids_N)]
            ids = encoded(self.tokenizer, held) if held else None
            if ids is not None:
                found.append(([piece.lstrip() for piece in held], ids))
        return found


def tags_of(
    model: Tagging,
) -> Callable[[Sequence[Any], Sequence[int]], Iterator[dict[str, Any]]]:
    """From what :class:`Words` makes of texts to their words with a tag each."""

    def say(texts: Sequence[Any], numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        found = iter(tag(model, [ids for text in texts for _, ids in text]))
        for text in texts:
            words = [word for forms, _ in text for word in forms]
            yield {"words": words, "tags": [one for _ in text for one in next(found)]}

    return say
