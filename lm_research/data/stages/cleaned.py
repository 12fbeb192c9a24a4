"""The second stage: documents as the cleaning rules leave them.

Rules that look at one text at a time are applied to several shards at once. From the first rule on
that compares texts with those before them (``text.cleaning.Comparing``) one process meets all
shards in their order, and what comes out is a stage of its own: a change of such a rule redoes
nothing that is before it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from lm_research.data.stages.documents import DocumentStage, Shard, from_parts, to_parts
from lm_research.data.stages.shards import Shards
from lm_research.data.stages.workers import in_order
from lm_research.text.cleaning import Cleaner, Rule
from lm_research.text.unicode import valid_unicode


class CleanedStage:
    """Shards of cleaned documents, as far as they are asked for; dropped documents are counted.

    Args:
        shards: where they are kept.
        before: the stage that they are made of.
        rules: gives the rules, ready for a new pass.
        remembers: whether a rule depends on the texts before.
        workers: processes, where no rule does.
    """

    def __init__(
        self,
        shards: Shards,
        before: "DocumentStage | CleanedStage",
        rules: Callable[[], Sequence[Rule]],
        remembers: bool = False,
        workers: int = 1,
    ) -> None:
        self.shards, self.before, self._rules = shards, before, rules
        self.remembers, self.workers = remembers, 1 if remembers else workers

    def __iter__(self) -> Iterator[Shard]:
        return self.after(0)

    def after(self, number: int) -> Iterator[Shard]:
        """The shards from ``number`` on."""
        while (parts := self.shards.read(number)) is not None:
            shard = from_parts(number, parts)
            yield shard
            if shard.last:
                return
            number += 1
        self.shards.clear_leftovers()
        yield from self._one_by_one(number) if self.workers == 1 else self._at_once(number)

    def _one_by_one(self, number: int) -> Iterator[Shard]:
        rules = self._rules()
        for shard in self.before.after(0 if self.remembers else number):
            made = cleaned(shard, rules)  # of a shard that is kept: for what it teaches the rules
            if shard.number >= number:
                self.shards.write(made.number, to_parts(made))
                yield made

    def _at_once(self, number: int) -> Iterator[Shard]:
        rules = self._rules()

        def make(place: int) -> int:
            if not self.shards.has(place):
                shard = next(self.before.after(place))
                self.shards.write(place, to_parts(cleaned(shard, rules)))
            return place

        numbers = (shard.number for shard in self.before.after(number))
        for place in in_order(make, numbers, self.workers):
            parts = self.shards.read(place)
            if parts is None:  # damaged within the second: by this process, then
                make(place)
                parts = self.shards.read(place)
            yield from_parts(place, parts or [])


def cleaned(shard: Shard, rules: Sequence[Rule]) -> Shard:
    """The documents that the rules leave, each text valid Unicode, and what each rule did."""
    cleaner = Cleaner(rules)
    dropped, kept = 0, []
    for document in shard.documents:
        text = cleaner.clean(document.text, document.source)
        if text:
            # What the tokenizers would do, done first: they and the count of bytes see one text.
            text = valid_unicode(text)
            kept.append(document if text is document.text else replace(document, text=text))
        else:
            dropped += 1
    counts = [*shard.notes.get("cleaning", ()), *map(asdict, cleaner.counts)]
    notes = {**shard.notes, "cleaning": counts, "dropped": shard.notes.get("dropped", 0) + dropped}
    return Shard(shard.number, kept, notes, shard.last)


def added(counts: Iterable[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What each rule did in all, from what it did in each shard."""
    total: list[dict[str, Any]] = []
    for shard in counts:
        total = [_sum(a, b) for a, b in zip(total, shard, strict=True)] if total else list(shard)
    return total


def _sum(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in first.items():
        if isinstance(value, dict):
            found[name] = dict(Counter(value) + Counter(second[name]))
        else:
            found[name] = value if isinstance(value, str) else value + second[name]
    return found
