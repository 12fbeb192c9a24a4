"""Runs as folders to hand on, in Hugging Face's layout: ``AutoModel``, ``AutoTokenizer``.

    from lm_research.hub import AutoModel, AutoTokenizer
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

The folder is what ``lm-research export`` wrote, on this machine: nothing is downloaded, no code in
it is run, and its weights are safetensors.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from lm_research.tasks.models import RunModel
    from lm_research.text.tokenizer import Tokenizer


class AutoModel:
    """The model of an exported folder, whatever its task and architecture."""

    def __init__(self) -> NoReturn:
        raise TypeError("AutoModel is not built, but loaded: AutoModel.from_pretrained(folder)")

    @staticmethod
    def from_pretrained(folder: str | Path) -> "RunModel":
        """With its weights, on the CPU, in evaluation mode.

        Raises:
            PretrainedError: the folder holds no exported model, or a damaged one.
            ConfigError: its configuration is wrong.
        """
        from lm_research.hub.folder import load

        return load(folder).model


class AutoTokenizer:
    """The tokenizer of an exported folder."""

    def __init__(self) -> NoReturn:
        raise TypeError("AutoTokenizer is loaded: AutoTokenizer.from_pretrained(folder)")

    @staticmethod
    def from_pretrained(folder: str | Path) -> "Tokenizer":
        """Of texts; of the sources, where targets have a vocabulary of their own.

        Raises:
            PretrainedError, ConfigError: as for the model.
        """
        from lm_research.hub.folder import load

        return load(folder, weights=False).tokenizer
