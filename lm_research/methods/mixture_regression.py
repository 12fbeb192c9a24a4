"""How well a law fitted to small runs on mixtures ranks the losses of other mixtures."""

import csv
import io

import numpy as np

from lm_research.analysis.mixing_laws import fit_law
from lm_research.config.types import PositiveInt
from lm_research.data.document import DataError, Source
from lm_research.data.downloads import Downloads, RemoteFile
from lm_research.methods.method import Method, Progress

TITLE = "the tables of mixtures"


class MixtureRegression(Method):
    """Spearman's rank correlation in percent, ``spearman_SIZE`` for each pair of test tables.

    Args:
        law: of :func:`lm_research.analysis.mixing_laws.fit_law`.
        target: the column of the losses.
        train: the mixtures and the losses that the law is fitted to, two tables.
        test: size -> two such tables.
        fit_on: so many of the training mixtures; ``None``: all.
    """

    def __init__(
        self,
        law: str,
        target: str,
        train: list[RemoteFile],
        test: dict[str, list[RemoteFile]],
        fit_on: PositiveInt | None = None,
    ) -> None:
        for name, tables in {"train": train, **test}.items():
            if len(tables) != 2:
                raise ValueError(f"{name}: {len(tables)} tables; two, of mixtures and of losses")
        self.law, self.target, self.train, self.test = law, target, train, dict(test)
        self.fit_on = fit_on

    def files(self, source: Source | None) -> dict[str, str | None]:
        """The tables."""
        tables = [*self.train, *(table for pair in self.test.values() for table in pair)]
        return {table.name: table.sha256 for table in tables}

    def measure(
        self, source: Source | None, downloads: Downloads, seed: int, progress: Progress
    ) -> dict[str, float]:
        """See the class."""
        from scipy.stats import spearmanr

        tables = [*self.train, *(table for pair in self.test.values() for table in pair)]
        downloads.fetch(tables, TITLE)
        weights_RM, loss_R = self._read(downloads, self.train)
        law = fit_law(self.law, weights_RM[: self.fit_on], loss_R[: self.fit_on], seed)
        found = {}
        for number, (size, pair) in enumerate(self.test.items()):
            weights_RM, loss_R = self._read(downloads, pair)
            found[f"spearman_{size}"] = 100 * float(spearmanr(law(weights_RM), loss_R).statistic)
            progress(number + 1, len(self.test))
        return found

    def _read(self, downloads: Downloads, pair: list[RemoteFile]) -> tuple[np.ndarray, np.ndarray]:
        """weights_RM, summing to 1, and loss_R of the mixtures that both tables hold."""
        mixtures, losses = (_table(downloads, file) for file in pair)
        both = [index for index in mixtures if index in losses]
        if not both or self.target not in losses[both[0]]:
            names = " and ".join(file.name for file in pair)
            raise DataError(f"{names}: no mixture in both, or no column {self.target}")
        weights_RM = np.array([list(map(float, mixtures[index].values())) for index in both])
        loss_R = np.array([float(losses[index][self.target]) for index in both])
        return weights_RM / weights_RM.sum(1, keepdims=True), loss_R


def _table(downloads: Downloads, file: RemoteFile) -> dict[str, dict[str, str]]:
    """index -> column -> text; the column ``index`` is left out."""
    with downloads.open(file) as content:
        text = io.TextIOWrapper(content, encoding="utf-8", newline="")
        return {row.pop("index"): row for row in csv.DictReader(text)}
