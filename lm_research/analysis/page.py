"""The report's page: one HTML file that asks the network for nothing, written atomically."""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.render import escape

MARK = "Written by lm_research"


def page(
    title: str,
    header: str,
    sections: Sequence[str],
    figures: Sequence[Figure],
    basis: str = "the recorded runs alone",
) -> str:
    """The whole document. ``header`` and ``sections`` are HTML; figures follow as data.

    ``basis`` is what it was written from, in words of ours.

    The content security policy allows the two scripts of this page by their hash and nothing else:
    no request can leave it, and markup smuggled in by a text sample could not run.
    """
    scripts = [plotly_source(), _asset("page.js")] if figures else []
    allowed = " ".join(f"'{_hash(script)}'" for script in scripts) or "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    data = "\n".join(
        f'<script type="application/json" id="figure-{index}">{_figure_json(figure)}</script>'
        for index, figure in enumerate(figures)
    )
    code = "\n".join(f"<script>{script}</script>" for script in scripts)
    body = "\n".join(sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{_asset("page.css")}</style>
</head>
<body>
{header}
<main>
{body}
</main>
<footer>{MARK} from {basis}. The file is complete: it loads
nothing.</footer>
{data}
{code}
</body>
</html>
"""


def placed(figure: Figure, index: int, min_width: int = 0) -> str:
    """The place where figure ``index`` is drawn, under its title as a caption.

    The title moves from the figure to the caption, which wraps on a phone.
    """
    title = str(figure.layout["title"]["text"])
    figure.update_layout(title={"text": ""}, margin={"t": 10})
    height = int(figure.layout["height"])
    style = f"height:{height}px" + (f";min-width:{min_width}px" if min_width else "")
    return (
        f'<figure><figcaption>{title}</figcaption><div class="scroll">'
        f'<div class="plot" data-figure="figure-{index}" style="{style}"></div></div></figure>'
    )


README = "README.md"


def write_folder(folder: Path, text: str, figures: Mapping[str, str], mark: str) -> Path:
    """Write Markdown as ``folder/README.md``, its figures (SVG) beside it; returns its path.

    Raises:
        FileExistsError: a file is in the way that is none of ours.
    """
    for name, picture in figures.items():
        write_text(folder / name, picture, "<svg")
    return write_text(folder / README, text, mark)


def write_text(path: Path, text: str, mark: str) -> Path:
    """Write ``text`` as UTF-8 so that ``path`` holds the old content or the new, never a part.

    Args:
        mark: what every report of this kind holds.

    Raises:
        FileExistsError: ``path`` holds something else, which is not ours to replace.
    """
    if path.exists() and mark.encode() not in path.read_bytes():
        raise FileExistsError(
            f"{path}: is there already and is no report of ours; give another output=FILE.html"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


@cache
def plotly_source() -> str:
    """plotly.js, as shipped with plotly (about 4.8 MB)."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return resources.files("lm_research.analysis").joinpath(name).read_text(encoding="utf-8")


def _figure_json(figure: Figure) -> str:
    """JSON that cannot end its own script element."""
    text = str(figure.to_json())
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8", "backslashreplace")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
