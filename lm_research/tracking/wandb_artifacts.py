"""What a run has read and made, as W&B's artifacts: the lineage from a text to its checkpoints.

A text is known by its fingerprint and sizes alone: nothing of it leaves the machine. Runs on the
same text refer to one version of one artifact. A checkpoint is a reference with its sha256, or the
file itself where that is asked for.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_research.tracking.checkpoint_store import CheckpointError, CheckpointStore, Entry
from lm_research.tracking.errors import RunFolderError

if TYPE_CHECKING:
    from wandb import Artifact

_TOLD = ("source", "language", "category", "licence", "citation", "signature", "splits")


def data_artifact(data: Mapping[str, Any]) -> "Artifact":
    """The text of a run, from its data.json.

    Args:
        data: with ``fingerprint``; where, what and how much as the file has it.
    """
    import wandb

    fingerprint = str(data["fingerprint"])
    told = {key: data[key] for key in _TOLD if data.get(key) is not None}
    name = f"text-{_named(str(data.get('source') or 'unknown'))}"
    artifact = wandb.Artifact(name, "dataset", metadata={"fingerprint": fingerprint, **told})
    size = sum(int(split.get("bytes") or 0) for split in dict(data.get("splits") or {}).values())
    _refer(artifact, "text", f"lm-research:text/{fingerprint}", fingerprint, size)
    return artifact


def checkpoint_artifact(
    run_id: str, folder: Path, upload: bool
) -> tuple["Artifact", None, None, list[str]] | None:
    """The checkpoints that a run keeps, as arguments of ``log_artifact``; None without any.

    Args:
        run_id: names the artifact.
        folder: the run folder.
        upload: send the files, too.
    """
    import wandb

    entries = _entries(folder)
    if not entries:
        return None
    steps = [entry.step for entry in entries]
    metadata = {"steps": steps, "scores": [entry.score for entry in entries]}
    artifact = wandb.Artifact(f"checkpoints-{run_id}", "model", metadata=metadata)
    for entry in entries:
        path = folder / "checkpoints" / entry.file
        if upload:
            artifact.add_file(str(path), name=entry.file, policy="immutable")
        else:
            _refer(artifact, entry.file, path.as_uri(), entry.sha256, entry.bytes)
    return artifact, None, None, [f"step-{steps[-1]}"]


def _entries(folder: Path) -> list[Entry]:
    try:
        store = CheckpointStore(folder / "checkpoints")
        return [entry for entry in store.entries() if (store.folder / entry.file).is_file()]
    except (CheckpointError, RunFolderError):
        return []


def _refer(artifact: "Artifact", name: str, uri: str, digest: str, size: int) -> None:
    """Add a reference by the digest that we have; ``add_reference`` would read or refuse it."""
    from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry
    from wandb.sdk.lib.paths import LogicalPath

    entry = ArtifactManifestEntry(path=LogicalPath(name), ref=uri, digest=digest, size=size)
    artifact.manifest.add_entry(entry)


def _named(text: str) -> str:
    """``text`` with only what a name of an artifact may hold."""
    return re.sub(r"[^\w.-]", "-", text, flags=re.ASCII)[:100]
