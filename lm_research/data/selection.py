"""Documents of one source, cleaned, split and capped: what a token store is made of."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from lm_research.config.build import build
from lm_research.config.places import without_places
from lm_research.data.document import DataError, Document, Source
from lm_research.data.patience import in_time
from lm_research.data.splits import Split, shuffle, split_of
from lm_research.data.stages.cleaned import CleanedStage, added
from lm_research.data.stages.documents import DocumentStage
from lm_research.data.stages.shards import Shards, Unkept
from lm_research.text.cleaning import Cleaner, Comparing, Rule
from lm_research.text.unicode import utf8_length

FORMAT = 3
"""Of the stages; raised when the same source and rules would make other shards than before."""
LONGEST_SHARE = 8
"""A document longer than an eighth of its split's cap is cut there: a held-out split of one or two
documents would say nothing about a source."""
Labelled = Literal["no", "one", "several"]
"""Whether a task learns labels of documents, and how many one may have."""
PATIENCE_S = 1800.0
"""How long a source may take for its next document; a first one may have to be downloaded."""


@dataclass
class Selection:
    """Documents of one source, cleaned, split and capped, with counts of what was left out.

    Args:
        source: yields the documents.
        cleaning: nodes of the rules.
        splits: ``validation`` and ``test``, shares; ``seed``.
        caps: bytes of each split.
        patience_s: seconds that the source may take for its next document.
        node: the source's, which names the stages in the cache.
        cache: where the stages are kept; None keeps none.
        workers: processes that clean.
        labelled: ``one``, ``several``: leave out documents that say nothing about their labels.
        paired: leave out documents without a target.
        tagged: leave out documents whose words have no tags.
    """

    source: Source
    cleaning: list[Any]
    splits: dict[str, Any]
    caps: dict[Split, int]
    patience_s: float = PATIENCE_S
    node: Any = None
    cache: Path | None = None
    workers: int = 1
    labelled: Labelled = "no"
    paired: bool = False
    tagged: bool = False

    def begin(self) -> tuple[Iterator[Document], Cleaner]:
        """The documents of a new pass, as the source has them but in their order, and its rules."""
        return self._documents(), Cleaner(self._rules())

    def __iter__(self) -> Iterator[tuple[Split, Document]]:
        self.counts: Counter[str] = Counter()
        self._notes: list[dict[str, Any]] = []
        room = dict(self.caps)
        seed, validation, test = self.splits["seed"], self.splits["validation"], self.splits["test"]
        for document in self._cleaned():
            if self.labelled != "no" and not self._says_labels(document):
                self.counts["without_label"] += 1
                continue
            if self.paired and not (document.target or "").strip():
                self.counts["without_target"] += 1
                continue
            if self.tagged and not document.tags:
                self.counts["without_tags"] += 1
                continue
            split = split_of(document, validation, test, seed)
            if room[split] <= 0:
                self.counts["over_cap"] += 1
                if all(left <= 0 for left in room.values()):
                    return
                continue
            # What is read in its order may be one stream: it ends where the cap does.
            longest = room[split] if self.source.ordered else self.caps[split] // LONGEST_SHARE
            size = utf8_length(document.text)
            if size > max(longest, 1):
                document = self._cut(document, max(longest, 1))
                size = utf8_length(document.text)
            room[split] -= size
            yield split, document

    def _says_labels(self, document: Document) -> bool:
        """Whether the document has what ``labelled`` asks for.

        Raises:
            DataError: it has several labels, and one is asked for.
        """
        labels = document.label_set
        if self.labelled == "several":
            return labels is not None
        if labels is not None and len(labels) > 1:
            raise DataError(
                f"task.labels=one: {document.id} has {len(labels)} labels ({', '.join(labels)})\n"
                "  fix: task.labels=several, which learns each class by itself; or data with one "
                "label a document"
            )
        return bool(labels)

    def _cleaned(self) -> Iterator[Document]:
        for shard in self._stage():
            self._notes.append(shard.notes)
            self.counts["dropped"] += shard.notes["dropped"]
            yield from shard.documents

    def _cut(self, document: Document, most: int) -> Document:
        self.counts["cut"] += 1
        begin = document.text.encode()[:most].decode("utf-8", "ignore")
        return replace(document, text=begin or document.text[:1])

    def texts(self, split: Split) -> Iterator[str]:
        """Texts of one split."""
        return (document.text for where, document in self if where == split)

    # --- the stages

    def _stage(self) -> CleanedStage:
        """Cleaned documents: a stage up to the first rule that remembers, and one from there on."""
        rules = build(self.cleaning)
        remembering = [isinstance(rule, Comparing) for rule in rules]
        border = remembering.index(True) if any(remembering) else len(rules)
        documents = DocumentStage(self._shards("documents", []), self._documents, self._noted)
        alone = CleanedStage(
            self._shards("cleaned", rules[:border]) if border else Unkept(),
            documents,
            lambda: rules[:border],
            workers=self.workers if border else 1,  # without a rule it is the documents again
        )
        if border == len(rules):
            return alone
        shards = self._shards("cleaned", rules)
        return CleanedStage(shards, alone, lambda: self._rules()[border:], remembers=True)

    def _rules(self) -> list[Rule]:
        """The rules, ready for a pass: those that compare have read what they compare with."""
        rules = build(self.cleaning)
        Cleaner(rules).learn(lambda other: in_time(other, self.patience_s))
        return list(rules)

    def _documents(self) -> Iterator[Document]:
        documents = in_time(self.source, self.patience_s)
        return documents if self.source.ordered else shuffle(documents, self.splits["seed"])

    def _noted(self) -> dict[str, Any]:
        achieved: Callable[[], Any] | None = getattr(self.source, "achieved", None)
        return {
            "skipped": dict(self.source.skipped),
            "duplicate_ids": duplicate_ids(self.source),
            "achieved": achieved() if achieved else None,
        }

    def _shards(self, stage: str, rules: Sequence[Rule]) -> Shards:
        if self.cache is None:
            return Unkept()
        nodes = self.cleaning[: len(rules)]
        order = None if self.source.ordered else self.splits["seed"]
        parts = [FORMAT, self.node, self.source.signature(), order, nodes]
        key = key_of([*parts, [rule.signature() for rule in rules]])
        return Shards(self.cache / stage / key)

    # --- what was left out

    def report(self) -> dict[str, Any]:
        """What the shards of the last pass left out, and why; how many repeated ids they kept."""
        repeated = self._last_note()["duplicate_ids"]
        return {
            "skipped": self._last_note()["skipped"],
            "cleaning": added(notes["cleaning"] for notes in self._notes),
            "selection": dict(self.counts) | ({"duplicate_ids": repeated} if repeated else {}),
        }

    def achieved(self) -> Any:
        """A mixture's fractions of bytes, as far as the last pass has read; else None."""
        return self._last_note()["achieved"]

    def omissions(self) -> str:
        """The report in a few words, without what is zero."""
        report = self.report()
        dropped = {
            f"dropped by {rule['name']}" + (f" ({reason})" if reason else ""): count
            for rule in report["cleaning"]
            for reason, count in (rule["reasons"] or {"": rule["documents_dropped"]}).items()
        }
        selected = {f"documents {name}": n for name, n in self.counts.items() if name != "dropped"}
        counts = {**report["skipped"], **dropped, **selected}
        return ", ".join(f"{name}: {n}" for name, n in counts.items() if n) or "nothing"

    def _last_note(self) -> dict[str, Any]:
        return self._notes[-1] if self._notes else self._noted()


def duplicate_ids(source: Any) -> int:
    """Documents of the last reading whose id had come before, in the members of a mixture, too."""
    members = getattr(source, "sources", {}).values()
    return int(getattr(source, "duplicate_ids", 0)) + sum(map(duplicate_ids, members))


def key_of(parts: Sequence[Any]) -> str:
    """A name for what follows from ``parts``: 20 hex digits of their SHA-256 as JSON."""
    content = json.dumps(without_places(list(parts)), sort_keys=True, default=str)
    return sha256(content.encode()).hexdigest()[:20]
