"""Published numbers beside ours, on one page: from the files of results, and nothing else."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lm_research.analysis.metric import MISSING
from lm_research.analysis.page import write_folder
from lm_research.analysis.plots.published import course_plot, published_plot
from lm_research.analysis.plots.svg import to_svg
from lm_research.analysis.render import markdown_text, to_markdown
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.tables import Cell, Column, Table
from lm_research.config.expected import Expected, Row
from lm_research.config.visible import visible

MARK = "<!-- Written by lm-research reproduce --page: what is edited here is lost. -->"
PLOT = "published.svg"
HOW = (
    "Ours is the mean over seeds, ± half of its 95 % t-interval; of one seed, or where nothing is "
    "drawn, the value itself. A verdict compares that interval with the published number ± its "
    "tolerance; `*` marks published numbers that were recalled, to be confirmed."
)
JUDGED = ("reproduced", "better", "worse")


@dataclass(frozen=True)
class Attempt:
    """A row of a paper, as a file of results has it.

    Args:
        row: of ``expected.yaml``.
        found: of the file.
        result: the file.
        earlier: of another recipe than the row has now.
    """

    row: Row
    found: Mapping[str, Any]
    result: Mapping[str, Any]
    earlier: bool = False

    @property
    def state(self) -> str:
        """The verdict."""
        return str(self.found["state"])

    @property
    def told(self) -> str:
        """The verdict, and whether it is of what the experiment was."""
        return f"{self.state} (by an earlier recipe)" if self.earlier else self.state

    @property
    def ours(self) -> Estimate:
        """Over seeds."""
        return Estimate(**{k: self.found["ours"][k] for k in ("mean", "n", "sd", "low", "high")})

    @property
    def curve(self) -> dict[str, list[tuple[float, float]]]:
        """Seed -> (tokens read, value of the validation split), of two points or more."""
        seeds = (self.found.get("curve") or {}).get("seeds") or {}
        return {seed: points for seed, points in seeds.items() if len(points) > 1}

    @property
    def day(self) -> str:
        """When it was judged."""
        return str((self.result.get("environment") or {}).get("time", ""))[:10]


@dataclass(frozen=True)
class Reproduction:
    """A paper's experiment and what was found of it.

    Args:
        results: every file of results, the oldest first.
        recipes: row -> what its recipe is known by; results that know none are taken for its own.
    """

    name: str
    expected: Expected
    results: Sequence[Mapping[str, Any]]
    recipes: Mapping[str, str] = field(default_factory=dict)

    def attempts(self) -> Iterator[Attempt]:
        """Each row that was judged: by the file of most seeds that compares it; then the newest.

        A file of an earlier recipe speaks only where there is no other. A row that
        ``expected.yaml`` calls not comparable goes by its newest file.
        """
        for row in self.expected.rows:
            every = list(self._of(row))
            found = [attempt for attempt in every if not attempt.earlier] or every
            compared = [a for a in found if a.state in JUDGED and row.incomparable is None]
            compared.sort(key=lambda attempt: -len(attempt.found["values"]))  # stable: newest first
            yield from (compared or found)[:1]

    def _of(self, row: Row) -> Iterator[Attempt]:
        """The newest first."""
        for result in reversed(self.results):
            for found in result.get("rows") or ():
                if found["name"] == row.name and found.get("ours"):
                    now = self.recipes.get(row.name)
                    yield Attempt(row, found, result, found.get("recipe", now) != now)


@dataclass
class ReproductionsPage:
    """The page.

    Args:
        all: every experiment, in order.
    """

    all: Sequence[Reproduction]
    figures: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write ``README.md`` and its figures into ``folder``; returns the page's path.

        Raises:
            FileExistsError: a file is in the way that is none of ours.
        """
        text = self.text()
        return write_folder(folder, text, self.figures, MARK)

    def text(self) -> str:
        """The page's Markdown; its figures are in :attr:`figures` then."""
        tried = {one.name: list(one.attempts()) for one in self.all}
        every = [(name, attempt) for name, found in tried.items() for attempt in found]
        parts = [MARK, "# Published numbers and ours", self._counted(tried), HOW]
        judged = [(name, attempt) for name, attempt in every if attempt.state in JUDGED]
        if judged:
            self.figures[PLOT] = to_svg(published_plot(judged))
            parts.append(f"![Ours against the published number]({PLOT})")
        parts.append(to_markdown(_table(every), level=2).rstrip())
        for one in self.all:
            parts += self._section(one, tried[one.name])
        parts += [_waiting([one for one in self.all if not tried[one.name]])]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _counted(self, tried: Mapping[str, Sequence[Attempt]]) -> str:
        counts = Counter(attempt.state for found in tried.values() for attempt in found)
        told = ", ".join(f"{n} {state}" for state, n in counts.most_common()) or "none yet"
        run = sum(bool(found) for found in tried.values())
        return f"{run} of {len(tried)} experiments have been run; of their rows: {told}."

    def _section(self, one: Reproduction, found: Sequence[Attempt]) -> Iterator[str]:
        if not found:
            return
        yield f"## {markdown_text(one.name)}"
        yield f"{markdown_text(one.expected.paper)}. {markdown_text(one.expected.table)}."
        if any(attempt.curve for attempt in found):
            file = f"{one.name}.svg"
            self.figures[file] = to_svg(course_plot(found, one.expected.course))
            yield f"![{markdown_text(one.name)} on the way]({file})"
        told = [f"**{a.row.name}**: {a.told}: {markdown_text(a.found['why'])}" for a in found]
        told += [f"differs from the paper: {markdown_text(t)}" for t in one.expected.differs]
        yield "\n".join(f"- {text}" for text in told)
        commands = dict.fromkeys(str(attempt.result.get("command", "")) for attempt in found)
        yield "```sh\n" + "\n".join(map(visible, commands)) + "\n```"


def _table(every: Sequence[tuple[str, Attempt]]) -> Table:
    heads = ("published", "ours", "seeds", "tolerance", "seconds")
    columns = (
        Column("experiment", numeric=False), Column("row", numeric=False),
        *map(Column, heads), Column("verdict", numeric=False), Column("day", numeric=False),
    )  # fmt: skip
    rows = tuple(
        tuple(map(Cell, (name, a.row.name, *_numbers(a), a.state, a.day))) for name, a in every
    )
    return Table("Every row", columns, rows)


def _numbers(attempt: Attempt) -> Iterator[str]:
    ours, row = attempt.ours, attempt.row
    yield f"{row.published:g}{' *' if row.mark == 'M' else ''}"
    half = "" if ours.half_width is None else f" ± {ours.half_width:.2g}"
    yield f"{ours.mean:.5g}{half}"
    yield str(len(attempt.found.get("values") or ()))
    yield f"{row.tolerance:g}"
    seconds = attempt.result.get("seconds") or {}
    yield f"{sum(seconds.values()) / len(seconds):,.0f}" if seconds else MISSING


def _waiting(left: Sequence[Reproduction]) -> str:
    if not left:
        return ""
    rows = tuple(
        tuple(map(Cell, (one.name, one.expected.paper.partition(", http")[0], cost.cpu, cost.gpu)))
        for one in left
        for cost in (one.expected.cost,)
    )
    columns = (
        Column("experiment", numeric=False), Column("paper", numeric=False),
        Column("two cores"), Column("a GPU"),
    )  # fmt: skip
    return to_markdown(Table("Not yet run whole", columns, rows), level=2).rstrip()
