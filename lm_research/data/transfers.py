"""One file from one address: resumed where a connection broke, retried, with a progress bar."""

import time
from pathlib import Path
from typing import Any

ATTEMPTS = 4
PAUSE_S = 1.0
"""Before the second attempt; twice as long before each further one."""
TIMEOUT_S = 30.0
"""Without a byte, after which a connection counts as broken."""
CHUNK = 1 << 16
_WORTH_ANOTHER = {408, 425, 429, 500, 502, 503, 504}
_RANGE_NOT_SATISFIABLE = 416


class TransferError(Exception):
    """An address that did not give its file; says why in one line.

    ``unreachable`` says that its server did not answer at all.
    """

    def __init__(self, message: str, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class Bar:
    """What ``pooch`` tells of a transfer, shown by ``rich``.

    Args:
        progress: a ``rich.progress.Progress``.
        name: of the file.
    """

    def __init__(self, progress: Any, name: str) -> None:
        self.progress = progress
        self.task = progress.add_task(name, total=None)
        self.offset = 0
        """bytes that were here before"""

    @property
    def total(self) -> int | None:
        """Bytes of the whole file, or None."""
        total: float | None = self.progress.tasks[self.task].total
        return None if total is None else int(total)

    @total.setter
    def total(self, remaining: int) -> None:
        """What the server says of the bytes to come; 0 where it does not."""
        whole = self.offset + remaining if remaining else None
        self.progress.update(self.task, total=whole, completed=self.offset)

    def update(self, amount: int) -> None:
        """``amount`` more bytes."""
        self.progress.advance(self.task, amount)

    def reset(self) -> None:
        """Back to where this attempt began."""
        self.progress.update(self.task, completed=self.offset)

    def close(self) -> None:
        """Nothing to do: the bars end together."""


def transfer(
    url: str, part: Path, bar: Bar, attempts: int = ATTEMPTS, pause_s: float = PAUSE_S
) -> bool:
    """Bring the content of ``url`` into the file ``part``, after the bytes that it has already.

    Servers that know no ranges begin anew. The file stays when an attempt fails, for the next one.

    Returns:
        Whether the content begins with bytes of an earlier call: they may be another edition's.

    Raises:
        TransferError: every attempt failed, or the server has no such file.
    """
    import requests

    resumed = part.exists() and part.stat().st_size > 0
    for attempt in range(attempts):
        try:
            return _attempt(url, part, bar) and resumed
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status == _RANGE_NOT_SATISFIABLE:
                part.unlink()  # longer than the file there: another one
                resumed = False
            elif status not in _WORTH_ANOTHER:
                raise TransferError(f"the server answers {status} {_reason(error)}") from None
            failure: Exception = error
        except requests.RequestException as error:
            failure = error
        if attempt + 1 < attempts:
            time.sleep(pause_s * 2**attempt)
    begun = part.stat().st_size > 0
    if not begun:
        part.unlink()
    unreachable = isinstance(failure, requests.ConnectionError) and not begun
    raise TransferError(_short(failure), unreachable) from failure


def _attempt(url: str, part: Path, bar: Bar) -> bool:
    """One request; True if its answer went on where the file ended."""
    from pooch import HTTPDownloader

    with part.open("ab") as file:
        bar.offset = file.tell()
        # Compressed on the way, lengths and ranges would be of the compressed bytes.
        headers = {"Accept-Encoding": "identity"}
        if bar.offset:
            headers["Range"] = f"bytes={bar.offset}-"

        def look(response: Any, *args: Any, **kwargs: Any) -> None:
            if response.status_code == 200:
                file.truncate(0)  # the whole file comes
                bar.offset = 0
            if response.ok and response.headers.get("Content-Type", "").startswith("text/html"):
                raise TransferError("the server sent a web page, not the file")

        downloader = HTTPDownloader(
            progressbar=bar,
            chunk_size=CHUNK,
            headers=headers,
            hooks={"response": look},
            timeout=TIMEOUT_S,
        )
        downloader(url, file, None)
        return bar.offset > 0


def _reason(error: Any) -> str:
    return (error.response.reason or "") if error.response is not None else ""


def _short(error: Exception) -> str:
    """What went wrong, without the layers around it: "Failed to resolve 'example.org'"."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", None) or cause
    text = " ".join(str(cause).split()).rpartition("): ")[2] or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"
