"""A weighted mixture of sources, which is a source itself.

Weights are fractions of UTF-8 bytes, the one unit that means the same in every source, language and
tokenization. The order needs no random numbers: the next document comes from the source with the
greatest deficit

    deficit_i = w_i * sum_j(bytes_j) - bytes_i

where the w_i sum to 1 and ties go to the source named first. Since deficits sum to 0 and only a
source with a deficit of at least 0 is drawn from, no source is ever ahead of its share by more
than (1 - w_i) of its own longest document. The state is the position and the bytes of each source.

With a temperature, a cap on epochs or a schedule, training draws from each source's own stream
instead (``mixture_plan``); the interleaved order then serves tokenizers and held-out text alone.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any, Literal

from lm_research.config.mixture_rules import SAMPLING, is_sampled, sampling_problems
from lm_research.config.types import NonNegativeFloat, PositiveFloat, PositiveInt
from lm_research.data.document import Category, Document, Source


class Mixture(Source):
    """Documents of several sources, interleaved so that their bytes keep to the weights.

    Documents keep the name of the source they come from. ``skipped`` is the sum of the members'.

    Args:
        weights: source name -> weight; only the proportions matter, and 0 leaves a source out.
        sources: the sources by name.
        on_exhausted: when a source has no more documents, "drop" goes on with the others, whose
            weights keep their proportions, until all are exhausted; "stop" ends the mixture, so
            that its fractions hold to the end. A sampled mixture whose cap on epochs is met
            drops the source in the same way, or, with "stop", is refused before it trains.
        temperature: T of shares w_i n_i^(1/T) / sum_j, n the bytes of a source's training text:
            1 is proportional to size, a large one goes towards the weights alone (Arivazhagan et
            al. 2019, https://arxiv.org/abs/1907.05019).
        epochs: how often a source's training text may be read at most, for all or by name.
        schedule: source -> [[progress, weight], ...], in place of its weight: piecewise linear in
            the fraction of the token budget, constant before the first point and after the last.
        run_windows: windows that a lane of a sampled mixture reads in a row from one place.

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
        temperature: PositiveFloat | None = None,
        epochs: PositiveFloat | dict[str, PositiveFloat] | None = None,
        schedule: dict[str, list[list[NonNegativeFloat]]] | None = None,
        run_windows: PositiveInt = 16,
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
        self.temperature, self.epochs, self.schedule = temperature, epochs, schedule
        self.run_windows = run_windows
        for problem in sampling_problems(self._sampling()):
            raise ValueError(str(problem).strip())
        self._begin()

    def _sampling(self) -> dict[str, Any]:
        return {"weights": self.weights, **{name: getattr(self, name) for name in SAMPLING}}

    @property
    def sampled(self) -> bool:
        """Whether sources are drawn while training, and not once for all."""
        return is_sampled(self._sampling())

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

    def asked(self) -> dict[str, float]:
        """The weights, summing to 1."""
        total = math.fsum(self.weights.values())
        return {member: weight / total for member, weight in self.weights.items()}

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


def store_node(node: Any) -> Any:
    """A data node without what only training time sees: it does not change the prepared text."""
    if not isinstance(node, dict) or node.get("_target_") != f"{__name__}.{Mixture.__name__}":
        return node
    kept = {key: item for key, item in node.items() if key not in (*SAMPLING, "run_windows")}
    sources = kept.get("sources")
    if isinstance(sources, dict):
        kept["sources"] = {name: store_node(member) for name, member in sources.items()}
    return kept


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
