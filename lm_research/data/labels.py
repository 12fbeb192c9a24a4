"""Labels of documents beside a token store: which classes each is of, and the classes' names.

A store of labelled documents (``Selection.labelled``) holds, beside what every store holds::

    {split}.labels.bin        int32, places in the classes: one a document; where a document may
                              have several labels (``several_labels`` in ``meta.json``), those of
                              the first document, those of the second, ...
    {split}.label_counts.bin  int32, where there may be several: how many each document has
    ids.json                  the sources' ids of the held-out documents, in the stream's order

and the classes in its ``meta.json``: the labels of all splits, sorted.

Shapes: B documents of a batch, D documents of a split, L their labels, C classes.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from lm_research.data.document import DataError, Document
from lm_research.data.splits import SPLITS, Split
from lm_research.data.token_store import StoreWriter, TokenStore

_DTYPE = np.dtype(np.int32)
SEVERAL = "several_labels"
"""In the ``meta.json`` of a store whose documents may have several labels."""


class LabelColumn:
    """Notes the labels of documents on their way into a store.

    Args:
        several: a document may have several labels, or none.
    """

    def __init__(self, several: bool = False) -> None:
        self.several = several
        self.codes: dict[str, int] = {}
        self.labels = {split: array("i") for split in SPLITS}
        self.counts = {split: array("i") for split in SPLITS}
        self.ids: dict[str, list[str]] = {split: [] for split in SPLITS[1:]}

    def noting(
        self, selected: Iterable[tuple[Split, Document]]
    ) -> Iterator[tuple[Split, Document]]:
        """The same documents; each says its labels."""
        for split, document in selected:
            labels = tuple(dict.fromkeys(document.label_set or ()))
            self.counts[split].append(len(labels))
            for label in labels:
                self.labels[split].append(self.codes.setdefault(label, len(self.codes)))
            if split in self.ids:
                self.ids[split].append(document.id)
            yield split, document

    def write(self, writer: StoreWriter) -> dict[str, Any]:
        """Put the columns into the store; returns what goes into its ``meta.json``.

        Raises:
            DataError: there are fewer classes than two, or, of several labels, none.
        """
        classes = sorted(self.codes)
        self._require(classes)
        place_of_code = np.array([classes.index(label) for label in self.codes], _DTYPE)
        for split, codes_L in self.labels.items():
            labels_L = place_of_code[np.frombuffer(codes_L, np.intc)]
            (writer.folder / f"{split}.labels.bin").write_bytes(labels_L.tobytes())
            if self.several:
                counts_D = np.frombuffer(self.counts[split], np.intc).astype(_DTYPE)
                (writer.folder / f"{split}.label_counts.bin").write_bytes(counts_D.tobytes())
        writer.write_json("ids", self.ids)
        return {"classes": classes, **({SEVERAL: True} if self.several else {})}

    def _require(self, classes: Sequence[str]) -> None:
        needed = 1 if self.several else 2
        if len(classes) < needed:
            raise DataError(
                f"task=classification: the documents have {len(classes)} different labels "
                f"({', '.join(classes)}), and {'one is' if self.several else 'two are'} needed\n"
                "  fix: a source with labels (tweets, bbc_news, ag_news, sst2, ...; for files: "
                "data.label_field=NAME), or a larger budget.train_bytes"
            )


class LabelledSplit:
    """Documents of a split whose label is among ``classes``, and what it is.

    Args:
        store: of labelled documents.
        name: of the split.
        classes: names, in the order of a model's outputs; a document of another class is left out.

    Attributes:
        split: the token split.
        places_D: int64, which documents of it are kept.
        labels_D: int64, their places in ``classes``.
        lengths_D: int64, their tokens.
        left_out: documents of other classes.

    Raises:
        DataError: the store knows no labels.
    """

    def __init__(self, store: TokenStore, name: Split, classes: Sequence[str]) -> None:
        self.store, self.split, self.classes = store, store.split(name), list(classes)
        self.places_D = self._kept()
        self.lengths_D = self.split.documents["tokens"][self.places_D]
        self.left_out = len(self.split.documents) - len(self.places_D)

    def _kept(self) -> np.ndarray:
        labels_D = self._translated(len(self.split.documents))
        places_D = np.flatnonzero(labels_D >= 0)
        self.labels_D = labels_D[places_D]
        return places_D

    def _translated(self, count: int) -> np.ndarray:
        """The stored labels as places in ``classes``, int64; -1: of no known class."""
        known = {label: place for place, label in enumerate(self.classes)}
        own = classes_of(self.store)
        translated = np.array([known.get(label, -1) for label in own], np.int64)
        return translated[self._read("labels", count)]

    def _read(self, column: str, count: int) -> np.ndarray:
        file = self.store.folder / f"{self.split.name}.{column}.bin"
        held_N = np.frombuffer(file.read_bytes(), _DTYPE)
        if len(held_N) != count:
            raise DataError(f"{file}: damaged; remove {self.store.folder}, and it is made again")
        return held_N

    def __len__(self) -> int:
        return len(self.places_D)

    def document(self, index: int) -> np.ndarray:
        """Ids of one kept document, int64."""
        return self.split.document(int(self.places_D[index]))

    def targets(self, chosen: np.ndarray) -> np.ndarray:
        """labels_B of kept documents, int64: their places in ``classes``."""
        targets_B: np.ndarray = self.labels_D[chosen]
        return targets_B

    def all_targets(self) -> np.ndarray:
        """``targets`` of all kept documents."""
        return self.targets(np.arange(len(self)))

    def ids(self) -> list[str]:
        """The source's ids of the kept documents, of a held-out split."""
        names = self.store.read_json("ids")[self.split.name]
        return [names[place] for place in self.places_D.tolist()]

    def counts(self) -> list[int]:
        """Documents of each class."""
        return np.bincount(self.labels_D, minlength=len(self.classes)).tolist()


