"""One pass over the sources: counts over everything, and a sample of bounded size for the rest."""

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from lm_research.data.audit.personal import personal_counts
from lm_research.data.document import Document
from lm_research.data.splits import Split
from lm_research.text.unicode import utf8_length
from lm_research.text.units import units


@dataclass(frozen=True)
class Group:
    """What duplicates are counted between: one split of one source."""

    source: str
    split: str


@dataclass(frozen=True)
class Sampled:
    """A document of the sample."""

    group: Group
    digest: int
    text: str


class Sample:
    """Documents drawn uniformly, without replacement, up to so many bytes.

    Every document gets a random number; those with the smallest are kept. Memory holds
    ``most_bytes`` and one document more.
    """

    def __init__(self, most_bytes: int, seed: int) -> None:
        self.most_bytes, self.rng = most_bytes, np.random.default_rng(seed)
        self.heap: list[tuple[float, int, Sampled]] = []
        self.bytes, self.seen = 0, 0

    def offer(self, document: Sampled) -> None:
        """Take the document, or not; another may have to go."""
        self.seen += 1
        heapq.heappush(self.heap, (-self.rng.random(), self.seen, document))
        self.bytes += utf8_length(document.text)
        while self.bytes > self.most_bytes and len(self.heap) > 1:
            self.bytes -= utf8_length(heapq.heappop(self.heap)[2].text)

    def documents(self) -> list[Sampled]:
        """The sample, in random order."""
        return [document for _, _, document in sorted(self.heap, reverse=True)]


@dataclass
class Digests:
    """64-bit hashes of all texts and the group of each: ten bytes a document."""

    hashes: array = field(default_factory=lambda: array("Q"))
    groups: array = field(default_factory=lambda: array("H"))

    def add(self, digest: int, group: int) -> None:
        """Note one text."""
        self.hashes.append(digest)
        self.groups.append(group)


@dataclass
class Reading:
    """What one pass over the sources found.

    Attributes:
        groups: the splits of the sources, in the order of their first document.
        counts: documents, bytes, characters and words (units) of each group.
        personal: kind of personal data -> occurrences, by source.
        sample: by source.
        digests: of every text.
    """

    groups: list[Group] = field(default_factory=list)
    counts: dict[Group, Counter[str]] = field(default_factory=dict)
    personal: dict[str, Counter[str]] = field(default_factory=dict)
    sample: dict[str, Sample] = field(default_factory=dict)
    digests: Digests = field(default_factory=Digests)

    @property
    def sources(self) -> list[str]:
        """Names of the sources that have documents."""
        return list(self.sample)


def text_digest(text: str) -> int:
    """64 bits of a text's BLAKE2b."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def read(
    documents: Iterable[tuple[Split, Document]],
    sample_bytes: int,
    seed: int,
    progress: Callable[[int], None] = lambda size: None,
) -> Reading:
    """Count everything and keep a sample.

    Args:
        documents: cleaned and split.
        sample_bytes: of each source.
        seed: of the sample.
        progress: called with the bytes of each document.
    """
    found = Reading()
    numbers: dict[Group, int] = {}
    for split, document in documents:
        group = Group(document.source, split)
        if group not in numbers:
            numbers[group] = len(found.groups)
            found.groups.append(group)
            found.counts[group] = Counter()
        size = utf8_length(document.text)
        _count(found, group, document.text, size)
        digest = text_digest(document.text)
        found.digests.add(digest, numbers[group])
        sample = found.sample.setdefault(document.source, Sample(sample_bytes, seed))
        sample.offer(Sampled(group, digest, document.text))
        progress(size)
    return found


def _count(found: Reading, group: Group, text: str, size: int) -> None:
    found.counts[group].update(
        documents=1, bytes=size, characters=len(text), words=len(units(text))
    )
    found.personal.setdefault(group.source, Counter()).update(personal_counts(text))


def chained(
    selections: Iterable[Iterable[tuple[Split, Document]]],
) -> Iterator[tuple[Split, Document]]:
    """Several selections, one after the other."""
    for selection in selections:
        yield from selection
