"""An audit as plain JSON values, from one pass over the sources."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lm_research.data.audit.bias import bias_probes
from lm_research.data.audit.divergence import divergences
from lm_research.data.audit.language import identified, readability, tag_profile, words_of
from lm_research.data.audit.licences import conflicts, terms_of
from lm_research.data.audit.reading import Group, Reading, Sampled
from lm_research.data.audit.topics import topic_words
from lm_research.data.audit.vocabulary import compression, diversity, growth, ranks
from lm_research.data.overlap import equal_texts, near_counts, near_duplicates
from lm_research.data.splits import SPLITS

FORMAT = 1
EXAMPLES = 3
EXAMPLE_CHARACTERS = 200
THRESHOLD = 0.8
Card = Mapping[str, str]
Tell = Callable[[str, int], None]
"""Told what is being done and how many documents it takes; with the same name, of one more."""


def silent(what: str, documents: int) -> None:
    """Tell nobody."""


def audited(
    reading: Reading, cards: Mapping[str, Card], seed: int, tell: Tell = silent
) -> dict[str, Any]:
    """Everything that the audit says.

    Args:
        reading: of all sources.
        cards: by source, name, language, category, licence and citation.
        seed: of the bootstrap and of MinHash.
        tell: for a progress bar.
    """
    texts = {name: [d.text for d in reading.sample[name].documents()] for name in reading.sources}
    languages = {name: cards[name]["language"] for name in reading.sources}
    words = {}
    for name, held in texts.items():
        tell(f"words of {name}", len(held))
        words[name] = [words_of(text, languages[name]) for text in held]
    topics = topic_words(words)
    sources = {}
    for name in reading.sources:
        tell(f"profile of {name}", len(texts[name]))
        profile = _profile(texts[name], words[name], languages[name])
        sources[name] = {**_sizes(reading, name, cards[name]), **profile, "topics": topics[name]}
    tell("divergence", sum(map(len, texts.values())))
    return {
        "format": FORMAT,
        "seed": seed,
        "sources": sources,
        "overlap": overlaps(reading, seed, tell),
        "divergence": {
            "words": divergences(texts, "words", seed),
            "bytes": divergences(texts, "bytes", seed),
        },
        "licences": {
            "sources": {name: terms_of(cards[name]["licence"]) for name in reading.sources},
            "conflicts": conflicts({name: cards[name]["licence"] for name in reading.sources}),
        },
    }


def _sizes(reading: Reading, name: str, card: Card) -> dict[str, Any]:
    groups = [group for group in reading.groups if group.source == name]
    sample = reading.sample[name]
    return {
        "card": dict(card),
        "splits": {group.split: dict(reading.counts[group]) for group in groups},
        "personal": dict(reading.personal[name].most_common()),
        "sample": {"documents": len(sample.heap), "bytes": sample.bytes, "of": sample.seen},
    }


def _profile(texts: Sequence[str], words: Sequence[Sequence[str]], language: str) -> dict[str, Any]:
    tokens = [word for document in words for word in document]
    return {
        "languages": identified(texts),
        "vocabulary": {
            **diversity(tokens),
            "heaps": growth(tokens),
            "zipf": ranks(Counter(tokens)),
        },
        "compression_ratio": compression(texts),
        "readability": readability(texts, language),
        "tags": tag_profile(texts, language),
        "bias": bias_probes(texts, language),
    }


def overlaps(reading: Reading, seed: int, tell: Tell = silent) -> list[dict[str, Any]]:
    """Pairs of groups that have texts in common, or one group that repeats itself; leaks first.

    Equal texts are counted over all documents; nearly equal ones, which include the equal ones
    of two groups, over the sample, each different text of a group once.
    """
    hashes_D = np.array(reading.digests.hashes, np.uint64)
    groups, rank = _in_order(reading)
    groups_D = rank[np.array(reading.digests.groups, np.int64)]
    equal = equal_texts(hashes_D, groups_D, len(groups), 10 * EXAMPLES)
    sampled = _distinct(reading)
    number = {group: place for place, group in enumerate(groups)}
    tell("near duplicates", len(sampled))
    pairs = near_duplicates(
        [d.text for d in sampled], THRESHOLD, seed, lambda: tell("near duplicates", 0)
    )
    near = near_counts(pairs, [number[d.group] for d in sampled])
    text_of = {d.digest: d.text for d in sampled}
    found = []
    for i, j in sorted({*equal, *near}):
        row = _row(groups[i], groups[j])
        if same := equal.get((i, j)):
            row |= {"equal_texts": same.texts, "first_documents": same.first}
            row["second_documents"] = same.second
            known = [text_of[h] for h in same.digests if h in text_of]
            row["examples"] = [_cut(text) for text in known[:EXAMPLES]]
        if alike := near.get((i, j)):
            row["near_first"], row["near_second"] = alike[:2]
            row["near_examples"] = [
                [_cut(sampled[p.first].text), _cut(sampled[p.second].text), p.jaccard]
                for p in [pair for pair in alike[2] if pair.jaccard < 1][:EXAMPLES]
            ]
        found.append(row)
    return sorted(found, key=lambda row: (not row["leak"], -row["equal_texts"], -row["near_first"]))


def _in_order(reading: Reading) -> tuple[list[Group], np.ndarray]:
    """The groups with training splits first, and each group's place in that order."""
    order = sorted(
        range(len(reading.groups)),
        key=lambda n: (SPLITS.index(reading.groups[n].split), n),
    )
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return [reading.groups[n] for n in order], rank


def _row(first: Group, second: Group) -> dict[str, Any]:
    """A leak is a text in two splits of which one is held out, of one source or of two."""
    return {
        "first": {"source": first.source, "split": first.split},
        "second": {"source": second.source, "split": second.split},
        "leak": first.split != second.split,
        "equal_texts": 0,
        "first_documents": 0,
        "second_documents": 0,
        "near_first": 0,
        "near_second": 0,
        "examples": [],
        "near_examples": [],
    }


def _distinct(reading: Reading) -> list[Sampled]:
    """The sample, each text once in each group."""
    found: dict[tuple[Group, int], Sampled] = {}
    for sample in reading.sample.values():
        for document in sample.documents():
            found.setdefault((document.group, document.digest), document)
    return list(found.values())


def _cut(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else text[: EXAMPLE_CHARACTERS - 1] + "…"