class MultilabelSplit(LabelledSplit):
    """Documents of a split that may have several labels each, or none.

    A document whose labels are all of other classes is left out; of one with labels of both kinds
    those among ``classes`` count. ``labels_D`` is not there; see ``labels_DC`` and ``targets``.
    """

    def _kept(self) -> np.ndarray:
        stored_D = self._read("label_counts", len(self.split.documents))
        labels_L = self._translated(int(stored_D.sum()))
        document_L = np.repeat(np.arange(len(stored_D)), stored_D)
        known_D = np.bincount(document_L[labels_L >= 0], minlength=len(stored_D))
        places_D = np.flatnonzero((known_D > 0) | (stored_D == 0))
        self.labels_L = labels_L[labels_L >= 0]
        self.starts = np.concatenate([[0], np.cumsum(known_D[places_D])])
        return places_D

    def targets(self, chosen: np.ndarray) -> np.ndarray:
        """labels_BC of kept documents, bool: which classes each is of."""
        targets_BC = np.zeros((len(chosen), len(self.classes)), np.bool_)
        for row, index in zip(targets_BC, chosen.tolist(), strict=True):
            row[self.labels_L[self.starts[index] : self.starts[index + 1]]] = True
        return targets_BC

    @cached_property
    def labels_DC(self) -> np.ndarray:  # noqa: N802 - the name carries the shape
        """All targets, bool: D C bytes."""
        return self.all_targets()

    def counts(self) -> list[int]:
        """Documents of each class."""
        return np.bincount(self.labels_L, minlength=len(self.classes)).tolist()


def labelled_split(store: TokenStore, name: Split, classes: Sequence[str]) -> LabelledSplit:
    """One split of a store with its labels: one a document, or several.

    Raises:
        DataError: the store knows no labels.
    """
    kind = MultilabelSplit if store.meta.get(SEVERAL) else LabelledSplit
    return kind(store, name, classes)


def classes_of(store: TokenStore) -> list[str]:
    """The classes of a store.

    Raises:
        DataError: it knows none.
    """
    classes = store.meta.get("classes")
    if not classes:
        raise DataError(f"{store.meta['source']}: prepared without labels")
    return list(classes)
