"""``lm-research reproduce NAME``: a paper's numbers, run and judged."""

import importlib.util
import shlex
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lm_research.analysis.sweep import VERDICT
from lm_research.analysis.verdicts import Claim, Verdict, in_short, judge, judge_course
from lm_research.cli.reproduce_measured import Measured
from lm_research.cli.tell import safe, tell
from lm_research.config.expected import Expected, Row
from lm_research.config.paths import experiments
from lm_research.config.problems import ConfigError, Problem
from lm_research.studies.experiments import Experiment, find, keep_result
from lm_research.tracking.json_files import write_json

HELP = """usage: lm-research reproduce --list
       lm-research reproduce --page [output=FOLDER]
       lm-research reproduce NAME [seed=1,2,3] [GROUP=OPTION] [GROUP.FIELD=VALUE] ...

Runs the experiment experiments/NAME under its seeds and judges each published number: reproduced,
better, worse or not comparable, by the 95 % interval over seeds and the tolerance that
expected.yaml gives reasons for. Started again, it runs what is not done. Every call writes one
file into experiments/NAME/results, and none is ever written over. --page writes one page of them
all, published beside ours, with figures and learning curves (default: reports/reproductions).

  seed=1,2,3                    these seeds, in place of expected.yaml's
  budget.train_tokens=929600    less than the paper: on or off the recorded course, never a verdict
  output=FOLDER                 of the runs (default: runs/reproduce/NAME)
  hydra/launcher=joblib         several runs at a time

Any other override makes the result "not comparable". Exit status: 0 all reproduced or better,
1 not, 2 the command was wrong, 3 a partial budget on its course or without one."""
PARTIAL = 3
COURSE = "course"
STYLES = {
    "reproduced": "green", "better": "green", "on course": "green", "worse": "red",
    "off course": "red", "not comparable": "yellow", "no verdict": "yellow",
}  # fmt: skip
Outcomes = dict[str, Verdict]


def run(arguments: list[str]) -> int:
    """Run and judge an experiment, or list them all."""
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    if "--list" in arguments:
        from lm_research.cli.reproduce_list import show

        show(Console())
        return 0
    if "--page" in arguments:
        from lm_research.cli.reproduce_page import write

        print(f"page: {write([text for text in arguments if text != '--page'])}")
        return 0
    names = [text for text in arguments[:1] if "=" not in text and not text.startswith("-")]
    if not names:
        allowed = f"reproduce NAME, of {', '.join(experiments()) or 'none'}; or --list, --page"
        raise ConfigError([Problem("experiment", "must be named first", None, allowed)])
    return _reproduce(find(names[0]), arguments[1:])


def _reproduce(experiment: Experiment, arguments: Sequence[str]) -> int:
    if experiment.method is not None:
        from lm_research.cli import reproduce_method as way
    else:
        from lm_research.cli import reproduce_runs as way  # type: ignore[no-redef]
    measured: Measured = way.measure(experiment, arguments)
    if measured.undone:
        tell(f"lm-research reproduce: {measured.undone} runs are not done, so there is no verdict")
        return 1
    outcomes = judged(experiment.expected, measured)
    print_outcomes(experiment, measured, outcomes, Console())
    stamp, values = _result(experiment, measured, outcomes, arguments)
    write_json(measured.folder / VERDICT, values)  # for the report of the runs, and for W&B
    print(f"result: {keep_result(experiment.name, stamp, values)}")
    if measured.online:
        from lm_research.cli.sync import send_study

        send_study(measured.folder)
    return exit_status(measured, outcomes)


def judged(expected: Expected, measured: Measured) -> Outcomes:
    """Each row that was run, or the course of a partial budget.

    Another configuration is told before a smaller budget: it has no course to be on.
    """
    if measured.partial and measured.incomparable is None:
        course = expected.course
        if course is None:
            return {COURSE: Verdict("no verdict", "a partial budget, and no course is recorded")}
        seen = {tokens: list(found.values()) for tokens, found in measured.course.items()}
        curve = {point.tokens: point.value for point in course.points}
        return {COURSE: judge_course(seen, curve, course.tolerance)}
    rows = (row for row in expected.rows if row.name in measured.values)
    return {row.name: _row_verdict(expected, row, measured) for row in rows}


