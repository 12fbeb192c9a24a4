"""A server on loopback for downloads, with the faults that public ones have."""

import contextlib
import http.server
import threading
import time
from collections import Counter
from collections.abc import Iterator


class FileServer:
    """Serves ``files`` (path -> bytes) by HTTP, ranges included.

    Attributes:
        url: "http://127.0.0.1:PORT".
        requests: (path, range header or "") of each request, in order.
        drop_after: path -> bytes after which a connection breaks, one for each entry.
        status: path -> statuses to answer first, one a request.
        ranges: whether the server knows them.
        pause_s: waits so long in the middle of each body.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.drop_after: dict[str, list[int]] = {}
        self.status: dict[str, list[int]] = {}
        self.content_type = "application/octet-stream"
        self.ranges = True
        self.pause_s = 0.0
        self.url = ""

    def counts(self) -> Counter[str]:
        """Requests by path."""
        return Counter(path for path, _ in self.requests)


@contextlib.contextmanager
def serve() -> Iterator[FileServer]:
    state = FileServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.requests.append((self.path, wanted))
            self.close_connection = True
            if state.status.get(self.path):
                self.send_error(state.status[self.path].pop(0))
                return
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if not state.ranges:
                start = 0
            if start >= len(content) > 0 and wanted and state.ranges:
                self.send_error(416)
                return
            self.send_response(206 if wanted and state.ranges else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Content-Type", state.content_type)
            self.end_headers()
            body = content[start:]
            if state.drop_after.get(self.path):
                body = body[: state.drop_after[self.path].pop(0)]
            half = len(body) // 2
            with contextlib.suppress(OSError):
                self.wfile.write(body[:half])
                time.sleep(state.pause_s)
                self.wfile.write(body[half:])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
