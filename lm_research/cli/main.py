"""``lm-research VERB ...``: find the verb, import it, run it; say errors in a few lines."""

import importlib
import os
import sys

from lm_research import __version__
from lm_research.cli.imports import put_off_scipy_signal
from lm_research.cli.tell import guard_logs, tell, tell_error
from lm_research.config.build import EXTRA
from lm_research.config.problems import ConfigError, closest

VERBS = {
    "train": "train one run, or several with -m (Hydra overrides)",
    "evaluate": "score a finished run on a source: evaluate run=FOLDER [data=OPTION]",
    "generate": 'continue a prompt: generate run=FOLDER prompt="..."',
    "predict": "classes, tags or texts: predict run=FOLDER input=FILE (not of a language model)",
    "serve": "try a run by hand on a local web page: serve run=FOLDER",
    "export": "a run for others, as safetensors, TorchScript, ONNX: export run=FOLDER output=DIR",
    "sweep": "run a study of sweeps/: sweep sweep=demo",
    "study": "several sweeps and their page: study vectorization_and_sources",
    "tune": "search a study's space with Optuna: tune sweep=tune_lstm",
    "reproduce": "a paper's numbers, run and judged: reproduce kneser_ney_ptb, or --list",
    "watch": "the report of runs at work, on a local web page: watch runs=FOLDER",
    "report": "tables and an HTML page: report runs=FOLDER, or sweep=NAME",
    "runs": "runs list | show | compare | export",
    "sync": "bring runs to W&B, each whole and once: sync FOLDER",
    "dashboard": "a study's dashboard in W&B: dashboard sweep=demo [--save]",
    "data": "data list | show | audit | contamination",
    "bench": "speed on this machine, beside PyTorch and Keras: bench founding_example",
    "doctor": "what this installation and machine can do",
}
HELP_ALONE = {"train": "train_help"}
"""Modules of verbs whose imports take too long for a look at their options."""
USAGE_ERROR = 2


def usage() -> str:
    """The help text."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:{width}}  {text}" for name, text in VERBS.items())
    return (
        "usage: lm-research VERB [GROUP=OPTION] [GROUP.FIELD=VALUE] ...\n\n"
        f"{verbs}\n\nlm-research VERB --help tells more. Version {__version__}."
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exits with the verb's code (2: the command was wrong, nothing was started)."""
    args = sys.argv[1:] if arguments is None else arguments
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        sys.exit(0 if args else USAGE_ERROR)
    if args[0] == "--version":
        print(__version__)
        sys.exit(0)
    if args[0] not in VERBS:
        near = closest(args[0], VERBS)
        hint = f"; did you mean `{near}`?" if near else ""
        tell(f"lm-research: there is no verb `{args[0]}`{hint}\n\n{usage()}")
        sys.exit(USAGE_ERROR)
    if os.environ.get(EXTRA) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # own code may lie in the working folder, as for `python -m`
    guard_logs()
    put_off_scipy_signal()
    asked = {"-h", "--help"} & set(args)
    module = HELP_ALONE.get(args[0], args[0]) if asked else args[0]
    verb = importlib.import_module(f"lm_research.cli.{module}")
    try:
        sys.exit(verb.run(args[1:]))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        tell_error(args[0], error)
        sys.exit(USAGE_ERROR if isinstance(error, ConfigError) else 1)
