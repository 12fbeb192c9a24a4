"""A weighted mixture of sources, which is a source itself.

Weights are fractions of UTF-8 bytes, the one unit that means the same in every source, language and
tokenization. The order needs no random numbers: the next document comes from the source with the
greatest deficit

    deficit_i = w_i * sum_j(bytes_j) - bytes_i

where the w_i sum to 1 and ties go to the source named first. Since deficits sum to 0 and only a
source with a deficit of at least 0 is drawn from, no source is ever ahead of its share by more
than (1 - w_i) of its own longest document. The state is the position and the bytes of each source.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Literal

from lm_research.config.types import NonNegativeFloat
from lm_research.data.document import Category, Document, Source


class Mixture(Source):
    """Documents of several sources, interleaved so that their bytes keep to the weights.

    Documents keep the name of the source they come from. ``skipped`` is the sum of the members'.

    Args:
        weights: source name -> weight; only the proportions matter, and 0 leaves a source out.
        sources: the sources by name.
        on_exhausted: when a source has no more documents, "drop" goes on with the others, whose
            weights keep their proportions, until all are exhausted; "stop" ends the mixture, so
            that its fractions hold to the end.

    Attributes:
        positions: documents taken from each source in the latest iteration.
        utf8_bytes: bytes taken from each source in the latest iteration.

    Raises:
        ValueError: a weight is negative or not finite, all are zero, or a name is in only one of
            ``weights`` and ``sources``.
    """

    def __init__(
        self,
        weights: dict[str, NonNegativeFloat],
        sources: dict[str, Source],
        on_exhausted: Literal["drop", "stop"] = "drop",
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            name=name, language=language, category=category, licence=licence, citation=citation
        )
        _check_weights(weights, sources)
        if on_exhausted not in ("drop", "stop"):
            raise ValueError(f"on_exhausted={on_exhausted!r}: allowed are 'drop' and 'stop'")
        self.weights = {member: float(weight) for member, weight in weights.items()}
        self.sources = {member: sources[member] for member in weights}
        self.on_exhausted = on_exhausted
        self._begin()

    def _begin(self) -> None:
        self.skipped = Counter()
        self.positions = dict.fromkeys(self.weights, 0)
        self.utf8_bytes = dict.fromkeys(self.weights, 0)

    def __iter__(self) -> Iterator[Document]:
        self._begin()
        active = {member: weight for member, weight in self.weights.items() if weight > 0}
        iterators = {member: iter(self.sources[member]) for member in active}
        try:
            while active:
                member = self._next_member(active)
                document = next(iterators[member], None)
                if document is None:
                    if self.on_exhausted == "stop":
                        return
                    del active[member]
                    continue
                self.positions[member] += 1
                self.utf8_bytes[member] += len(document.text.encode())
                yield document
        finally:
            for member, documents in iterators.items():
                if isinstance(documents, Generator):
                    documents.close()  # a member that is a mixture counts when it ends
                self.skipped.update(self.sources[member].skipped)

    def _next_member(self, active: dict[str, float]) -> str:
        weight_sum = math.fsum(active.values())
        byte_sum = sum(self.utf8_bytes[member] for member in active)

        def deficit(member: str) -> float:
            return active[member] / weight_sum * byte_sum - self.utf8_bytes[member]

        return max(active, key=deficit)

    def achieved(self) -> dict[str, float]:
        """Fractions of bytes that the latest iteration took from each source; all 0 before one."""
        total = sum(self.utf8_bytes.values())
        return {member: size / total if total else 0.0 for member, size in self.utf8_bytes.items()}

    def signature(self) -> str:
        """The weights' proportions, what happens at the end of a source, and the members'."""
        weight_sum = math.fsum(self.weights.values())
        members = [
            (member, weight / weight_sum, self.sources[member].signature())
            for member, weight in self.weights.items()
            if weight > 0
        ]
        content = json.dumps([self.name, self.on_exhausted, members])
        return f"Mixture:{len(members)}:{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _check_weights(weights: dict[str, float], sources: dict[str, Source]) -> None:
    for member, weight in weights.items():
        if member not in sources:
            known = ", ".join(sources) or "none"
            raise ValueError(f"weights.{member}: no source of that name; the sources are {known}")
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weights.{member}={weight}: allowed is a finite number of at least 0")
    for member in sources:
        if member not in weights:
            raise ValueError(f"source {member!r} has no weight; fix: weights.{member}=1")
    if not any(weights.values()):
        raise ValueError(f"weights={weights}: at least one has to be greater than 0")
