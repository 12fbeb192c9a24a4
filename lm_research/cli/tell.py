"""The one way from text that others may have written to a terminal or a log."""

import logging
import sys
import traceback
from typing import TextIO

from lm_research.config.problems import is_ours
from lm_research.config.visible import visible
from lm_research.tracking.redaction import redacted


def safe(text: str) -> str:
    """``text`` without secrets, and with nothing in it that a terminal would obey."""
    return visible(str(redacted(text)), keep="\n\t")


def tell(text: str, file: TextIO | None = None) -> None:
    """Print ``text`` at once; to standard error unless told otherwise."""
    print(safe(text), file=file or sys.stderr, flush=True)


def tell_error(verb: str, error: BaseException) -> None:
    """Say what stopped ``verb``: ours say all there is to say, of others the traceback does."""
    if is_ours(error):
        tell(f"lm-research {verb}: {error}")
    else:
        tell("".join(traceback.format_exception(error)).rstrip())


class SafeRecords(logging.Filter):
    """Makes the records of a log :func:`safe`, with tracebacks; install by :func:`guard_logs`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Write the message out, so that no later formatting brings a secret back."""
        record.msg, record.args = safe(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = safe(logging.Formatter().formatException(record.exc_info))
        return True


def guard_logs() -> None:
    """Guard every handler that Hydra has set up for this run."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(known, SafeRecords) for known in handler.filters):
            handler.addFilter(SafeRecords())
