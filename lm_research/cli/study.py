"""``lm-research study NAME``: the sweeps of one question, in order, and a page of the answers."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lm_research.analysis.study_page import Part, StudyPage
from lm_research.analysis.sweep import as_sweep
from lm_research.cli.report import ReportError
from lm_research.cli.sweep import Study, planned_study, run_study
from lm_research.cli.tell import tell
from lm_research.config.paths import study_files
from lm_research.config.problems import ConfigError, Problem, closest, listing
from lm_research.config.study_file import StudyFile, StudyPart, find_study
from lm_research.studies.states import standings

HELP = """usage: lm-research study NAME [part=SWEEP,...] [output=FOLDER] [GROUP.FIELD=VALUE] ...
       lm-research study --list

Runs the sweeps that experiments/NAME/study.yaml names, one after the other, and writes one page
with their answers, tables and figures. Started again, it skips what is done and goes on with what
was cut. Each part is a sweep like any other: lm-research sweep sweep=PART.

  part=study_units     these parts alone; the page says of all of them what is there
  --page               runs nothing: the page, from what is there
  --smoke              all of it at a size of minutes, in runs/study_smoke: numbers mean nothing
  output=FOLDER        runs into FOLDER/PART, the page into FOLDER/page
                       (default: runs/PART, and experiments/NAME/results)

Anything else is an override of every part: seed=1,2,3,4,5 or hydra/launcher=basic."""
FLAGS = ("--page", "--smoke")
SMOKE_OUTPUT = "runs/study_smoke"
SMOKE_NOTE = "A smoke run: it shows that all parts fit together. No number here means anything."


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    Attributes:
        chosen: the parts to run.
        output: of everything; None: where each part's own file says.
        overrides: of every part.
    """

    name: str
    file: StudyFile
    chosen: tuple[str, ...]
    output: str | None
    overrides: tuple[str, ...]
    page_only: bool = False
    smoke: bool = False

    @property
    def page_folder(self) -> Path:
        """Where the page goes."""
        if self.output is not None:
            return Path(self.output) / "page"
        return Path.cwd() / "experiments" / self.name / "results"

    def arguments(self, part: StudyPart) -> list[str]:
        """The command line of ``lm-research sweep`` that is this part."""
        place = [] if self.output is None else [f"output={self.output}/{part.sweep}"]
        smoke = self.file.smoke if self.smoke else []
        return [f"sweep={part.sweep}", *smoke, *place, *self.overrides]


def run(arguments: list[str]) -> int:
    """Run and report a study; 1 if a run is not done in the end."""
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    if arguments == ["--list"]:
        for name in study_files():
            print(f"{name}: {find_study(name).title}")
        return 0
    asked = request(arguments)
    planned = {part.sweep: planned_study(asked.arguments(part)) for part in asked.file.parts}
    code = 0
    for name in () if asked.page_only else asked.chosen:
        tell(f"lm-research study: {name}")
        study = planned[name]
        code = max(code, run_study(study, study.planned, retry=False, reported=False))
    print(f"page: {write_page(asked, planned)}")
    return code


def request(arguments: Sequence[str]) -> Request:
    """Read the command line.

    Raises:
        ConfigError: no such study, or no such part of it.
    """
    names = [text for text in arguments[:1] if "=" not in text and not text.startswith("-")]
    if not names:
        allowed = f"study NAME, of {listing(study_files())}"
        raise ConfigError([Problem("study", "must be named first", None, allowed)])
    file = find_study(names[0])
    rest = [text for text in arguments[1:] if text not in FLAGS]
    parts = _values(rest, "part")
    smoke = "--smoke" in arguments
    output = (_values(rest, "output") or [SMOKE_OUTPUT if smoke else None])[-1]
    kept = tuple(text for text in rest if not text.startswith(("part=", "output=")))
    chosen = _chosen(file, [name for text in parts for name in str(text).split(",")])
    return Request(names[0], file, chosen, output, kept, "--page" in arguments, smoke)


def _values(arguments: Sequence[str], key: str) -> list[str | None]:
    return [text.partition("=")[2] for text in arguments if text.startswith(f"{key}=")]


def _chosen(file: StudyFile, names: Sequence[str]) -> tuple[str, ...]:
    """The parts of these names, in the file's order; all without any."""
    known = [part.sweep for part in file.parts]
    if unknown := [name for name in names if name not in known]:
        near = closest(unknown[0], known)
        raise ConfigError(
            [Problem("part", "is none of the study's", unknown[0], listing(known), near)]
        )
    return tuple(name for name in known if name in names or not names)


def write_page(asked: Request, planned: dict[str, Study]) -> Path:
    """The page from whatever of the study is done; returns its path.

    Raises:
        ReportError: runs that cannot be compared, or no place to write to.
    """
    try:
        parts = [_part(part, planned[part.sweep], asked) for part in asked.file.parts]
        note, command = (SMOKE_NOTE if asked.smoke else ""), _command(asked)
        page = StudyPage(asked.file.title, asked.file.question, command, parts, note)
        return page.write(asked.page_folder)
    except (OSError, ValueError) as error:
        raise ReportError(str(error)) from error


def _part(part: StudyPart, study: Study, asked: Request) -> Part:
    from lm_research.analysis.study import analyse
    from lm_research.cli.runs import recorded

    found = []
    with suppress(FileNotFoundError):  # nothing of it has run yet
        found = recorded(study.folder)
    states = standings(study.folder, [one.job for one in study.planned])
    missing = tuple(one.job.folder for one in states if one.state != "done")
    wanted = {one.job.folder for one in states}
    runs = [one for one in found if one.folder.name in wanted]
    analysed = analyse(runs, as_sweep(study.node, study.folder.name))
    command = shlex.join(["lm-research", "sweep", *_shown(asked, part)])
    ratios = next(iter(part.ratios.items()), None)
    return Part(analysed, command, len(states), missing, ratios, part.against)


def _shown(asked: Request, part: StudyPart) -> list[str]:
    """A part's command without places of this machine."""
    texts = asked.arguments(part)
    return [text for text in texts if not text.startswith(("output=", "cache=", "downloads="))]


def _command(asked: Request) -> str:
    smoke = ["--smoke"] if asked.smoke else []
    places = ("cache=", "downloads=")
    kept = [text for text in asked.overrides if not text.startswith(places)]
    return shlex.join(["lm-research", "study", asked.name, *smoke, *kept])
