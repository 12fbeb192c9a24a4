"""``lm-research data fetch data=OPTION``: public corpora, downloaded ahead of training."""

from collections.abc import Iterator, Mapping
from typing import Any

FETCH = "lm-research data fetch data="


def fetch(arguments: list[str]) -> int:
    """Download and check what a run with these overrides would read; or word vectors."""
    from lm_research.cli.options import split_config_dir
    from lm_research.config.compose import compose

    vectors = [text.partition("=")[2] for text in arguments if text.startswith("vectors=")]
    others = [text for text in arguments if not text.startswith("vectors=")]
    config_dir, overrides = split_config_dir(others)
    config = compose(overrides, config_dir).config
    sources = list(_sources(config))
    for source in sources:
        source.fetch()
        for file in source.files:
            print(f"{source.name}: {_told(source.downloads, file)}")
    for name in vectors:
        _fetch_vectors(name, config["downloads"])
    if not sources and not vectors:
        print("nothing to download: no source of this configuration is a public corpus")
    return 0


def _fetch_vectors(name: str, folder: str) -> None:
    from lm_research.data.downloads import Downloads
    from lm_research.data.vectors import GLOVE_6B, word_vectors

    file, downloads = word_vectors(name), Downloads(folder)
    downloads.fetch([file], f"vectors={name}")
    path = downloads.path(file)
    print(f"{name}: vectorizer=glove vectorizer.dim={GLOVE_6B[name]} vectorizer.path={path}")


def _built(node: Any) -> Any:
    from lm_research.config.build import build

    return build(node)


def _sources(config: Mapping[str, Any]) -> Iterator[Any]:
    """The downloaded sources of a run, members of mixtures too: its own, and those it scores."""
    from lm_research.data.sources.downloaded import DownloadedSource

    scored = config["evaluate_on"]
    for node in (config["data"], *(scored.values() if isinstance(scored, Mapping) else ())):
        for leaf in _leaves(node):
            if isinstance(source := _built(leaf), DownloadedSource):
                yield source


def _leaves(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    members = node.get("sources")
    if not isinstance(members, Mapping):
        yield node
        return
    for member in members.values():
        yield from _leaves(member)


def _told(downloads: Any, file: Any) -> str:
    checked = f"sha256 {file.sha256[:12]}…" if file.sha256 else "not verified"
    return f"{downloads.path(file)} ({checked})"


def readiness(source: Any) -> str:
    """Of a downloaded source: whether its files are here, and their checksums."""
    states = [(file, source.downloads.state(file)) for file in source.files]
    wrong = [file.name for file, state in states if state == "wrong checksum"]
    unverified = {file.name for file in source.files if file.sha256 is None}
    note = f"; not verified: {len(unverified)} of its files have no checksum" if unverified else ""
    if wrong:
        return f"wrong checksum: {', '.join(dict.fromkeys(wrong))}"
    missing = {file.name for file, state in states if state == "not here"}
    if not missing:
        return f"yes, no network{note}" if unverified else "yes, no network; checksums are right"
    some = f"{len(missing)} of {len({file.name for file in source.files})} files not here"
    return f"{some}: {FETCH}{source.name}{note}"
