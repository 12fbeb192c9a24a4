"""Vectors: what they cost beside scikit-learn, scipy and torch, and what they know.

    OMP_NUM_THREADS=1 python benchmarks/vectors.py [--pairs 7] [--no-quality] [--only word2vec]

Equality first for bags of words, TF-IDF, projections and counts: a figure is printed of nothing
that does not give the same. The solvers of GloVe and word2vec update in different orders and give
different vectors: their speeds stand side by side, and tests/vectorizers holds each to its formula.
Both sides take turns, the order changing from pair to pair; CPU time of one thread is counted, and
the ratio is the median of the pairs'.
LM_RESEARCH_DOWNLOADS=FOLDER (with wikitext-2/train.txt.gz, nltk/brown.zip,
war-and-peace/warandpeace.txt.xz and glove/*.xz, each optional only together) takes that text;
without it, what pip brings. --only measures one part anew, and leaves the others' results.
"""

import argparse
import datetime
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from vector_suite import word2vec
from vector_suite.corpora import encoded, texts
from vector_suite.quality import answers, ppmi_svd

from lm_research.tracking.environment import environment
from lm_research.vectorizers.bag_of_words import BagOfWords
from lm_research.vectorizers.cooccurrence import cooccurrences
from lm_research.vectorizers.glove_blocks import train_blocks
from lm_research.vectorizers.glove_torch import train_torch
from lm_research.vectorizers.glove_training import train
from lm_research.vectorizers.tfidf import TfIdf
from lm_research.vectorizers.word_vectors import read_word_vectors

GLOVE = {"x_max": 10.0, "alpha": 0.75, "seed": 1}


def taking_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int, amount: float, unit: str
) -> dict[str, Any]:
    """Amounts a CPU second of each, and how many times as fast ours is."""
    seconds: dict[Any, list[float]] = {ours: [], theirs: []}
    for pair in range(pairs):
        for one in (ours, theirs) if pair % 2 else (theirs, ours):
            started = time.process_time()
            one()
            seconds[one].append(time.process_time() - started)
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    speeds = [float(f"{amount / statistics.median(s):.4g}") for s in seconds.values()]
    low, high = min(ratios), max(ratios)
    return {
        f"ours_{unit}_per_s": speeds[0],
        f"theirs_{unit}_per_s": speeds[1],
        "times_as_fast": round(statistics.median(ratios), 2),
        "range": [round(low, 2), round(high, 2)],
        "pairs": pairs,
    }


def documents_against_sklearn(words: int, ids: list[np.ndarray], pairs: int) -> dict[str, Any]:
    """From tokens on: theirs are strings, which scikit-learn looks up; ours are ids already."""
    documents = [torch.from_numpy(d.astype(np.int64) + 1) for d in ids]
    lists = [list(map(str, d.tolist())) for d in documents]
    same = {"analyzer": lambda d: d, "vocabulary": {str(i): i for i in range(words + 1)}}
    counted, weighed = CountVectorizer(**same), TfidfVectorizer(**same).fit(lists)
    bag, tfidf = (
        BagOfWords(words + 1, projection=None),
        TfIdf(words + 1, block=None, projection=None),
    )
    tfidf.fit(d.numpy() for d in documents)
    tfidf.idf[0] = float(weighed.idf_[0])  # the separator's, which no document holds
    found = {}
    for name, ours, theirs in (("bag_of_words", bag, counted), ("tfidf", tfidf, weighed)):
        mine, other = ours.documents(documents), theirs.transform(lists).tocsr()
        other.sort_indices()
        assert np.array_equal(mine.col_indices().numpy(), other.indices), f"{name}: other cells"
        np.testing.assert_allclose(mine.values().numpy(), other.data, rtol=1e-4)
        sides = partial(ours.documents, documents), partial(theirs.transform, lists)
        found[name] = taking_turns(*sides, pairs, len(documents), "documents")
    return found


