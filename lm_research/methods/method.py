"""The contract of a method."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from lm_research.data.document import Source
from lm_research.data.downloads import Downloads

Progress = Callable[[int, int], None]
"""Called with (parts done, parts in all)."""


class Method(ABC):
    """A published computation that is no run of a model: from data and a seed to named numbers."""

    @abstractmethod
    def files(self, source: Source | None) -> dict[str, str | None]:
        """Name and SHA-256 of every file that it reads."""

    @abstractmethod
    def measure(
        self, source: Source | None, downloads: Downloads, seed: int, progress: Progress
    ) -> dict[str, float]:
        """The numbers.

        Args:
            source: the documents of the data option, if the experiment names one.
            downloads: the folder of public corpora's files.

        Raises:
            DataError: the data cannot be used.
        """
