"""Labels of documents beside a token store: one number a document, and the names of the classes.

A store of labelled documents (``Selection.labelled``) holds, beside what every store holds::

    {split}.labels.bin     int32, one a document: its place in the classes
    ids.json               the sources' ids of the held-out documents, in the order of the stream

and the classes in its ``meta.json``: the labels of all splits, sorted.

Shapes: D documents of a split, C classes.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lm_research.data.document import DataError, Document
from lm_research.data.splits import SPLITS, Split
from lm_research.data.token_store import StoreWriter, TokenStore

_DTYPE = np.dtype(np.int32)


class LabelColumn:
    """Notes the labels of documents on their way into a store."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.labels = {split: array("i") for split in SPLITS}
        self.ids: dict[str, list[str]] = {split: [] for split in SPLITS[1:]}

    def noting(
        self, selected: Iterable[tuple[Split, Document]]
    ) -> Iterator[tuple[Split, Document]]:
        """The same documents; each has a label."""
        for split, document in selected:
            label = document.label or ""
            self.labels[split].append(self.codes.setdefault(label, len(self.codes)))
            if split in self.ids:
                self.ids[split].append(document.id)
            yield split, document

    def write(self, writer: StoreWriter) -> list[str]:
        """Put the columns into the store; returns the classes.

        Raises:
            DataError: there are fewer than two.
        """
        classes = sorted(self.codes)
        if len(classes) < 2:
            raise DataError(
                f"task=classification: the documents have {len(classes)} different labels "
                f"({', '.join(classes)}), and two are needed\n"
                "  fix: a source with labels (tweets, bbc_news, ag_news, sst2, ...; for files: "
                "data.label_field=NAME), or a larger budget.train_bytes"
            )
        place_of_code = np.array([classes.index(label) for label in self.codes], _DTYPE)
        for split, codes_D in self.labels.items():
            labels_D = place_of_code[np.frombuffer(codes_D, np.intc)]
            (writer.folder / f"{split}.labels.bin").write_bytes(labels_D.tobytes())
        writer.write_json("ids", self.ids)
        return classes


class LabelledSplit:
    """Documents of a split whose labels are among ``classes``, and what they are.

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
        own = classes_of(store)
        known = {label: place for place, label in enumerate(classes)}
        translated = np.array([known.get(label, -1) for label in own], np.int64)
        file = store.folder / f"{name}.labels.bin"
        held_D = np.frombuffer(file.read_bytes(), _DTYPE)
        if len(held_D) != len(self.split.documents):
            raise DataError(f"{file}: damaged; remove {store.folder}, and it is made again")
        labels_D = translated[held_D]
        self.places_D = np.flatnonzero(labels_D >= 0)
        self.labels_D = labels_D[self.places_D]
        self.lengths_D = self.split.documents["tokens"][self.places_D]
        self.left_out = len(labels_D) - len(self.labels_D)

    def __len__(self) -> int:
        return len(self.labels_D)

    def document(self, index: int) -> np.ndarray:
        """Ids of one kept document, int64."""
        return self.split.document(int(self.places_D[index]))

    def ids(self) -> list[str]:
        """The source's ids of the kept documents, of a held-out split."""
        names = self.store.read_json("ids")[self.split.name]
        return [names[place] for place in self.places_D.tolist()]

    def counts(self) -> list[int]:
        """Documents of each class."""
        return np.bincount(self.labels_D, minlength=len(self.classes)).tolist()


def classes_of(store: TokenStore) -> list[str]:
    """The classes of a store.

    Raises:
        DataError: it knows none.
    """
    classes = store.meta.get("classes")
    if not classes:
        raise DataError(f"{store.meta['source']}: prepared without labels")
    return list(classes)
