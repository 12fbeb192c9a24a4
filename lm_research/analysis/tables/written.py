"""Of runs that write texts: which setting writes better, and examples of what was written."""

from collections.abc import Iterator
from importlib.util import find_spec

from lm_research.analysis.metric import Metric
from lm_research.analysis.settings import Setting
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table, plus_minus
from lm_research.analysis.written import Written, same_documents, written_of

EXAMPLES = 8
LONGEST = 400
"""Characters of a text that an example shows."""
SCORES = {"bleu": ("bleu", "chrf"), "rougeL": ("rouge1", "rouge2", "rougeL")}
PACKAGES = {"bleu": "sacrebleu", "rougeL": "rouge_score"}
NOTES = (
    "On the validation split. Difference: of the setting's first seed and the best one's, with the "
    "95 % interval and the two-sided p of a paired bootstrap over documents (Koehn 2004), not "
    "corrected for the number of rows.",
)


def written_tables(study: Study) -> list[Table]:
    """For each source: scores of each setting against the best one, and examples of the best."""
    return [table for source in study.sources for table in _tables(study, source)]


def _tables(study: Study, source: str) -> Iterator[Table]:
    found = [(s, w) for s in study.of_source(source) if (w := written_of(s.runs[0])) is not None]
    if not found:
        return
    best = found[0][0]
    deciding = next(name for name in SCORES if _has(best, name) or name == "rougeL")
    found.sort(key=lambda one: -(one[0].average(f"val/{deciding}") or 0.0))
    yield _scores(source, found, deciding)
    setting, written = found[0]
    yield _examples(f"{source}: written by {setting.label}", written)


def _has(setting: Setting, name: str) -> bool:
    return setting.average(f"val/{name}") is not None


def _scores(source: str, found: list[tuple[Setting, Written]], deciding: str) -> Table:
    metrics = [Metric.named(f"val/{name}") for name in SCORES[deciding]]
    more = [Metric.named(f"val/{name}") for name in ("copy_rate", "novel_bigrams")]
    head = Metric.named(f"val/{deciding}").label
    columns = (
        Column("setting", numeric=False),
        *(Column(metric.label) for metric in metrics),
        Column(f"{head}: difference"),
        Column("p"),
        Column("words copied", rank=1),
        Column("new bigrams", rank=1),
    )
    rows = []
    for number, (setting, written) in enumerate(found):
        scores = [Cell(plus_minus(m, setting.estimate(m.key)), best=number == 0) for m in metrics]
        shares = [Cell(plus_minus(m, setting.estimate(m.key))) for m in more]
        compared = _difference(deciding, written, found[0][1]) if number else ("", "")
        rows.append((Cell(setting.label), *scores, *map(Cell, compared), *shares))
    return Table(f"{source}: texts that were written", columns, tuple(rows), NOTES)


def _difference(name: str, written: Written, best: Written) -> tuple[str, str]:
    """ "−1.20 (−1.90 to −0.50)" and p; what is missing where it cannot be told."""
    if not same_documents([written, best]):
        return "other documents", ""
    if find_spec(PACKAGES[name]) is None:
        return f"needs {PACKAGES[name]}", ""
    from lm_research.metrics.written import paired_bootstrap

    p, low, high = paired_bootstrap(name, written.texts, best.texts, best.targets)
    metric = Metric.named(f"val/{name}")
    return f"{metric.signed(low)} to {metric.signed(high)}", f"{p:.3f}"


def _examples(title: str, written: Written) -> Table:
    columns = tuple(Column(name, numeric=False, wide=True) for name in ("text", "true", "written"))
    texts = (written.sources, written.targets, written.texts)
    rows = zip(*(column[:EXAMPLES] for column in texts), strict=True)
    shown = [tuple(Cell(_cut(text)) for text in row) for row in rows]
    notes = (f"The first {len(shown)} validation documents, whatever became of them.",)
    return Table(title, columns, tuple(shown), notes)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
