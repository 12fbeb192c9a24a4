"""What git knows of the code that ran: commit, branch, remote, and the uncommitted changes."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from lm_research.tracking.redaction import redacted

LARGEST_DIFF = 1_000_000
"""Bytes of uncommitted changes that are kept."""

_MOST_NAMES = 50
_TIMEOUT_S = 10.0


def git_state(directory: Path) -> dict[str, Any] | None:
    """The repository around ``directory``, or ``None`` without git or a repository.

    Returns:
        ``root``; ``commit`` (``None`` before the first one); ``branch`` (``None`` when detached);
        ``remote``, without credentials; ``dirty``: tracked files differ from the commit;
        ``untracked``: names of files that git does not know, at most 50, with their number in
        ``untracked_count``; ``diff``: text of the uncommitted changes, binary files named only, at
        most a megabyte; ``diff_cut``: whether that left some out.
    """
    root = _git(directory, "rev-parse", "--show-toplevel")
    if root is None:
        return None
    listing = (_git(directory, "status", "--porcelain", "-z") or "").split("\0")
    unknown = [line[3:] for line in listing if line.startswith("?? ")]
    dirty = any(line and not line.startswith("?? ") for line in listing)
    diff, cut = _diff(directory) if dirty else ("", False)
    return {
        "root": root,
        "commit": _git(directory, "rev-parse", "--verify", "-q", "HEAD"),
        "branch": _git(directory, "symbolic-ref", "--short", "-q", "HEAD"),
        "remote": redacted(_git(directory, "config", "--get", "remote.origin.url")),
        "dirty": dirty,
        "untracked": unknown[:_MOST_NAMES],
        "untracked_count": len(unknown),
        "diff": redacted(diff),
        "diff_cut": cut,
    }


def tracked(file: Path) -> bool:
    """Whether git tracks ``file``: installed copies lie in repositories that ignore them."""
    return _git(file.parent, "ls-files", "--error-unmatch", file.name) is not None


def _command(directory: Path, *arguments: str) -> list[str]:
    return ["git", "-C", str(directory), "-c", "core.quotePath=false", *arguments]


def _quiet() -> dict[str, str]:
    """The environment for git: no lock on the index (others may be committing), no questions."""
    return os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _git(directory: Path, *arguments: str) -> str | None:
    """What git prints, or ``None`` if it is absent, fails or takes too long."""
    try:
        done = subprocess.run(
            _command(directory, *arguments),
            env=_quiet(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip("\n")


def _diff(directory: Path) -> tuple[str, bool]:
    """The uncommitted changes, and whether they were cut; through a file, whatever their size."""
    arguments = ("diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv")
    with tempfile.TemporaryFile() as file, contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            _command(directory, *arguments),
            env=_quiet(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
        )
        file.seek(0)
        data = file.read(LARGEST_DIFF + 1)
        return data[:LARGEST_DIFF].decode(errors="replace"), len(data) > LARGEST_DIFF
    return "", True
