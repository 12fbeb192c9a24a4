"""Whether what is compared was measured on the same text, by the digests that runs recorded.

``data.json`` has the digest of a run's own validation text in ``splits.validation.text_sha256``,
and that of each other source it was scored on in ``evaluated.SOURCE.text_sha256``. The digest is
the same under all tokenizers and vectorizers, and another under other cleaning, splits or caps.
"""

from collections.abc import Sequence

from lm_research.analysis.metric import Metric
from lm_research.analysis.runs import Run
from lm_research.analysis.settings import Setting
from lm_research.config.choices import mapping

LONGEST_VALUE = 40  # characters
Versions = dict[str, list[Setting]]
"""Digest of a text -> the settings that were scored on it."""


def evaluated_texts(run: Run) -> dict[str, str]:
    """Source -> digest of its validation text, as this run was scored on it; where recorded."""
    own = mapping(mapping(run.data.get("splits")).get("validation"))
    others = mapping(run.data.get("evaluated"))
    found = {str(name): mapping(other).get("text_sha256") for name, other in others.items()}
    found[run.source] = own.get("text_sha256") or found.get(run.source)
    return {name: str(digest) for name, digest in found.items() if digest}


def versions(settings: Sequence[Setting]) -> dict[str, Versions]:
    """For each source the different validation texts that settings were scored on."""
    found: dict[str, Versions] = {}
    for setting in settings:
        texts = {pair for run in setting.runs for pair in evaluated_texts(run).items()}
        for source, digest in sorted(texts):
            found.setdefault(source, {}).setdefault(digest, []).append(setting)
    return found


def text_warnings(settings: Sequence[Setting], metric: Metric) -> list[str]:
    """One sentence for each source that was scored in more than one version."""
    return [
        f"The validation text of {source} is not the same in all runs: {len(texts)} versions"
        f"{_told_by(texts)}. {metric.label.capitalize()} compares only within one version; equal "
        "cleaning, splits and budget.eval_bytes give equal text."
        for source, texts in versions(settings).items()
        if len(texts) > 1
    ]


def _told_by(texts: Versions) -> str:
    """ " (by text: byte, bpe | web)": the axis, if one does, whose values part the versions."""
    groups = list(texts.values())
    for axis in groups[0][0].axes:
        values = [dict.fromkeys(setting[axis] for setting in group) for group in groups]
        if len({value for group in values for value in group}) == sum(map(len, values)):
            return f" (by {axis}: {' | '.join(', '.join(map(_short, group)) for group in values)})"
    return ""


def _short(value: str) -> str:
    """A list of rules as an axis's value would fill the line."""
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
