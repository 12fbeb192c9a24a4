"""A web page for the person at this machine: what ``watch`` and ``serve`` share.

The server listens on the loopback address alone, and answers to its own names alone (a page
elsewhere may point a name of its own at this machine: DNS rebinding).
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"


class LocalServer(ThreadingHTTPServer):
    """Args: ``port`` (0: any that is free), and who answers."""

    daemon_threads = True

    def __init__(self, port: int, handler: type["LocalHandler"]) -> None:
        super().__init__((HOST, port), handler)
        self.names = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}


class LocalHandler(BaseHTTPRequestHandler):
    """Answers with the headers that keep a page to itself.

    Attributes:
        policy: what the page may load and ask (Content-Security-Policy).
        timeout: seconds that a connection may be silent.
    """

    server: LocalServer
    server_version = "lm-research"
    sys_version = ""
    timeout = 10
    policy = "default-src 'none'"

    def is_own(self) -> bool:
        """Whether the request is meant for this machine, and comes from this page or from none."""
        origin = self.headers.get("Origin")
        own = {f"http://{name}" for name in self.server.names}
        return self.headers.get("Host") in self.server.names and (not origin or origin in own)

    def answer(self, body: bytes, kind: str, status: int = 200) -> None:
        """Send ``body`` of the media type ``kind``."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", self.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing: a page may ask every other second."""
