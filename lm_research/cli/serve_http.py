"""The page of a served run, and its API: GET /, GET /api, POST /api/WAY with a JSON object.

A mistake is answered as ``{"error": {"message": ..., "problems": [{"field": ...}]}}``, with 400,
403, 404, 411, 413, 415 or 503; whatever goes wrong in a request stays in that request.
"""

import json
import math
import sys
from functools import cache
from importlib import resources
from typing import Any

from lm_research.cli.local_server import LocalHandler, LocalServer
from lm_research.cli.serve_answers import BusyError, Trial
from lm_research.cli.serve_fields import MOST_BYTES, MOST_CHARACTERS
from lm_research.cli.tell import tell
from lm_research.config.problems import ConfigError, Problem

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGES = {
    "/": ("text/html", ("lm_research.cli/serve.html",)),
    "/page.js": ("text/javascript", ("lm_research.cli/serve.js",)),
    "/page.css": ("text/css", ("lm_research.analysis/page.css", "lm_research.cli/serve.css")),
}


class TrialServer(LocalServer):
    """Args: ``port`` (0: any), and the ``trial`` to serve."""

    def __init__(self, port: int, trial: Trial) -> None:
        self.trial = trial
        super().__init__(port, TrialHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor that went away is none; others are told on the terminal."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            tell(f"serve: {type(error).__name__}: {error}")


class RequestError(Exception):
    """A request that is refused before it reaches the model."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class TrialHandler(LocalHandler):
    """See the module."""

    server: TrialServer
    policy = POLICY

    def do_GET(self) -> None:  # noqa: N802 - the base class' name
        """The page and its parts; what the run is."""
        if not self.is_own():
            self._refuse(RequestError(403, "this page is for this machine alone"))
        elif self.path in PAGES:
            kind, files = PAGES[self.path]
            self.answer(_read(files), f"{kind}; charset=utf-8")
        elif self.path == "/api":
            self._json({**self.server.trial.facts(), "most_characters": MOST_CHARACTERS})
        else:
            self._refuse(RequestError(404, "there is no such page"))

    def do_POST(self) -> None:  # noqa: N802 - the base class' name
        """What the run says."""
        try:
            way, values = self._asked()
            self._json(self.server.trial.answer(way, values))
        except RequestError as error:
            self._refuse(error)
        except ConfigError as error:
            rows = [_problem(problem) for problem in error.problems]
            self._json({"error": {"message": _told(rows), "problems": rows}}, 400)
        except BusyError as error:
            self._refuse(RequestError(503, str(error)))
        except OSError:  # the visitor went away, or never said the rest
            self.close_connection = True
        except Exception as error:  # a fault of ours must not look like an answer, nor end the page
            tell(f"serve: {type(error).__name__}: {error}")
            self._refuse(RequestError(500, f"the run failed at this ({type(error).__name__})"))

    def _asked(self) -> tuple[str, Any]:
        """The way, and the JSON value of the body."""
        if not self.is_own():
            raise RequestError(403, "this page is for this machine alone")
        body = self._body()
        way = self.path.removeprefix("/api/")
        if not self.path.startswith("/api/") or way not in self.server.trial.ways:
            ways = ", ".join(f"/api/{name}" for name in self.server.trial.ways)
            raise RequestError(404, f"there is no such address; this run has {ways}")
        if self.headers.get_content_type() != "application/json":
            raise RequestError(415, "Content-Type must be application/json")
        try:
            return way, json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            problem = Problem("request", "is no JSON", None, '{"text": "..."}, in UTF-8')
            raise ConfigError([problem]) from None

    def _body(self) -> bytes:
        told = self.headers.get("Content-Length", "")
        if not told.isascii() or not told.isdigit():
            raise RequestError(411, "Content-Length is missing")
        if len(told) > 9 or int(told) > MOST_BYTES:
            raise RequestError(413, f"a request has at most {MOST_BYTES:,} bytes")
        return self.rfile.read(int(told))

    def _refuse(self, error: RequestError) -> None:
        self.close_connection = True  # what was not read of it is no next request
        self._json({"error": {"message": str(error), "problems": []}}, error.status)

    def _json(self, values: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(_finite(values), ensure_ascii=True, allow_nan=False).encode()
        self.answer(body, "application/json", status)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(value: Any) -> Any:
    """With null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _problem(problem: Problem) -> dict[str, str]:
    found = {"field": problem.field, "message": problem.message, "value": problem.value}
    found |= {"allowed": problem.allowed, "closest": problem.closest}
    return {name: text for name, text in found.items() if text is not None}


def _told(rows: list[dict[str, str]]) -> str:
    parts = []
    for row in rows:
        allowed = f" (allowed: {row['allowed']})" if "allowed" in row else ""
        parts.append(f"{row['field']} {row['message']}{allowed}")
    return "; ".join(parts)


@cache
def _read(files: tuple[str, ...]) -> bytes:
    """Files of the package, one after the other."""
    parts = (name.split("/") for name in files)
    return b"\n".join(resources.files(p).joinpath(name).read_bytes() for p, name in parts)
