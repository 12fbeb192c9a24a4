"""Are the fused recurrent kernels right, and how fast are they?

    python benchmarks/kernels.py check --device cpu            # interpreter, compiled, compiler
    python benchmarks/kernels.py ptx --target sm_90            # compiled, executed on the CPU
    python benchmarks/kernels.py check --device cuda           # natively: races, long, huge
    python benchmarks/kernels.py check --device cuda --only gluon spread --seconds 540 --out DIR
    python benchmarks/kernels.py speed --device cuda --quick   # a subset of the grid
    python benchmarks/kernels.py speed --device cuda --quick --warm --resume --seconds 540 --out DIR
    python benchmarks/kernels.py speed --device cpu            # dry run: the code, not the kernels
    python benchmarks/kernels.py report                        # tables and plot from the CSV alone
    python benchmarks/kernels.py table                         # what dispatch goes by, from the CSV

From anywhere; lm_research need not be installed. `check` and `ptx` exit with 1 if anything does not
hold; `check --device cuda` with 3 if nothing failed but time was up before the last case, with 4 if
all that failed were scans saying that the GPU is not theirs alone. `speed` writes CSV, a plot and a
table into benchmarks/results/ or --out, and exits with 3 if points are left (--resume); `table`
writes what dispatch goes by into lm_research/kernels/measured/. With --out the output goes into a
log there, too; it ends with a summary of less than 12,000 characters. What needs a GPU (check
--device cuda, speed --device cuda, and the adapters of FlashRNN, TorchRL and haste) has not yet run
on one.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

STARTED = time.monotonic()
HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PARTS = {
    "cpu": ("interpreter", "loss", "compiled", "ahead-of-time"),
    "cuda": (
        "gluon",
        "spread",
        "native",
        "wavefront",
        "loss",
        "long",
        "huge",
        "shared",
        "sanitizer",
        "small",
    ),
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="right or wrong")
    check.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    check.add_argument("--whole", action="store_true", help="compile every head, not the largest")
    check.add_argument("--only", nargs="+", help=" or of ".join(map(", ".join, PARTS.values())))
    check.add_argument("--seconds", type=float, help="on a GPU: begin no case after so many")
    check.add_argument("--out", type=Path, help="on a GPU: folder of the log")
    ptx = commands.add_parser("ptx", help="right or wrong as compiled, without a GPU")
    ptx.add_argument("--target", nargs="+", default=["sm_80", "sm_90"])
    ptx.add_argument("--whole", action="store_true", help="all small cases: minutes a target")
    ptx.add_argument(
        "--weakened", action="store_true", help="is a race seen for each barrier left out?"
    )
    speed = commands.add_parser("speed", help="how fast")
    speed.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    speed.add_argument("--quick", action="store_true", help="a subset of the grid")
    speed.add_argument("--resume", action="store_true", help="skip what the CSV has")
    speed.add_argument(
        "--warm",
        action="store_true",
        help="compile on all cores first, into Triton's own cache: no first-call times",
    )
    speed.add_argument("--seconds", type=float, help="stop before so many have passed")
    speed.add_argument("--contenders", nargs="+", help="of those installed; all if not given")
    speed.add_argument("--out", type=Path, help="folder of the results")
    report = commands.add_parser("report", help="from the CSV, without measuring")
    table = commands.add_parser("table", help="what dispatch goes by, from the CSV")
    for each in (report, table):
        each.add_argument(
            "csv", type=Path, nargs="*", help="all in benchmarks/results if not given"
        )
    table.add_argument("--out", type=Path, help="folder of the tables")
    return top


def run_check(arguments: argparse.Namespace) -> int:
    parts = PARTS[arguments.device]
    if unknown := set(arguments.only or ()) - set(parts):
        told = f"--only {' '.join(sorted(unknown))}: on {arguments.device} there are {parts}"
        print(told, file=sys.stderr)
        return 2
    if arguments.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton
        from kernel_suite import check

        return check.main(arguments.only, arguments.whole)
    os.environ.pop("TRITON_INTERPRET", None)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # bitwise equal weight gradients
    from kernel_suite import check_gpu

    return check_gpu.main(arguments.only, _left(arguments.seconds), arguments.out)


def _left(seconds: float | None) -> float | None:
    """Of the time given, imports take some seconds, too."""
    return None if seconds is None else seconds - (time.monotonic() - STARTED)


def run_ptx(arguments: argparse.Namespace) -> int:
    os.environ.pop("TRITON_INTERPRET", None)
    from kernel_suite.ptx import check

    return check.main(arguments.target, arguments.whole, arguments.weakened)


def run_speed(arguments: argparse.Namespace) -> int:
    os.environ.pop("TRITON_INTERPRET", None)
    from kernel_suite import speed

    warmed = arguments.warm and arguments.device == "cuda"
    # An empty cache, or the first call's time would not be the compiler's. What is compiled
    # beforehand has no such time, and the next run need not compile it again.
    with nullcontext() if warmed else tempfile.TemporaryDirectory() as cache:
        if cache:
            os.environ["TRITON_CACHE_DIR"] = cache
        return speed.main(
            device=arguments.device,
            quick=arguments.quick,
            resume=arguments.resume,
            seconds=_left(arguments.seconds),
            only=arguments.contenders,
            folder=arguments.out or _folder(arguments.device),
            warmed=warmed,
            log=arguments.out is not None,
        )


def _folder(device: str) -> Path:
    """A dry run's figures are no results."""
    return RESULTS if device == "cuda" else Path(tempfile.mkdtemp(prefix="kernels-dry-run-"))


def _given(arguments: argparse.Namespace) -> list[Path]:
    """The CSVs named, or all there are; says if there are none."""
    found = arguments.csv or sorted(RESULTS.glob("kernels-*.csv"))
    if not found:
        print(f"no kernels-*.csv in {RESULTS}: run `speed --device cuda` first", file=sys.stderr)
    return found


def run_report(arguments: argparse.Namespace) -> int:
    from kernel_suite import report

    found = _given(arguments)
    for path in found:
        report.write(path)
    return 0 if found else 1


def run_table(arguments: argparse.Namespace) -> int:
    from kernel_suite import measured, report

    from lm_research.kernels.measured import FOLDER

    found = _given(arguments)
    for path in found:
        made = measured.write(path, report.description(path), arguments.out or FOLDER)
        print(f"wrote {made}")
    return 0 if found else 1


def reachable() -> None:
    """The repository's own lm_research and kernel_suite, here and in every process begun here."""
    folders = [str(HERE.parent), str(HERE)]
    sys.path[:] = [*folders, *(path for path in sys.path if path not in folders)]
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    rest = [path for path in before if path and path not in folders]
    os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *rest])


def main() -> int:
    reachable()
    arguments = parser().parse_args()
    commands = {
        "check": run_check,
        "ptx": run_ptx,
        "speed": run_speed,
        "report": run_report,
        "table": run_table,
    }
    return commands[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(main())
