"""What a run about documents with targets (translation, summarization) has beside any other run."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from lm_research.config.build import build, locate
from lm_research.data.document_batches import batches_in
from lm_research.data.pair_batches import pair_batch
from lm_research.data.pair_module import PairDataModule
from lm_research.data.pairs import PairedSplit, Vocabulary
from lm_research.data.preparation import PreparedText, training_documents
from lm_research.data.splits import Split
from lm_research.metrics.extractive import Chooser, TfIdf, extract, first_words, lead, text_rank
from lm_research.metrics.written import (
    copying_scores,
    summary_scores,
    translation_scores,
    words_of,
)
from lm_research.tasks.decoding import Hypothesis
from lm_research.tasks.evaluation import Evaluation, evaluating
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.tasks.writing import evaluate_pairs, write_texts
from lm_research.text.tokenizer import Tokenizer
from lm_research.tracking.json_files import write_json, write_text
from lm_research.tracking.recorder import Recorder
from lm_research.vectorizers.vectorizer import Vectorizer

Config = dict[str, Any]
ATTENDED, LONGEST_ATTENDED = 5, 60
"""Validation documents whose attention is kept, and the tokens that they have at most."""
IDF_DOCUMENTS = 20_000
"""Training documents that the baselines count in, at most."""
HELD: tuple[tuple[str, Split], ...] = (("val", "validation"), ("test", "test"))


def pairs_of_task(config: Config) -> Vocabulary | None:
    """The vocabulary of a run whose task is about targets; None of any other."""
    task = config["task"]
    if not getattr(locate(task["_target_"]), "paired", False):
        return None
    vocabulary: Vocabulary = task["vocabulary"]
    return vocabulary


def pairs_module(config: Config, prepared: PreparedText) -> tuple[PairDataModule, int]:
    """The data of a run about pairs, and its steps."""
    budget, task, debug = config["budget"], config["task"], config.get("debug") or {}
    pairs = len(PairedSplit(prepared.store, "train"))
    steps = int(task["epochs"]) * batches_in(pairs, budget["batch_size"])
    steps = min(steps, debug.get("max_steps") or steps)
    data = PairDataModule(
        prepared,
        budget["batch_size"],
        steps,
        config["seed"],
        task["most_source"],
        task["most_target"],
        overfit=debug.get("overfit_batches", 0),
    )
    return data, steps


def build_pairs_model(
    config: Config,
    tokenizer: Tokenizer,
    target_tokenizer: Tokenizer | None,
    optimizer: Any,
    scheduler: Any,
    steps: int,
    fit: Callable[[Vectorizer, Tokenizer, Any], None] | None = None,
    fit_on: PreparedText | None = None,
) -> SequenceToSequence:
    """Encoder, decoder and attention around one or two vectorizers.

    Args:
        target_tokenizer: where the targets have a vocabulary of their own.
        steps: of the optimizer.
        fit: fits a vectorizer to documents (ids_N), with the tokenizer that has made them.
        fit_on: whose training split; None where a checkpoint is about to be loaded.
    """
    size = tokenizer.vocabulary_size
    make = partial(_vectorizer, config, fit, fit_on)
    vectorizer = make(tokenizer, "both" if target_tokenizer is None else "sources")
    targets = None if target_tokenizer is None else make(target_tokenizer, "targets")

    def make_model(input_size: int) -> Any:
        return build(config["model"], input_size=input_size, vocabulary_size=size)

    model: SequenceToSequence = build(
        config["task"],
        vectorizer=vectorizer,
        model=make_model(vectorizer.dim),
        make_model=make_model,
        optimizer=optimizer,
        scheduler=scheduler,
        steps=steps,
        target_vectorizer=targets,
        unknown_id=(target_tokenizer or tokenizer).unknown_id,
    )
    return model


def _vectorizer(
    config: Config,
    fit: Callable[[Vectorizer, Tokenizer, Any], None] | None,
    fit_on: PreparedText | None,
    tokenizer: Tokenizer,
    side: str,
) -> Vectorizer:
    size = tokenizer.vocabulary_size
    vectorizer: Vectorizer = build(config["vectorizer"], vocabulary_size=size)
    if fit is not None and fit_on is not None:
        fit(vectorizer, tokenizer, _Documents(fit_on, side))
    return vectorizer


class _Documents:
    """Training texts of one or both sides, to be read more than once."""

    def __init__(self, prepared: PreparedText, side: str) -> None:
        self.prepared, self.side = prepared, side

    def __iter__(self) -> Any:
        if self.side != "targets":
            yield from training_documents(self.prepared)
        if self.side != "sources":
            split = PairedSplit(self.prepared.store, "train")
            yield from (split.target(i) for i in range(min(len(split), 50_000)))


# --- scores


def score_pairs(
    model: SequenceToSequence, split: PairedSplit, tokenizer: Tokenizer
) -> tuple[Evaluation, list[str], list[list[Hypothesis]]]:
    """Scores of predicting the targets and of texts written by beam search; signatures; the texts.

    Args:
        model: in evaluation mode.
        tokenizer: of the targets.
    """
    result = evaluate_pairs(model, split)
    sources = [split.source(i) for i in range(len(split))]
    written = _shown_while_writing(model, sources, f"writing ({split.split.name})")
    texts = [text_of(found, tokenizer) for found in written]
    scores, signatures = scores_of(model.kind, texts, split.texts["targets"])
    result.scores.update(scores)
    result.scores.update(copying_scores(texts, split.texts["sources"]))
    return result, signatures, written


def _shown_while_writing(model: SequenceToSequence, sources: Any, what: str) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        shown = progress.add_task(what)
        return write_texts(
            model,
            sources,
            progress=lambda done, total: progress.update(shown, completed=done, total=total),
        )


def text_of(found: Sequence[Hypothesis], tokenizer: Tokenizer) -> str:
    """The best text that was found, as people read it."""
    return tokenizer.decode(found[0].ids).strip() if found else ""


def scores_of(
    kind: str, texts: Sequence[str], references: Sequence[str]
) -> tuple[dict[str, float], list[str]]:
    """BLEU and chrF of translations with their signatures; ROUGE of summaries."""
    if kind == "translation":
        return translation_scores(texts, references)
    return summary_scores(texts, references), []


def baseline_texts(
    model: SequenceToSequence, split: PairedSplit, data: PairDataModule
) -> dict[str, list[str]]:
    """What baselines write: the source itself for a translation, sentences of it for a summary."""
    sources = split.texts["sources"]
    if model.kind == "translation":
        return {"copy_source": sources}
    tokenizer, train = data.prepared.tokenizer, data.split("train")
    count = min(len(train.documents), IDF_DOCUMENTS)
    texts = (tokenizer.decode(train.document(i).tolist()) for i in range(count))
    ways: dict[str, Chooser] = {"lead": lead, "tfidf": TfIdf(texts), "textrank": text_rank}
    words = _target_words(data)
    return {"lead_words": [first_words(text, words) for text in sources]} | {
        name: [extract(text, model.sentences, way) for text in sources]
        for name, way in ways.items()
    }


def _target_words(data: PairDataModule) -> int:
    """Of a training target, on average."""
    targets = data.paired("train")
    places = range(min(len(targets), IDF_DOCUMENTS))
    texts = (data.target_tokenizer.decode(targets.target(i)) for i in places)
    return round(fmean(len(words_of(text)) for text in texts))


def pair_results(
    model: SequenceToSequence, data: PairDataModule, recorder: Recorder
) -> dict[str, Evaluation]:
    """Scores of the held-out splits and of the baselines on them.

    Writes predictions.jsonl, a row a document, and attention.json; see ``analysis.written``.
    """
    results: dict[str, Evaluation] = {}
    rows: list[dict[str, Any]] = []
    for group, name in HELD:
        split = data.paired(name)
        if not len(split):
            continue
        with evaluating(model):
            result, signatures, written = score_pairs(model, split, data.target_tokenizer)
        results[group] = result
        recorder.data({"signatures": signatures})
        for baseline, texts in baseline_texts(model, split, data).items():
            found = scores_of(model.kind, texts, split.texts["targets"])[0]
            recorder.summary({f"baseline/{baseline}/{group}_{k}": v for k, v in found.items()})
        rows += _rows(name, split, written, data.target_tokenizer)
        if name == "validation":
            attended = _attended(model, split, written, data)
            write_json(Path(recorder.folder.path) / "attention.json", {"texts": attended})
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(Path(recorder.folder.path) / "predictions.jsonl", lines)
    return results


def _attended(
    model: SequenceToSequence,
    split: PairedSplit,
    written: list[list[Hypothesis]],
    data: PairDataModule,
) -> list[dict[str, Any]]:
    """Tokens and attention weights of the first documents that are short enough to be drawn."""
    most = min(LONGEST_ATTENDED, model.most_source or LONGEST_ATTENDED)
    lengths_D = split.source_lengths_D
    short = [i for i, found in enumerate(written) if found and 0 < lengths_D[i] <= most]
    kept = []
    for place in [i for i in short if len(written[i][0].ids) < LONGEST_ATTENDED][:ATTENDED]:
        source, ids = split.source(place), np.array(written[place][0].ids, np.int64)
        with evaluating(model):
            weight_TS = model.read(pair_batch([source], [ids]))[1][0]
        kept.append(
            {
                "id": split.texts["ids"][place],
                "source": [data.prepared.tokenizer.decode([i]) for i in source.tolist()],
                "written": [*(data.target_tokenizer.decode([i]) for i in ids.tolist()), "(end)"],
                "weights": [[round(w, 3) for w in row] for row in weight_TS.tolist()],
            }
        )
    return kept


def _rows(
    name: Split, split: PairedSplit, written: list[list[Hypothesis]], tokenizer: Tokenizer
) -> list[dict[str, Any]]:
    held = split.texts
    columns = zip(held["ids"], held["sources"], held["targets"], written, strict=True)
    return [
        {
            "split": name,
            "id": identity,
            "source": source,
            "target": target,
            "predicted": text_of(found, tokenizer),
            "score": found[0].score if found else None,
        }
        for identity, source, target, found in columns
    ]
