"""Sums of many sparse matrices in bounded memory: sorted runs that are merged, on the disk if need
be."""

import tempfile
from pathlib import Path

import numpy as np
from scipy import sparse

_PARTS = ("indptr", "indices", "data")


class CountRuns:
    """The sum S of square matrices (V x V), as (S + S^T) / unit.

    Runs of like size are added up as they come, so that a cell is moved O(log) times. What takes
    more than ``memory`` bytes goes to the disk (``TMPDIR`` says where) and is merged at the end, a
    few rows at a time; the result is then mapped from a file that vanishes with it.

    Args:
        vocabulary_size: V.
        unit: what the sum is divided by, in the end.
        memory: bytes; the peak, while runs are added up, is about this.
    """

    def __init__(self, vocabulary_size: int, unit: int, memory: float) -> None:
        self.size = vocabulary_size
        self.unit, self.memory = unit, memory
        self.spilled = 0
        self._runs: list[sparse.csr_array] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, run_VV: sparse.csr_array) -> None:
        """Add a matrix with sorted rows."""
        self._runs.append(run_VV)
        while len(self._runs) > 1 and self._runs[-2].nnz <= 2 * self._runs[-1].nnz:
            last = self._runs.pop()
            self._runs[-1] = self._runs[-1] + last
        if sum(map(_bytes, self._runs)) > self.memory / 4:  # sums and transposes take as much again
            self._spill()

    def result(self) -> sparse.csr_array:
        """(S + S^T) / unit, rows sorted. The runs are used up."""
        if self._folder is None:
            counts_VV = self._symmetric()
            counts_VV.data /= self.unit
            return counts_VV
        if self._runs:
            self._spill()
        with self._folder:
            return self._merged(Path(self._folder.name))

    def _symmetric(self) -> sparse.csr_array:
        total_VV = sparse.csr_array((self.size, self.size), dtype=np.float64)
        while self._runs:
            total_VV = total_VV + self._runs.pop()
        return (total_VV + total_VV.T).tocsr()

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="lm-research-counts-")
        run_VV = self._symmetric()
        for part in _PARTS:
            np.save(Path(self._folder.name) / f"{part}-{self.spilled}.npy", getattr(run_VV, part))
        self.spilled += 1

    def _merged(self, folder: Path) -> sparse.csr_array:
        runs = [
            [np.load(folder / f"{part}-{run}.npy", mmap_mode="r") for part in _PARTS]
            for run in range(self.spilled)
        ]
        indptr = np.zeros(self.size + 1, dtype=np.int64)
        with open(folder / "indices", "wb") as indices, open(folder / "data", "wb") as data:
            for first, last in self._spans(
                np.stack([run[0] for run in runs]).sum(0, dtype=np.int64)
            ):
                rows = sum(_rows(run, (first, last), self.size) for run in runs[1:])
                rows = _rows(runs[0], (first, last), self.size) + rows
                indptr[first + 1 : last + 1] = indptr[first] + rows.indptr[1:]
                indices.write(rows.indices.astype(np.int32).tobytes())
                data.write((rows.data / self.unit).tobytes())
        values = np.memmap(folder / "data", np.float64, mode="r")
        columns = np.memmap(folder / "indices", np.int32, mode="r")
        return sparse.csr_array((values, columns, indptr), shape=(self.size, self.size))

    def _spans(self, cells_V1: np.ndarray) -> list[tuple[int, int]]:
        """Spans of rows whose runs fit into the memory together (or one row)."""
        spans, first, most = [], 0, max(1, int(self.memory / 64))
        while first < self.size:
            last = int(np.searchsorted(cells_V1, cells_V1[first] + most, side="right")) - 1
            spans.append((first, max(first + 1, last)))
            first = spans[-1][1]
        return spans


def _bytes(run_VV: sparse.csr_array) -> int:
    return sum(getattr(run_VV, part).nbytes for part in _PARTS)


def _rows(run: list[np.ndarray], span: tuple[int, int], size: int) -> sparse.csr_array:
    """Some rows of a run on the disk."""
    (indptr, indices, data), (first, last) = run, span
    start, stop = indptr[first], indptr[last]
    parts = (np.array(data[start:stop]), np.array(indices[start:stop]))
    return sparse.csr_array((*parts, indptr[first : last + 1] - start), shape=(last - first, size))
