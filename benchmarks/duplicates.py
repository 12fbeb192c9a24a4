"""How many planted copies do the rules on duplicates find, and what do they take for one?

    python benchmarks/duplicates.py [data=bbc_news] [documents=1000]

Half of the documents of a source get a copy in which a share of the words (Han characters) is
replaced by others of the corpus, deleted or doubled, a third each. Recall: copies dropped.
Precision: of the documents dropped, the share that is a planted copy; texts that the source itself
repeats, by the exact Jaccard similarity of 5-word shingles (0.5 and more), are taken out first.
Memory: what a process of its own grows by with 20,000 documents of 100 random words.
"""

import multiprocessing
import random
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import yaml

from lm_research.config.build import build
from lm_research.config.paths import shipped
from lm_research.text.cleaning import Comparing
from lm_research.text.duplicates import ExactDuplicates, NearDuplicates, NgramOverlap, shingles
from lm_research.text.word_pieces import segment_words

RATES = (0.0, 0.01, 0.05, 0.1, 0.2)
RULES: dict[str, Callable[[], Comparing]] = {
    "exact_duplicates": ExactDuplicates,
    "near_duplicates, 14 x 8, 5 words (FineWeb)": lambda: NearDuplicates(None, 5, 14, 8),
    "near_duplicates, 10 x 10, 13 words (Gopher)": lambda: NearDuplicates(None, 13, 10, 10),
    "near_duplicates, 20 x 5, 3 words (default)": NearDuplicates,
    "near_duplicates, 32 x 4, 2 words": lambda: NearDuplicates(None, 2, 32, 4),
    "ngram_overlap, 13 words, more than half": NgramOverlap,
    "ngram_overlap, 5 words, more than 0.3": lambda: NgramOverlap(None, 5, 0.3),
}


def distinct(texts: list[str]) -> list[str]:
    """Texts without those that share half of their shingles with one before."""
    kept: list[tuple[str, set[str]]] = []
    where: dict[str, list[int]] = {}
    for text in texts:
        own = set(shingles(text, 5))
        near = {i for shingle in own for i in where.get(shingle, ())}
        if any(len(own & kept[i][1]) >= 0.5 * len(own | kept[i][1]) for i in near):
            continue
        for shingle in own:
            where.setdefault(shingle, []).append(len(kept))
        kept.append((text, own))
    return [text for text, _ in kept]


def edited(text: str, rate: float, words: list[str], rng: random.Random) -> str:
    """A copy with this share of its words changed."""
    pieces = segment_words(text)
    places = [i for i, piece in enumerate(pieces) if piece.strip()[:1].isalnum()]
    for i in rng.sample(places, round(rate * len(places))):
        space = pieces[i][: len(pieces[i]) - len(pieces[i].lstrip())]
        pieces[i] = rng.choice([space + rng.choice(words), "", pieces[i] * 2])
    return "".join(pieces)


def resident() -> int:
    """Bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(make: Callable[[], Comparing], texts: list[str], rate: float) -> tuple[float, ...]:
    """Recall, precision and CPU seconds."""
    rng = random.Random(1)
    words = [piece.strip() for text in texts[:50] for piece in segment_words(text)]
    words = [word for word in words if word[:1].isalnum()]
    copies = [edited(text, rate, words, rng) for text in texts[::2]]
    stream = [(text, False) for text in texts] + [(copy, True) for copy in copies]
    rng.shuffle(stream)
    rule, start = make(), time.process_time()
    dropped = [planted for text, planted in stream if not isinstance(rule(text), str)]
    seconds = time.process_time() - start
    # A copy may come before its original, which is dropped in its place: pairs count, not sides.
    false = max(0, len(dropped) - len(copies)) + unrelated(make, texts)
    found = min(len(dropped) - unrelated(make, texts), len(copies))
    return found / len(copies), found / max(found + false, 1), seconds


def memory(name: str, documents: int = 20_000) -> float:
    """Bytes a document, where no other rule has left memory to use again."""
    rng, rule = random.Random(0), RULES[name]()
    before = resident()
    for _ in range(documents):
        rule(" ".join(f"w{rng.randrange(10**6)}" for _ in range(100)))
    return (resident() - before) / documents


def unrelated(make: Callable[[], Comparing], texts: list[str]) -> int:
    """Documents dropped where there is no copy at all."""
    key = (id(make), len(texts))
    if key not in _UNRELATED:
        rule = make()
        _UNRELATED[key] = sum(not isinstance(rule(text), str) for text in texts)
    return _UNRELATED[key]


_UNRELATED: dict[tuple[int, int], int] = {}


def main(arguments: list[str]) -> None:
    """Print one table."""
    options = {"data": "bbc_news", "documents": "1000"} | dict(a.split("=") for a in arguments)
    file = shipped("conf") / "data" / f"{options['data']}.yaml"
    source = build(yaml.safe_load(file.read_text(encoding="utf-8")))
    texts = [d.text for d in islice(source, 4 * int(options["documents"])) if len(d.text) >= 100]
    random.Random(0).shuffle(texts)
    texts = distinct(texts)[: int(options["documents"])]
    size = sum(len(text.encode()) for text in texts)
    print(f"{options['data']}: {len(texts)} documents, {size:,} bytes")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        sizes = dict(zip(RULES, pool.map(memory, RULES, chunksize=1), strict=True))
    print(
        "| rule | " + " | ".join(f"{rate:.0%}" for rate in RATES) + " | precision | MB/s | B/doc |"
    )
    print("| --- |" + " ---: |" * (len(RATES) + 3))
    for name, make in RULES.items():
        rows = [measure(make, texts, rate) for rate in RATES]
        recall = " | ".join(f"{row[0]:.3f}" for row in rows)
        precision = min(row[1] for row in rows if row[0] > 0)
        speed = 1.5 * size / 1e6 / rows[-1][2]
        print(f"| {name} | {recall} | {precision:.3f} | {speed:.1f} | {sizes[name]:,.0f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
