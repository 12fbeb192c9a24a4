"""wandb.json of a run: where W&B has it, and what of it; written when all of it has arrived.

``content`` is a hash of the files that W&B mirrors. Where it is that of the files as they are,
nothing is left to send; the server is asked all the same, since it may have lost the run.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lm_research.config.untrusted import open_plain
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import read_json, write_json

FILE = "wandb.json"
_MIRRORED = (
    "config.yaml",
    "metrics.jsonl",
    "samples.jsonl",
    "histograms.jsonl",
    "summary.json",
    "data.json",
    "checkpoints/index.json",
)


@dataclass(frozen=True)
class Receipt:
    """Which run in W&B, on which server, and the content that it has."""

    server: str
    entity: str
    project: str
    id: str
    content: str

    @property
    def path(self) -> str:
        """As W&B's API names a run."""
        return f"{self.entity}/{self.project}/{self.id}"


def content(folder: Path) -> str:
    """SHA-256 of the files of a run folder that W&B mirrors."""
    digest = hashlib.sha256()
    for name in _MIRRORED:
        try:
            with open(open_plain(folder / name), "rb") as file:
                digest.update(
                    f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
                )
        except OSError:
            continue
    return digest.hexdigest()


def write_receipt(folder: Path, run: Any) -> None:
    """Note that ``run``, a finished ``wandb.Run``, has all that the folder holds."""
    server = str(run.settings.base_url)
    receipt = Receipt(server, run.entity, run.project, run.id, content(folder))
    write_json(folder / FILE, asdict(receipt))


def read_receipt(folder: Path) -> Receipt | None:
    """The receipt in a run folder; None where there is none, or none that can be read."""
    try:
        values = read_json(folder / FILE)
        receipt = Receipt(**values)
    except (RunFolderError, TypeError):
        return None
    return receipt if all(isinstance(value, str) for value in values.values()) else None
