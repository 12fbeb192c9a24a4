"""A classification step with sparse steps on its tables, beside the dense optimizers.

256 documents of 100 to 400 words, drawn by Zipf's law from 30,000, 128 columns, one linear layer.
First every sparse optimizer has to leave the dense one's weights. Prints medians in ms. Tables of
2 million buckets take 3 GB with Adam's moments.

    python benchmarks/sparse_steps.py sparse_adam adam --vectorizer ngrams --buckets 2000000
"""

import argparse
import copy
import time
from functools import partial
from typing import Any

import numpy as np
import torch

from lm_research.data.document_batches import DocumentBatch
from lm_research.models.bag import Bag
from lm_research.tasks.classification import Classification
from lm_research.tasks.sparse_adam import SparseAdam, SparseAdamW
from lm_research.tasks.sparse_optimizers import SparseAdagrad, SparseSGD
from lm_research.vectorizers.bag_of_words import BagOfWords
from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.ngrams import NGrams
from lm_research.vectorizers.vectorizer import Vectorizer

WORDS, WIDTH, DOCUMENTS = 30_000, 128, 256
OPTIMIZERS: dict[str, Any] = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "adagrad": partial(torch.optim.Adagrad, lr=0.1),
    "adam": partial(torch.optim.Adam, lr=0.001),
    "adamw": partial(torch.optim.AdamW, lr=0.001, weight_decay=0.1),
    "sparse_sgd": partial(SparseSGD, lr=0.1),
    "sparse_adagrad": partial(SparseAdagrad, lr=0.1),
    "sparse_adam": partial(SparseAdam, lr=0.001),
    "sparse_adamw": partial(SparseAdamW, lr=0.001, weight_decay=0.1),
    "lazy": partial(SparseAdam, lr=0.001, untouched="lazy"),
}
EQUAL = {
    "sparse_sgd": ("sgd", 5),
    "sparse_adagrad": ("adagrad", 5),
    "sparse_adam": ("adam", 5),
    "sparse_adamw": ("adamw", 5),
    "lazy": ("adam", 1),
}
"""Sparse optimizer -> the dense one with the same weights, and after how many steps still."""
NEAR = 1e-5
"""Of the weights' norm."""


def batch(rng: np.random.Generator) -> DocumentBatch:
    weights = 1.0 / np.arange(1, WORDS)
    lengths = rng.integers(100, 400, DOCUMENTS)
    ids_BT = torch.full((DOCUMENTS, 400), -1)
    for row, length in zip(ids_BT, lengths, strict=True):
        drawn = rng.choice(np.arange(1, WORDS), length, p=weights / weights.sum())
        row[:length] = torch.from_numpy(drawn)
    labels_B = torch.from_numpy(rng.integers(0, 4, DOCUMENTS))
    return DocumentBatch(ids_BT, torch.from_numpy(lengths), labels_B)


def vectorizer(name: str, buckets: int) -> Vectorizer:
    if name == "ngrams":
        return NGrams(WORDS, WIDTH, n=2, buckets=buckets)
    return Embedding(WORDS, WIDTH) if name == "embedding" else BagOfWords(WORDS, projection=WIDTH)


def task_of(name: str, made: Vectorizer) -> Classification:
    make = partial(OPTIMIZERS[name], fused=True)
    return Classification(made, Bag(WIDTH), make, lambda step: 1.0, classes=list("abcd"))


def check(name: str, made: Vectorizer) -> None:
    """Raises AssertionError where weights differ from the dense optimizer's."""
    dense, steps = EQUAL.get(name, (name, 0))
    given = [batch(np.random.default_rng(step)) for step in range(steps)]
    found = []
    for kind in (name, dense):
        task = task_of(kind, copy.deepcopy(made))
        torch.nn.init.constant_(task.head.weight, 0.1)
        torch.nn.init.normal_(task.head.bias, generator=torch.Generator().manual_seed(0))
        optimizer = task.configure_optimizers()["optimizer"]
        for step, each in enumerate(given):
            optimizer.zero_grad()
            task.training_step(each, step).backward()
            optimizer.step()
        optimizer.state_dict()  # brings all rows up to date
        found.append(torch.cat([p.detach().flatten() for p in task.parameters()]))
    apart = ((found[0] - found[1]).norm() / found[1].norm()).item()
    assert apart <= NEAR, f"{name}: weights are {apart:.1e} of the norm from those of {dense}"


def measure(name: str, made: Vectorizer, steps: int) -> str:
    rng = np.random.default_rng(0)
    task = task_of(name, made)
    optimizer = task.configure_optimizers()["optimizer"]
    given, seconds = [batch(rng) for _ in range(min(steps, 60))], []
    for step in range(steps):
        times = [time.perf_counter()]
        loss = task.training_step(given[step % len(given)], step)
        optimizer.zero_grad()
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        optimizer.step()
        times.append(time.perf_counter())
        seconds.append([*np.diff(times), times[-1] - times[0]])
    forward, backward, update, total = np.median(seconds[steps // 4 :], axis=0) * 1e3
    started = time.perf_counter()
    optimizer.state_dict()
    flush = (time.perf_counter() - started) * 1e3
    parts = f"forward {forward:.1f}, backward {backward:.1f}, update {update:.1f}"
    return f"{name:15} {total:7.1f} ms ({parts}); catching up in the end {flush:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("optimizers", nargs="+", choices=OPTIMIZERS)
    parser.add_argument("--vectorizer", default="ngrams", choices=("ngrams", "embedding", "bag"))
    parser.add_argument("--buckets", type=int, default=2_000_000)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    for name in options.optimizers:
        check(name, vectorizer(options.vectorizer, 5000))
        torch.manual_seed(0)
        print(measure(name, vectorizer(options.vectorizer, options.buckets), options.steps))


if __name__ == "__main__":
    main()
