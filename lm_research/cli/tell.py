"""The one way from text that others may have written to a terminal or a log."""

import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TextIO

from lm_research.config.problems import ConfigError, Problem, is_ours
from lm_research.config.visible import visible
from lm_research.tracking.redaction import redacted, redacted_arguments, redactor


def safe(text: str) -> str:
    """``text`` without secrets, and with nothing in it that a terminal would obey."""
    return cleaner()(text)


def cleaner() -> Callable[[str], str]:
    """:func:`safe` for many texts: the secrets of the environment are looked up once."""
    hide = redactor()
    return lambda text: visible(str(hide(text)), keep="\n\t")


def tell(text: str, file: TextIO | None = None) -> None:
    """Print ``text`` at once; to standard error unless told otherwise."""
    print(safe(text), file=file or sys.stderr, flush=True)


def tell_error(verb: str, error: BaseException) -> None:
    """Say what stopped ``verb``: ours say all there is to say, of others the traceback does."""
    if isinstance(error, ConfigError):
        error = ConfigError([_without_secrets(problem) for problem in error.problems])
    if is_ours(error):
        tell(f"lm-research {verb}: {error}")
    else:
        tell("".join(traceback.format_exception(error)).rstrip())


def _without_secrets(problem: Problem) -> Problem:
    """The field may be a whole override; the value is a secret if its field is named like one."""
    value = redacted({problem.field: problem.value})[problem.field]
    return replace(problem, field=redacted_arguments([problem.field])[0], value=value)


class SafeRecord(logging.LogRecord):
    """A record of a log, :func:`safe` whoever writes it and wherever it goes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            self.exc_text = safe(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:  # noqa: N802 - logging's own name
        """The message, formatted."""
        return safe(super().getMessage())


def guard_logs() -> None:
    """Make every log of this process safe, Hydra's and W&B's included."""
    logging.setLogRecordFactory(SafeRecord)
