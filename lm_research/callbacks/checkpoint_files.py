"""How Lightning reads and writes our checkpoint files."""

import logging
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from lm_research.tracking.errors import refusal

_log = logging.getLogger(__name__)


class CheckpointFiles(CheckpointIO):
    """Straight to the file, and no code from it.

    An error of the disk is kept for :meth:`raise_error`: raised in the middle of Lightning's own
    saving it would leave the other processes of a data-parallel run waiting.
    """

    def __init__(self) -> None:
        self.error: OSError | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint``; who called gives it its name once it is whole."""
        self.error = None
        try:
            _restore(Path(path).parent)
            with open(path, "wb") as file:
                torch.save(checkpoint, file)
        except OSError as error:
            self.error = error
        except RuntimeError as error:  # torch's archive, closed after the disk refused a part of it
            self.error = refusal(error)
            if self.error is None:
                raise

    def raise_error(self) -> None:
        """Raise what the disk refused in the last save, if it did."""
        if self.error is not None:
            raise self.error

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Tensors and plain containers alone."""
        loaded: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Ours are removed by the store that knows them."""
        raise NotImplementedError


def _restore(folder: Path) -> None:
    """Make the folder again if somebody deleted it; the run's own folder is not made up anew."""
    if not folder.exists():
        folder.mkdir()
        _log.warning("%s: was deleted while the run writes it; older checkpoints are gone", folder)
