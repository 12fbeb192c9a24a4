"""``lm-research serve run=FOLDER``: a local web page and JSON API to try a run by hand."""

from dataclasses import dataclass
from typing import Literal

from lm_research.callbacks.stop_signals import INTERRUPTED
from lm_research.cli.local_server import HOST
from lm_research.cli.options import help_text, option, parse
from lm_research.config.types import NonNegativeInt

SUMMARY = (
    "Try a finished run by hand, on a web page of this machine alone: a language model continues\n"
    "texts and shows how surprising each token is; a classifier gives classes; a model that\n"
    "translates or summarizes writes. The page's JSON API is described in docs/use.md."
)


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    run: str = option(help="folder of a finished run")
    port: NonNegativeInt = option(8643, "of the page; 0: any that is free")
    checkpoint: Literal["last", "best"] = option("last", "which weights")


class ServeError(Exception):
    """A page that cannot be served; says why."""


def run(arguments: list[str]) -> int:
    """Serve until Ctrl-C."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("serve", Options, SUMMARY))
        return 0
    options, _ = parse(Options, arguments)
    from lm_research.cli.job import quiet
    from lm_research.cli.saved import load
    from lm_research.cli.serve_answers import Trial
    from lm_research.cli.serve_http import TrialServer

    quiet()
    trial = Trial(load(options.run, options.checkpoint), options.run)
    try:
        server = TrialServer(options.port, trial)
    except (OSError, OverflowError) as error:
        told = getattr(error, "strerror", None) or "is no port"
        raise ServeError(f"port={options.port}: {told}; give another") from error
    with server:
        print(f"http://{HOST}:{server.server_port}/  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return INTERRUPTED
    return 0
