"""Where and with what a run ran: machine, versions, command line, state of the code.

Environment variables are not recorded, and neither are credentials in URLs or on the command line.
Nothing here fails a run: what cannot be found out is ``None``.
"""

import hashlib
import os
import platform
import socket
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import lm_research
from lm_research.tracking.git_state import git_state, tracked
from lm_research.tracking.json_files import read_json, write_json, write_text
from lm_research.tracking.redaction import redacted_arguments
from lm_research.tracking.status import now

PACKAGES = (
    "lm-research",
    "torch",
    "triton",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "wandb",
    "numpy",
    "scipy",
    "tokenizers",
    "jieba",
    "pyarrow",
    "datasets",
)
"""Distributions whose versions are recorded."""

_CHANGING = {"time", "memory_available_bytes"}


def environment() -> dict[str, Any]:
    """A snapshot of this process's surroundings, without secrets.

    Returns:
        time, host, platform, python, executable, cpu (model, cores of the machine, cores this
        process may use), memory_bytes, memory_available_bytes, gpus (names; only if torch is
        loaded), torch (threads, CUDA version; only if loaded), versions, command, directory, git
        (``git_state`` of the working directory) and package_git (that of this package, where it
        runs from another checkout).
    """
    directory = _directory()
    return {
        "time": now(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "cpu": _cpu(),
        "memory_bytes": _pages("SC_PHYS_PAGES"),
        "memory_available_bytes": _pages("SC_AVPHYS_PAGES"),
        "gpus": _gpus(),
        "torch": _torch(),
        "versions": _versions(),
        "command": redacted_arguments(sys.argv),
        "directory": str(directory),
        **_code(directory),
    }


def record_environment(folder: Path) -> Path:
    """Write environment.json, and git.diff where there are uncommitted changes, into ``folder``.

    What is there stays. A later attempt in other surroundings writes environment-2.json (and
    git-2.diff); one in the same surroundings writes nothing.

    Returns:
        The file that describes this attempt.

    Raises:
        RunFolderError: the folder cannot be written, or an earlier file is damaged.
    """
    values, diffs = _without_diffs(environment())
    number, newest = 1, None
    while (path := _numbered(folder, "environment", number, "json")).exists():
        newest, number = path, number + 1
    if newest is not None and _same(read_json(newest), values):
        return newest
    for key, diff in diffs.items():
        file = _numbered(folder, key.replace("_", "-"), number, "diff")
        write_text(file, diff)
        values[key]["diff_file"] = file.name
    write_json(path, values)
    return path


def _same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return _stable(old) == _stable(new)


def _stable(values: dict[str, Any]) -> dict[str, Any]:
    """The part that tells two surroundings apart: no clock, no names of our own files."""
    kept = {key: value for key, value in values.items() if key not in _CHANGING}
    for key in ("git", "package_git"):
        if kept.get(key):
            kept[key] = {k: v for k, v in kept[key].items() if k != "diff_file"}
    return kept


def _without_diffs(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The diffs apart from the rest, which keeps their size and SHA-256."""
    diffs = {}
    for key in ("git", "package_git"):
        state = values[key]
        if state is not None:
            diff = state.pop("diff")
            state["diff_bytes"] = len(diff.encode())
            state["diff_sha256"] = hashlib.sha256(diff.encode()).hexdigest() if diff else None
            if diff:
                diffs[key] = diff
    return values, diffs


def _numbered(folder: Path, stem: str, number: int, suffix: str) -> Path:
    return folder / (f"{stem}.{suffix}" if number == 1 else f"{stem}-{number}.{suffix}")


def _directory() -> Path:
    try:
        return Path.cwd()
    except OSError:  # deleted under our feet
        return Path("/")


def _code(directory: Path) -> dict[str, Any]:
    here, package = git_state(directory), None
    source = Path(lm_research.__file__)
    if tracked(source):
        package = git_state(source.parent)
    same = here is not None and package is not None and here["root"] == package["root"]
    return {"git": here, "package_git": None if same else package}


def _cpu() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"model": _cpu_model(), "cores": os.cpu_count(), "usable_cores": usable}


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def _pages(name: str) -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf(name)
    except (OSError, ValueError):
        return None


def _gpus() -> list[str] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    try:
        if not torch.cuda.is_available():
            return []
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except Exception:  # a broken driver is not a reason to lose a run
        return None


def _torch() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    try:
        return {"threads": torch.get_num_threads(), "cuda": torch.version.cuda}
    except Exception:
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
