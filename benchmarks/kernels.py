"""Are the fused recurrent kernels right, and how fast are they?

    python benchmarks/kernels.py check --device cpu            # interpreter, compiled, compiler
    python benchmarks/kernels.py ptx --target sm_90            # compiled, executed on the CPU
    python benchmarks/kernels.py check --device cuda           # natively: races, long, huge
    python benchmarks/kernels.py speed --device cuda --quick   # a subset of the grid
    python benchmarks/kernels.py speed --device cuda --quick --warm --resume --seconds 540
    python benchmarks/kernels.py speed --device cpu            # dry run: the code, not the kernels
    python benchmarks/kernels.py report                        # tables and plot from the CSV alone
    python benchmarks/kernels.py table                         # what dispatch goes by, from the CSV

`check` and `ptx` exit with 1 if anything does not hold. `speed` writes CSV, a plot and a table into
benchmarks/results/, `table` what dispatch goes by into lm_research/kernels/measured/. What needs a
GPU (check --device cuda, speed --device cuda, and the adapters of FlashRNN, TorchRL and haste) has
not yet run on one.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


PARTS = {
    "cpu": ("interpreter", "loss", "compiled", "ahead-of-time"),
    "cuda": (
        "native",
        "long",
        "huge",
        "sanitizer",
        "spread",
        "gluon",
        "wavefront",
        "loss",
        "shared",
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
    check.add_argument("--only", help=" or ".join(map(", ".join, PARTS.values())))
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
        "--warm", action="store_true", help="compile on all cores first: no first-call times"
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
    if arguments.only not in (None, *parts):
        print(f"--only {arguments.only}: on {arguments.device} there are {parts}", file=sys.stderr)
        return 2
    if arguments.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton
        from kernel_suite import check

        return check.main(arguments.only, arguments.whole)
    os.environ.pop("TRITON_INTERPRET", None)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # bitwise equal weight gradients
    from kernel_suite import check_gpu

    return check_gpu.main(arguments.only)


def run_ptx(arguments: argparse.Namespace) -> int:
    os.environ.pop("TRITON_INTERPRET", None)
    from kernel_suite.ptx import check

    return check.main(arguments.target, arguments.whole, arguments.weakened)


def run_speed(arguments: argparse.Namespace) -> int:
    os.environ.pop("TRITON_INTERPRET", None)
    from kernel_suite import speed

    # An empty cache, or the first call's time would not be the compiler's.
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        return speed.main(
            device=arguments.device,
            quick=arguments.quick,
            resume=arguments.resume,
            seconds=arguments.seconds,
            only=arguments.contenders,
            folder=arguments.out or _folder(arguments.device),
            warmed=arguments.warm and arguments.device == "cuda",
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


def main() -> int:
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