def _row_verdict(expected: Expected, row: Row, measured: Measured) -> Verdict:
    claim = Claim(
        row.published,
        row.tolerance,
        expected.direction == "minimize",
        row.spread,
        expected.deterministic,
    )
    reason = measured.incomparable or row.incomparable
    if reason is None and row.needs and importlib.util.find_spec(row.needs) is None:
        reason = f"the paper's is {row.needs}, which is not installed: pip install {row.needs}"
    return judge(list(measured.values[row.name].values()), claim, reason)


def exit_status(measured: Measured, outcomes: Outcomes) -> int:
    """See :data:`HELP`."""
    if COURSE in outcomes:
        return 1 if outcomes[COURSE].state == "off course" else PARTIAL
    return 0 if outcomes and all(verdict.good for verdict in outcomes.values()) else 1


def print_outcomes(
    experiment: Experiment, measured: Measured, outcomes: Outcomes, console: Console
) -> None:
    """A table, and what is not as in the paper."""
    expected = experiment.expected
    table = Table(title=Text(safe(f"{expected.paper}\n{expected.table}"), style="italic"))
    for name in ("row", "published", "ours", "seeds", "tolerance", "verdict"):
        right = name in ("published", "ours", "seeds", "tolerance")
        table.add_column(name, justify="right" if right else "left")
    for name, verdict in outcomes.items():
        row = None if name == COURSE else expected.row(name)
        values = [] if row is None else list(measured.values[name].values())
        published = "" if row is None else f"{row.published:g}{'' if row.mark != 'M' else ' *'}"
        tolerance = "" if verdict.tolerance is None else f"± {verdict.tolerance:g}"
        cells = [name, published, _ours(verdict), str(len(values) or ""), tolerance]
        table.add_row(*map(Text, map(safe, cells)), Text(verdict.state, STYLES[verdict.state]))
    console.print(table)
    for name, verdict in outcomes.items():
        if verdict.state != "reproduced":
            console.print(Text(safe(f"{name}: {verdict.state}: {verdict.why}")))
    if any(expected.row(n).mark == "M" for n in outcomes if n != COURSE):
        console.print("* recalled, not seen in a source: to be confirmed")
    for text in expected.differs:
        console.print(Text(f"differs from the paper: {safe(text)}"))


def _ours(verdict: Verdict) -> str:
    estimate = verdict.estimate
    if estimate is None:
        return ""
    half = "" if estimate.half_width is None else f" ± {estimate.half_width:.3g}"
    return f"{estimate.mean:.6g}{half}"


def _result(
    experiment: Experiment, measured: Measured, outcomes: Outcomes, arguments: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """The stamp and the content of a file of results."""
    from lm_research.tracking.environment import environment
    from lm_research.tracking.redaction import redacted_arguments

    around = environment()
    kept = ("time", "platform", "python", "cpu", "memory_bytes", "gpus", "torch", "versions")
    places = ("output=", "cache=", "downloads=")
    typed = [text for text in arguments if not text.startswith(places)]
    command = ["lm-research", "reproduce", experiment.name, *redacted_arguments(typed)]
    values = {
        "experiment": experiment.name,
        "command": shlex.join(command),
        "verdict": in_short([verdict.state for verdict in outcomes.values()]),
        "rows": [_plain(name, experiment, measured, v) for name, v in outcomes.items()],
        "seconds": {str(seed): round(s, 1) for seed, s in measured.seconds.items()},
        "data": measured.files,
        "environment": {key: around[key] for key in kept},
        "git": _git(around),
    }
    return str(around["time"])[:19].replace(":", "-"), values


def _plain(
    name: str, experiment: Experiment, measured: Measured, verdict: Verdict
) -> dict[str, Any]:
    estimate, row = verdict.estimate, None if name == COURSE else experiment.expected.row(name)
    numbers = ("mean", "sd", "low", "high", "n")
    found: dict[str, Any] = {"name": name, "state": verdict.state, "why": verdict.why}
    if row is not None:
        found |= {"metric": row.metric, "published": row.published, "mark": row.mark}
        found["recipe"] = experiment.recipe(row)
        found["values"] = {str(seed): v for seed, v in measured.values[name].items()}
        if curves := measured.curves.get(name):
            found["curve"] = {"seeds": {str(seed): curve for seed, curve in curves.items()}}
    if estimate is not None:
        found["ours"] = {number: getattr(estimate, number) for number in numbers}
    return found | {"tolerance": verdict.tolerance}


def _git(around: dict[str, Any]) -> dict[str, Any] | None:
    """Of the package where it runs from a checkout of its own, else of the working folder."""
    state = around["package_git"] or around["git"]
    return None if state is None else {k: state[k] for k in ("commit", "branch", "dirty")}