def projected_against_dense(words: int, ids: list[np.ndarray], pairs: int) -> dict[str, Any]:
    """x W of 64 documents and its gradient: rows gathered and summed, or V columns multiplied."""
    documents = [torch.from_numpy(d[:2000].astype(np.int64)) for d in ids[:64]]
    bag = BagOfWords(words, projection=64)
    weight = bag.projection.detach().clone().requires_grad_()

    def sparse() -> torch.Tensor:
        x_BP = bag.documents(documents)
        x_BP.sum().backward()
        return x_BP.detach()

    def dense() -> torch.Tensor:
        wide_BV = torch.stack([torch.bincount(d, minlength=words) for d in documents]).float()
        x_BP = wide_BV @ weight
        x_BP.sum().backward()
        return x_BP.detach()

    torch.testing.assert_close(sparse(), dense(), rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(bag.projection.grad, weight.grad, rtol=1e-4, atol=1e-2)
    return taking_turns(sparse, dense, pairs, len(documents), "documents")


def counting(words: int, ids: list[np.ndarray], pairs: int) -> dict[str, Any]:
    """A million tokens of one document."""
    ids, found = [np.concatenate(ids)[:1_000_000]], {}
    tokens = len(ids[0])
    for window in (5, 10):
        ours = partial(cooccurrences, ids, words, window, compiled=True)
        theirs = partial(cooccurrences, ids, words, window, compiled=False)
        one, other = ours(), theirs()
        for part in ("indptr", "indices", "data"):
            assert np.array_equal(getattr(one, part), getattr(other, part)), "counts differ"
        found[f"window_{window}"] = taking_turns(ours, theirs, pairs, tokens, "tokens")
    return found


def adagrad(ids: list[np.ndarray], words: int, pairs: int) -> dict[str, Any]:
    """D = 100, an epoch of 200,000 tokens' pairs; setting up is part of it. Batches are another
    order."""
    counts = cooccurrences([np.concatenate(ids)[:200_000]], words, 10)
    settings = {**GLOVE, "epochs": 1}
    ours = partial(train_blocks, counts, 100, learning_rate=0.05, threads=1, **settings)
    in_batches = {**settings, "learning_rate": 0.1, "batch_size": 16384}
    others = {
        "torch": partial(train_torch, counts, 100, device="cpu", **in_batches),
        "numpy_and_scipy": partial(train, counts, 100, **in_batches),
    }
    ours()
    return {
        f"against_{n}": taking_turns(ours, o, pairs, counts.nnz, "cells") for n, o in others.items()
    }


def quality(words: list[str], ids: list[np.ndarray]) -> dict[str, Any]:
    """GloVe by its two ways, PPMI with SVD, random vectors, and the reference's where it is at
    hand."""
    id_of = {word: id for id, word in enumerate(words)}
    counts = cooccurrences(ids, len(words), 10)
    settings = {**GLOVE, "epochs": 15}
    made = {
        "random": lambda: np.random.default_rng(0).normal(size=(len(words), 50)),
        "glove_blocks_50": lambda: train_blocks(
            counts, 50, learning_rate=0.05, threads=1, **settings
        )[0],
        "glove_batches_50": lambda: train(
            counts, 50, learning_rate=0.1, batch_size=16384, **settings
        )[0],
        "ppmi_svd_50": lambda: ppmi_svd(counts, 50),
    }
    found: dict[str, Any] = {"cells": int(counts.nnz), "window": 10, **settings}
    for name, make in made.items():
        started = time.process_time()
        vectors = make()
        found[name] = {"cpu_s": round(time.process_time() - started, 1), **answers(id_of, vectors)}
        print(name, found[name], flush=True)
    folder = os.environ.get("LM_RESEARCH_DOWNLOADS")
    for path in sorted(Path(folder).glob("glove/*.50d.*.xz")) if folder else []:
        vectors = read_word_vectors(str(path), id_of, 50).vectors
        known = {word: id for id, word in enumerate(vectors)}
        found["reference_glove_6b_50"] = answers(known, np.stack(list(vectors.values())))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--no-quality", action="store_true")
    parser.add_argument("--only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name, documents = texts()
    words, ids = encoded(documents)
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["OMP_NUM_THREADS=1 python benchmarks/vectors.py", *sys.argv[1:]]),
        "machine": f"{environment()['cpu']['model']}, torch {torch.__version__}, one thread",
        "load_average": round(os.getloadavg()[0], 1),
        "corpus": name,
        "documents": len(ids),
        "tokens": sum(map(len, ids)),
        "vocabulary": len(words),
    }
    parts = {
        "documents_against_scikit_learn": partial(documents_against_sklearn, len(words), ids),
        "projection_against_dense": partial(projected_against_dense, len(words), ids),
        "counting_against_scipy": partial(counting, len(words), ids),
        "adagrad": partial(adagrad, ids, len(words)),
        "word2vec": partial(word2vec.speed, ids, len(words), taking_turns),
    }
    if not options.no_quality:
        parts["quality"] = lambda pairs: quality(words, ids)
        parts["word2vec_quality"] = lambda pairs: word2vec.quality(words, ids)
    if options.only and options.only not in parts:
        parser.error(f"--only {options.only}: allowed are {', '.join(parts)}")
    path = Path(__file__).parent / "results/vectors.json"
    for part, measure in parts.items():
        if options.only in (None, part):
            result[part] = measure(options.pairs)
            print(part, json.dumps(result[part]), flush=True)
    if options.only:
        when = {key: result[key] for key in ("date", "command", "machine", "load_average")}
        before = json.loads(path.read_text(encoding="utf-8"))
        result = {**before, options.only: {**when, **result[options.only]}}
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
