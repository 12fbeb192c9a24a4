"""The one thing that a callback tells what happens: it writes the folder, then the mirrors.

    with Recorder(folder, [WandbMirror(...)]) as recorder:
        recorder.metrics(step, tokens, seconds, {"train/loss": loss})

The block's end finishes the run, whatever ends it: as done, as failed with the error, or as
interrupted by Ctrl-C. The folder's rows are the truth and are written first; a mirror that raises
is told once and left out from then on.
"""

import logging
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from lm_research.tracking.environment import record_environment
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.redaction import redacted
from lm_research.tracking.run_folder import RunFolder

Ending = Literal["done", "failed", "interrupted"]

EXIT_CODES: dict[str, int] = {"done": 0, "failed": 1, "interrupted": 255}
"""What a mirror is told at the end."""

_log = logging.getLogger(__name__)


class Mirror(Protocol):
    """A copy of the run elsewhere; see ``wandb_mirror.WandbMirror`` for what each call means."""

    def start(self, run_id: str, folder: Path, config: Mapping[str, Any]) -> None:
        """Open the copy."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Copy a row of metrics.jsonl."""

    def sample(self, step: int, prompt: str, text: str) -> None:
        """Copy a row of samples.jsonl."""

    def histograms(self, step: int, values: Mapping[str, Any]) -> None:
        """Copy a row of histograms.jsonl."""

    def rewound(
        self,
        rows: list[dict[str, Any]],
        samples: list[dict[str, Any]],
        histograms: list[dict[str, Any]],
    ) -> None:
        """The run goes on from a checkpoint: these are all its rows up to there."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Copy numbers of summary.json."""

    def data(self, values: Mapping[str, Any]) -> None:
        """Copy data.json."""

    def finish(self, exit_code: int) -> None:
        """Close the copy."""


class Recorder:
    """Records one attempt at a run, from :meth:`start` to :meth:`finish`.

    Args:
        folder: a claimed run folder (``RunFolder.create``); its owner closes it.
        mirrors: copies to keep, told in this order.

    Attributes:
        folder: the run folder.
    """

    def __init__(self, folder: RunFolder, mirrors: Sequence[Mirror] = ()) -> None:
        self.folder = folder
        self._mirrors = list(mirrors)
        self._running = False

    def start(self, steps: int | None = None) -> None:
        """Mark the run as running, record the environment, and open the mirrors.

        Args:
            steps: optimizer steps planned, where known; see :meth:`planned`.
        """
        self.folder.start(steps)
        self._running = True
        record_environment(self.folder.path)
        run_id, config = self.folder.status.id, self.folder.config
        self._tell(lambda mirror: mirror.start(run_id, self.folder.path, config))

    def planned(self, steps: int) -> None:
        """Say how many optimizer steps there will be, once that is known."""
        self.folder.beat(self.folder.status.step, steps)

    def metrics(self, step: int, tokens: int, seconds: float, values: Mapping[str, float]) -> None:
        """Record numbers at a step; several rows may share a step (training, then validation).

        Args:
            step: optimizer steps done; never decreases, except after :meth:`rewind`.
            tokens: training tokens seen up to here, over all attempts.
            seconds: training time up to here, over all attempts.
            values: name (``split/name_unit``) -> number; NaN and infinity are kept as such.

        Raises:
            RunFolderError: metrics.jsonl cannot be written.
        """
        row: dict[str, Any] = {"step": int(step), "tokens": int(tokens), "seconds": float(seconds)}
        for name, value in values.items():
            row[name] = int(value) if isinstance(value, numbers.Integral) else float(value)
        self.folder.metrics.append(row)
        self.folder.beat(row["step"])
        self._tell(lambda mirror: mirror.log(row))

    def sample(self, step: int, prompt: str, text: str) -> None:
        """Record a generated text."""
        prompt, text = redacted(prompt), redacted(text)
        self.folder.samples.append({"step": int(step), "prompt": prompt, "text": text})
        self._tell(lambda mirror: mirror.sample(int(step), prompt, text))

    def histograms(self, step: int, values: Mapping[str, Mapping[str, list[float]]]) -> None:
        """Record distributions at a step, by name, each as ``counts`` and ``edges``."""
        self.folder.histograms.append({"step": int(step), "values": values})
        self._tell(lambda mirror: mirror.histograms(int(step), values))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Merge numbers into summary.json: what tables of runs show."""
        self.folder.write_summary(values)
        self._tell(lambda mirror: mirror.summary(values))

    def data(self, values: Mapping[str, Any]) -> None:
        """Merge into data.json: sources, sizes, fingerprint."""
        self.folder.write_data(values)
        self._tell(lambda mirror: mirror.data(values))

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps of the records, with the rows so far forced to the disk."""
        self.folder.sync()
        return self.folder.position()

    def rewind(self, step: int, state: Mapping[str, int] | None = None) -> None:
        """Take back the rows written after the checkpoint of ``step`` (kept in ``*.cut-N.jsonl``).

        Mirrors are told what is left, since a killed attempt may not have sent it all.

        Args:
            step: the checkpoint's step.
            state: what :meth:`state_dict` gave when it was written.
        """
        self.folder.rewind(step, state)
        rows, samples = list(self.folder.metrics), list(self.folder.samples)
        histograms = list(self.folder.histograms)
        self._tell(lambda mirror: mirror.rewound(rows, samples, histograms))

    def finish(self, state: Ending, error: BaseException | str | None = None) -> None:
        """End the attempt; a second call does nothing.

        Args:
            state: how it ended.
            error: what stopped it.
        """
        if not self._running:
            return
        self._running = False
        try:
            try:
                self.folder.sync()
            finally:
                self.folder.finish(state, error)
        finally:
            self._tell(lambda mirror: mirror.finish(EXIT_CODES[state]))

    def __enter__(self) -> "Recorder":
        try:
            if not self._running:
                self.start()
        except BaseException as error:
            self._end_with(error)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish("done")
        else:
            self._end_with(error)

    def _end_with(self, error: BaseException) -> None:
        try:
            self.finish(ending(error), error)
        except RunFolderError as second:  # the first error is the one to show
            _log.error("%s", second)

    def _tell(self, call: Callable[[Mirror], None]) -> None:
        for mirror in list(self._mirrors):
            try:
                call(mirror)
            except Exception as error:
                self._mirrors.remove(mirror)
                name, line = type(mirror).__name__, f"{type(error).__name__}: {error}"
                _log.warning("%s: %s. The run goes on without it.", name, redacted(line))


def ending(error: BaseException) -> Ending:
    """How a run ends that ``error`` stops: a person or a signal interrupts, the rest fails."""
    stopped = isinstance(error, KeyboardInterrupt | GeneratorExit)
    if isinstance(error, SystemExit):
        signalled = isinstance(error.code, int) and error.code > 128
        stopped = signalled or error.code in (None, 0, os.EX_TEMPFAIL)
    return "interrupted" if stopped else "failed"
