"""``lm-research watch runs=FOLDER``: the report on a local web page, written anew as runs go on.

The page is for the person at this machine (see ``local_server``). Two things are served, both
read-only: the report, and the number of its edition.
"""

import io
import sys
import threading
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from lm_research.callbacks.stop_signals import INTERRUPTED
from lm_research.cli.local_server import HOST, LocalHandler, LocalServer
from lm_research.cli.options import help_text, option, parse
from lm_research.cli.tell import tell
from lm_research.config.types import NonNegativeInt, PositiveFloat
from lm_research.tracking.wandb_leet import leet_command

SUMMARY = "Serve the report of the runs at or below a folder on this machine, and keep it fresh."
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; connect-src 'self'; frame-ancestors 'none'"
)
FRESHEN = """<script>
(async () => {
  const edition = async () => (await fetch("/edition", {cache: "no-store"})).text();
  const first = await edition();
  setInterval(async () => {
    try { if (await edition() !== first) location.reload(); } catch (gone) {}
  }, 2000);
})();
</script>"""


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    runs: str = option(help="folder of a sweep, of several runs, or of one")
    port: NonNegativeInt = option(8642, "of the page; 0: any that is free")
    every: PositiveFloat = option(5.0, "seconds between two looks at the runs")


def run(arguments: list[str]) -> int:
    """Serve until Ctrl-C."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("watch", Options, SUMMARY))
        return 0
    options, _ = parse(Options, arguments)
    with TemporaryDirectory(prefix="lm-research-watch-") as place:
        edition = Edition(Path(options.runs), Path(place) / "report.html")
        edition.renew()
        try:
            server = Server(options.port, edition)
        except OSError as error:
            raise WatchError(f"port={options.port}: {error.strerror}; give another") from error
        with server:
            return _serve(server, edition, options.every)


class WatchError(Exception):
    """A page that cannot be served; says why."""


def _serve(server: "Server", edition: "Edition", every: float) -> int:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://{HOST}:{server.server_port}/  (Ctrl-C ends it)", flush=True)
    if command := leet_command(edition.runs):
        print(f"in a terminal: {command}", flush=True)
    try:
        while True:
            time.sleep(every)
            edition.renew()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        server.shutdown()


class Edition:
    """The page as it was written last.

    Args:
        runs: the folder of runs.
        file: where to write the page.
    """

    def __init__(self, runs: Path, file: Path) -> None:
        self.runs, self.file = runs, file
        self.number = 0
        self.page = _waiting(runs).encode()
        self._seen: dict[str, str] = {}

    def renew(self) -> None:
        """Write the page anew if a run has gone on; keep the last one if that fails."""
        from rich.console import Console

        from lm_research.analysis.summary import summarise
        from lm_research.cli.runs import recorded
        from lm_research.tracking.ledger.refreshing import signatures

        seen = signatures(self.runs) if self.runs.is_dir() else {}
        if seen == self._seen:
            return
        self._seen = seen
        leet_command(self.runs)  # whoever looks on sees the new runs, too
        quiet = Console(file=io.StringIO(), width=100)
        try:
            summarise(self.runs, self.file, quiet, recorded)
        except (OSError, ValueError) as error:  # runs that cannot be told together yet
            tell(f"watch: {error}", sys.stderr)
            return
        self.page = self.file.read_bytes().replace(b"</body>", FRESHEN.encode() + b"</body>", 1)
        self.number += 1


def _waiting(runs: Path) -> str:
    text = f"No run in {escape(str(runs))} yet: this page comes alive with the first."
    return f"<!doctype html><title>lm-research watch</title><body><p>{text}</p>{FRESHEN}</body>"


class Server(LocalServer):
    """Args: ``port`` (0: any), and the ``edition`` to serve."""

    def __init__(self, port: int, edition: Edition) -> None:
        self.edition = edition
        super().__init__(port, Handler)


class Handler(LocalHandler):
    """Two pages, for this machine's own browser."""

    server: Server
    policy = POLICY

    def do_GET(self) -> None:  # noqa: N802 - the base class' name
        """The report, or the number of its edition."""
        if not self.is_own():
            self.send_error(403, "this page is for this machine alone")
        elif self.path == "/":
            self.answer(self.server.edition.page, "text/html; charset=utf-8")
        elif self.path == "/edition":
            self.answer(str(self.server.edition.number).encode(), "text/plain")
        else:
            self.send_error(404)
