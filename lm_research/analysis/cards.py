"""What stands around the numbers, as HTML: sentences, samples, data cards."""

import html
import re
from collections.abc import Mapping
from typing import Any

from lm_research.analysis import facts
from lm_research.analysis.render import escape
from lm_research.analysis.settings import Setting
from lm_research.config.visible import visible

SAMPLE_CHARACTERS = 700


def emphasised(text: str) -> str:
    """A sentence as HTML, with what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def escape_lines(text: str) -> str:
    """Text for ``<pre>``: line ends and tabs stay, other invisible characters are shown."""
    return html.escape(visible(text.replace("\r\n", "\n"), keep="\n\t"), quote=True)


def sample_html(setting: Setting) -> str:
    """The last samples of a setting's first seed, the prompt set off; empty without one."""
    found = facts.last_samples(setting.runs)
    if found is None:
        return ""
    run, samples = found
    drawn = "".join(f"<pre>{continuation_html(sample)}</pre>" for sample in samples)
    where = f"{setting.label} · seed {run.seed} · step {samples[0].get('step', '?')}"
    return f'<div class="sample"><p>{escape(where)}</p>{drawn}</div>'


def continuation_html(sample: Mapping[str, Any]) -> str:
    """Prompt and continuation, cut to a readable length."""
    prompt, text = str(sample.get("prompt") or ""), str(sample["text"])
    if len(text) > SAMPLE_CHARACTERS:
        text = text[:SAMPLE_CHARACTERS] + " …"
    shown = f'<span class="prompt">{escape_lines(prompt)}</span>' if prompt.strip() else ""
    return shown + escape_lines(text)


def data_card(card: dict[str, str]) -> str:
    """One source's card."""
    rest = {k: v for k, v in card.items() if k not in {"source", "category", "language"}}
    badges = "".join(
        f'<span class="badge">{escape(card[k])}</span>'
        for k in ("category", "language")
        if k in card
    )
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rest.items())
    return f'<div class="card"><h3>{escape(card["source"])}{badges}</h3><dl>{items}</dl></div>'
