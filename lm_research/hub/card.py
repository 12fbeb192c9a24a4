"""The model card of an exported run: README.md, with the facts that the run recorded.

The scores are copied from the run's summary.json and the data's facts from its data.json; the card
adds no judgement of its own.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from lm_research import __version__
from lm_research.cli.saved import SavedRun
from lm_research.config.visible import visible
from lm_research.hub.folder import exported_config
from lm_research.tasks.classification import Classification
from lm_research.tasks.sequence_to_sequence import SequenceToSequence

GROUPS = ("test", "val", "evaluation", "baseline")
FACTS = ("source", "language", "category", "licence", "citation", "fingerprint")
NO_LICENCE = (
    "No licence has been chosen for these weights. What the licence of the training text below "
    "asks of a model differs by country: settle it before you hand this folder on, and set "
    "`license` at the top (or export with `license=`)."
)


def card(
    saved: SavedRun, files: Mapping[str, Mapping[str, Any]], licence: str | None, checkpoint: str
) -> str:
    """The text of README.md.

    Args:
        files: the run's ``summary``, ``data`` and ``environment``; empty where a file is missing.
        licence: of the weights, an SPDX identifier.
        checkpoint: which of the run's weights these are.
    """
    name = str(saved.config.get("data", {}).get("name", "data"))
    model = saved.config["model"]["_target_"].rpartition(".")[2]
    head = {
        "library_name": "lm-research",
        "license": (licence or "unknown").lower(),
        "language": _languages(files["data"]),
        "pipeline_tag": pipeline(saved),
        "tags": ["lm-research", model, saved.config["vectorizer"]["_target_"].rpartition(".")[2]],
        "model-index": _index(f"{model} on {name}", saved, files, name),
    }
    sections = [
        f"# {_plain(model)} on {_plain(name)}",
        f"{_what(saved)}\n\nWeights: the run's checkpoint `{checkpoint}`.",
        "## Use\n\n" + _use(saved),
        "## Training data\n\n" + _table(("fact", "value"), _facts(files["data"])),
        "## Scores\n\n" + _scores(files["summary"]),
        "## Licence\n\n" + (f"The weights: {licence}." if licence else NO_LICENCE),
        "## Configuration\n\n```yaml\n" + _yaml(exported_config(saved)["run"]) + "```",
        "## Made with\n\n" + _table(("package", "version"), _versions(files["environment"])),
    ]
    return f"---\n{_yaml(head)}---\n\n" + "\n\n".join(sections) + "\n"


def pipeline(saved: SavedRun) -> str:
    """Hugging Face's name of what the model is for."""
    if isinstance(saved.model, Classification):
        return "text-classification"
    if isinstance(saved.model, SequenceToSequence):
        return saved.model.kind
    return "text-generation"


def _what(saved: SavedRun) -> str:
    kind = pipeline(saved).replace("-", " ")
    task = saved.config["task"]["_target_"].rpartition(".")[2]
    classes = f"\nIts classes: {', '.join(map(_plain, c))}." if (c := _classes(saved)) else ""
    if isinstance(saved.model, Classification) and saved.model.several:
        classes += "\nA text is of those whose probability is above 0.5: several, or none."
    if isinstance(saved.model, Classification) and saved.model.calibrate:
        classes += f"\nIts logits are divided by {float(saved.model.temperature):.4g} (temperature "
        classes += "scaling, fitted to the validation split)."
    return (
        f"A model for {kind} (`{task}`), trained with lm_research {__version__}; "
        f"{saved.tokenizer.vocabulary_size:,} tokens in the vocabulary.{classes}"
    )


def _classes(saved: SavedRun) -> list[str]:
    return saved.model.classes if isinstance(saved.model, Classification) else []


def _use(saved: SavedRun) -> str:
    return (
        "```python\nfrom lm_research.hub import AutoModel, AutoTokenizer\n\n"
        'model = AutoModel.from_pretrained("this/folder")\n'
        'tokenizer = AutoTokenizer.from_pretrained("this/folder")\n```\n\n'
        "It needs the package `lm-research`; no code comes with this folder, and its weights are "
        "safetensors."
    )


def _languages(data: Mapping[str, Any]) -> list[str]:
    found = str(data.get("language") or "")
    return [found] if found else []


def _facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [(field, str(data[field])) for field in FACTS if data.get(field)]
    splits = data.get("splits")
    for name, split in splits.items() if isinstance(splits, dict) else ():
        sizes = [f"{split[k]:,} {k}" for k in ("documents", "tokens", "bytes") if k in split]
        facts.append((name, ", ".join(sizes)))
    return facts


def _numbers(summary: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The scores of the summary, the test split's first."""
    rows = [
        (name, value)
        for name, value in summary.items()
        if name.split("/")[0] in GROUPS and isinstance(value, int | float)
    ]
    return sorted(rows, key=lambda row: GROUPS.index(row[0].split("/")[0]))


def _scores(summary: Mapping[str, Any]) -> str:
    rows = [(name, f"{value:.6g}") for name, value in _numbers(summary)]
    if not rows:
        return "The run recorded none."
    return "As the run recorded them (summary.json).\n\n" + _table(("score", "value"), rows)


def _index(
    title: str, saved: SavedRun, files: Mapping[str, Mapping[str, Any]], data: str
) -> list[dict[str, Any]]:
    metrics = [{"type": n, "value": v} for n, v in _numbers(files["summary"])]
    result = {
        "task": {"type": pipeline(saved)},
        "dataset": {"name": data, "type": data},
        "metrics": metrics,
    }
    return [{"name": title, "results": [result] if metrics else []}]


def _versions(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = environment.get("versions")
    found = {k: str(v) for k, v in versions.items()} if isinstance(versions, dict) else {}
    return list(({"lm-research": __version__} | found).items())


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [head, ("---", "---"), *((_plain(a), _plain(b)) for a, b in rows)]
    return "\n".join(f"| {left} | {right} |" for left, right in lines)


def _plain(text: str) -> str:
    """One line of text that Markdown takes for nothing else."""
    shown = visible(" ".join(text.split()))
    for character in "\\`*[]<>|#":
        shown = shown.replace(character, f"\\{character}")
    return shown


def _yaml(values: Any) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
