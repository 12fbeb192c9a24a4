"""config.yaml of a run: written so that every YAML reader gets back the same values.

PyYAML and OmegaConf disagree on ``1e-4``: text to the one, a number to the other. Text that looks
like a number to either is quoted. Reading follows OmegaConf, since people edit what they see.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lm_research.config.untrusted import (
    FLOAT,
    FLOAT_STARTS,
    FLOAT_TAG,
    LARGEST_CONFIG,
    UntrustedError,
    load_yaml,
    read_plain,
)
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import write_text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver(FLOAT_TAG, FLOAT, FLOAT_STARTS)


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``config``, keys in their given order.

    Args:
        path: the YAML file.
        config: plain containers and scalars.

    Raises:
        RunFolderError: a value is not plain, or the file cannot be written.
    """
    try:
        text = yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    except yaml.YAMLError as error:
        raise RunFolderError(f"{path}: only plain values can be written: {error}") from error
    write_text(path, text)


def read_config(path: Path) -> dict[str, Any]:
    """The configuration in ``path``.

    Raises:
        RunFolderError: the file is missing, is not YAML, or is not a mapping of bounded size.
    """
    try:
        config = load_yaml(read_plain(path, LARGEST_CONFIG))
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read: {error.strerror}") from error
    except UntrustedError as error:
        raise RunFolderError(f"{path}: {error}") from error
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise RunFolderError(f"{path}: expected a mapping of names, found {type(config).__name__}")
    return config
