"""The W&B SDK, kept from asking a terminal, from leaving variables behind, and from hanging."""

import atexit
import contextlib
import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

END_S = 30.0
"""How long the end of a process may wait for the SDK's service, in seconds."""

_log = logging.getLogger(__name__)
_watched: set[int] = set()
"""Ids of the services that are seen to."""


def require_credentials(wandb: Any) -> None:
    """Fail now where wandb would stop a run to ask a terminal for a key."""
    from wandb.sdk.lib import wbauth

    host = wandb.setup().settings.base_url
    if wbauth.authenticate_session(host=host, source="lm_research", prompt=False) is None:
        raise RuntimeError(
            "no API key. Run `wandb login` or set WANDB_API_KEY, or choose tracking=offline"
        )


@contextlib.contextmanager
def environment_kept() -> Iterator[None]:
    """Put the WANDB_* variables back as they were, and keep wandb's error reports at home.

    Those go to the server even from a run that fails to start, and can hold up the end of the
    process by half a minute; who wants them sets WANDB_ERROR_REPORTING.
    """
    before = {key: value for key, value in os.environ.items() if key.startswith("WANDB")}
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        yield
    finally:
        for key in [key for key in os.environ if key.startswith("WANDB") and key not in before]:
            del os.environ[key]
        os.environ.update(before)


def end_bounded(patience_s: float = END_S) -> None:
    """Start the SDK's service, and wait for its end no longer than this when the process ends.

    The service sends what it is given, and the SDK waits for it without a limit; after a server
    that did not answer it has been seen to go on for minutes (wandb 0.31, once in forty trials).
    What is cut off is what the limits of the runs have given up already, and a sync brings it.

    Args:
        patience_s: seconds from the moment at which this process has nothing left to do.
    """
    import wandb

    owned: Any = wandb.setup().ensure_service()._proc  # None: another process has started it
    if owned is None or owned._process.pid in _watched:
        return
    service: subprocess.Popen[bytes] = owned._process
    _watched.add(service.pid)
    ending = threading.Event()
    atexit.register(ending.set)  # handlers run last in, first out: this before the SDK's

    def watch() -> None:
        ending.wait()
        try:
            service.wait(patience_s)
        except subprocess.TimeoutExpired:
            _log.warning("W&B: its service did not end within %g s and was stopped", patience_s)
            service.kill()

    threading.Thread(target=watch, name="W&B's end", daemon=True).start()
