"""``lm-research data build``: the token store of a run, made ahead of training."""

import time
from collections.abc import Mapping
from typing import Any

UNITS = ("B", "kB", "MB", "GB", "TB")


def build_store(arguments: list[str]) -> int:
    """Prepare what ``lm-research train`` with these overrides would read, and say what it is."""
    from lm_research.cli.options import split_config_dir
    from lm_research.config.compose import compose

    config_dir, overrides = split_config_dir(arguments)
    config = compose(overrides, config_dir).config
    from lm_research.cli.assembly import prepare_text

    began = time.monotonic()
    prepared = prepare_text(config)
    seconds = time.monotonic() - began
    meta = prepared.store.meta
    print(f"{meta['source']}: {prepared.store.folder}")
    for name, counts in meta["splits"].items():
        print(f"  {name}: {_counted(counts)}")
    size = sum(counts["bytes"] for counts in meta["splits"].values())
    print(f"  vocabulary {meta['vocabulary_size']:,}; {shown_bytes(size)} in {seconds:.1f} s")
    return 0


def _counted(counts: Mapping[str, Any]) -> str:
    return (
        f"{counts['documents']:,} documents, {counts['tokens']:,} tokens, "
        f"{shown_bytes(counts['bytes'])} of text"
    )


def shown_bytes(size: float) -> str:
    """Such as ``1.2 MB``, in powers of 1000."""
    for unit in UNITS[:-1]:
        if size < 1000:
            return f"{size:.1f} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1000
    return f"{size:.1f} {UNITS[-1]}"
