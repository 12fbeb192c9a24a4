"""An audit as one HTML page in the report's look."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lm_research.analysis.audit_sentences import place, sentences
from lm_research.analysis.cards import data_card, emphasised, escape_lines
from lm_research.analysis.legend import legend_html
from lm_research.analysis.page import page, placed
from lm_research.analysis.palette import Encoding
from lm_research.analysis.plots.audit import divergence_plot, tags_plot, vocabulary_plots
from lm_research.analysis.render import escape, notes_html, to_html
from lm_research.analysis.tables import audit as tables

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Found = Mapping[str, Any]
DIVERGENCE = (
    "Jensen-Shannon divergence, log base 2: 0 for equal distributions, 1 for disjoint ones; point "
    "at a cell for its 95 % basic bootstrap interval over documents.",
    "In italics: between two random halves of the same source; so much shows where none differs.",
)


def audit_page(found: Found) -> str:
    """The document; ``found`` is what audit.json holds."""
    writer = _Writer(found)
    parts = [
        ("sources", "The sources", writer.sources()),
        ("copies", "Copies and leaks", writer.copies()),
        ("words", "Words", writer.words()),
        ("divergence", "How different the sources are", writer.divergence()),
        ("speech", "Parts of speech", writer.speech()),
        ("people", "People", writer.people()),
        ("licences", "Licences", to_html(tables.licences_table(found["licences"]), heading="")),
    ]
    return assembled("Data audit", ", ".join(found["sources"]), writer, parts)


def contamination_page(found: Found) -> str:
    """The document; ``found`` is what contamination.json holds."""
    writer = _Writer(found)
    table = to_html(tables.overlap_table(found["pairs"]), heading="")
    examples = "".join(
        f"<h3>{escape(row['train'])} in {escape(row['evaluate'])}</h3>"
        f"<pre>{escape_lines(row['longest_text'])}</pre>"
        for row in found["longest"]
        if row["longest_text"]
    )
    parts = [("overlap", "Overlap", table), ("longest", "The longest matches", examples)]
    names = f"{', '.join(found['train'])} against {', '.join(found['evaluate'])}"
    return assembled("Contamination", names, writer, parts)


def assembled(title: str, names: str, writer: "_Writer", parts: Sequence[Sequence[str]]) -> str:
    """Header, sentences and the parts (name, title, HTML) that are not empty."""
    held = [part for part in parts if part[2]]
    links = "".join(f'<a href="#{name}">{head}</a>' for name, head, _ in held)
    header = (
        f'<header><p class="eyebrow">lm_research · {escape(title)}</p>'
        f"<h1>{escape(names)}</h1><nav>{links}</nav></header>"
    )
    sections = [
        f'<section id="{name}"><h2>{head}</h2>{body}</section>' for name, head, body in held
    ]
    return page(
        f"{title}: {names}", header, [writer.answer(), *sections], writer.figures,
        "the documents of the sources",
    )  # fmt: skip


class _Writer:
    """Writes the sections and collects the figures that they place."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.figures: list[Figure] = []

    def place(self, figure: "Figure", min_width: int = 0) -> str:
        self.figures.append(figure)
        return placed(figure, len(self.figures) - 1, min_width)

    def answer(self) -> str:
        if "overlap" not in self.found:
            return ""
        listed = "".join(
            f'<li class="{kind}">{emphasised(text)}</li>' for kind, text in sentences(self.found)
        )
        return f'<div class="answer" id="answer"><h2>In short</h2><ul>{listed}</ul></div>'

    def sources(self) -> str:
        found = self.found["sources"]
        cards = "".join(data_card(_card(name, source)) for name, source in found.items())
        languages = to_html(tables.languages_table(found))
        return f'<div class="cards">{cards}</div>{to_html(tables.sizes_table(found))}{languages}'

    def copies(self) -> str:
        rows = self.found["overlap"]
        if not rows:
            return "<p>No text occurs twice, and none nearly so.</p>"
        return to_html(tables.copies_table(rows), heading="") + "".join(map(_examples, rows))

    def words(self) -> str:
        found = self.found["sources"]
        drawn = "".join(self.place(figure) for figure in vocabulary_plots(found))
        plots = f'{_legend(found)}<div class="facets">{drawn}</div>'
        fits = (
            "Heaps: types = K N^β; Zipf: occurrences = C rank^−s; fitted by least squares in logs."
        )
        return (
            plots + notes_html([fits]) + to_html(tables.text_table(found))
            + to_html(tables.topics_table(found))
        )  # fmt: skip

    def divergence(self) -> str:
        found = self.found["divergence"]
        if len(self.found["sources"]) < 2:
            return ""
        width = 130 + 76 * len(self.found["sources"])
        kinds = (("words", "words"), ("bytes", "pairs of neighbouring bytes"))
        drawn = "".join(self.place(divergence_plot(found[key], over), width) for key, over in kinds)
        return f'<div class="facets">{drawn}</div>{notes_html(DIVERGENCE)}'

    def speech(self) -> str:
        drawn = tags_plot(self.found["sources"])
        if drawn is None:
            return ""
        note = notes_html(
            ["Universal tags, of the first 200 kB of the sample; taggers err, each in its own way, "
             "so compare within a language."]
        )  # fmt: skip
        return f"{_legend(self.found['sources'])}{self.place(drawn, 480)}{note}"

    def people(self) -> str:
        found = self.found["sources"]
        parts = [tables.personal_table(found)] if any(s["personal"] for s in found.values()) else []
        parts += [tables.occupations_table(found), tables.groups_table(found)]
        return "".join(to_html(table) for table in parts if table.rows)


def _card(name: str, source: Found) -> dict[str, str]:
    sizes = source["splits"].values()
    documents, size = (sum(s[key] for s in sizes) for key in ("documents", "bytes"))
    sample = source["sample"]
    return {
        "source": name,
        **{k: v for k, v in source["card"].items() if v and k != "name"},
        "documents": f"{documents:,}",
        "bytes": f"{size:,}",
        "sample": f"{sample['documents']:,} documents, {sample['bytes']:,} bytes",
    }


def _legend(sources: Found) -> str:
    return legend_html(Encoding("source", tuple(sources), None, ()), lines=False)


def _examples(row: Found) -> str:
    """A few of the texts, folded away."""
    equal = "".join(f"<pre>{escape_lines(text)}</pre>" for text in row["examples"])
    near = "".join(
        f"<pre>{escape_lines(first)}\n— {jaccard:.2f} —\n{escape_lines(second)}</pre>"
        for first, second, jaccard in row["near_examples"]
    )
    if not equal and not near:
        return ""
    title = escape(f"{place(row['first'])} and {place(row['second'])}")
    heads = (
        f"{'<p>Equal</p>' + equal if equal else ''}{'<p>Nearly equal</p>' + near if near else ''}"
    )
    return f"<details><summary>Examples: {title}</summary>{heads}</details>"
