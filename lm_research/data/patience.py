"""A source that hangs, on a server or a disk that does not answer, is given up and named."""

import signal
import threading
from collections.abc import Generator, Iterator
from typing import Any

from lm_research.data.document import DataError, Document, Source


def in_time(source: Source, patience_s: float) -> Iterator[Document]:
    """The documents of ``source``, each within ``patience_s`` seconds.

    The alarm that interrupts what hangs is the kernel's, and rings in the main thread alone;
    elsewhere a source may take its time.

    Raises:
        DataError: the next document has not come in time.
    """
    if threading.current_thread() is not threading.main_thread():
        yield from source
        return
    count = 0

    def ring(number: int, frame: Any) -> None:
        raise DataError(
            f"data={source.name}: no document for {patience_s:g} s, after {count:,} of them. Does "
            "its server or its disk answer? source_timeout=SECONDS waits longer; nothing was "
            "prepared yet, and the same command starts anew."
        )

    before = signal.signal(signal.SIGALRM, ring)
    documents = iter(source)
    try:
        while True:
            signal.setitimer(signal.ITIMER_REAL, patience_s)
            document = next(documents, None)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if document is None:
                return
            count += 1
            yield document
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if isinstance(documents, Generator):
            documents.close()
