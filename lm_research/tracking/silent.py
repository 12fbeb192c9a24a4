"""The recorder of the processes that do not own the run folder."""

from collections.abc import Mapping
from typing import Any

from lm_research.tracking.recorder import Ending, Recorder


class SilentRecorder(Recorder):
    """Takes every call and writes nothing: in a data-parallel run process 0 writes for all."""

    def start(self, steps: int | None = None) -> None:
        """Nothing."""

    def planned(self, steps: int) -> None:
        """Nothing."""

    def metrics(self, step: int, tokens: int, seconds: float, values: Mapping[str, float]) -> None:
        """Nothing."""

    def sample(self, step: int, prompt: str, text: str) -> None:
        """Nothing."""

    def histograms(self, step: int, values: Mapping[str, Mapping[str, list[float]]]) -> None:
        """Nothing."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def data(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, int]:
        """Nothing to keep."""
        return {}

    def rewind(self, step: int, state: Mapping[str, int] | None = None) -> None:
        """Nothing."""

    def finish(self, state: Ending, error: BaseException | str | None = None) -> None:
        """Nothing."""
