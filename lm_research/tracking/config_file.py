"""config.yaml of a run: written so that every YAML reader gets back the same values.

PyYAML and OmegaConf disagree on ``1e-4``: text to the one, a number to the other. Text that looks
like a number to either is quoted. Reading follows OmegaConf, since people edit what they see.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import write_text

_FLOAT_TAG = "tag:yaml.org,2002:float"
_FLOAT = re.compile(
    r"^[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))(?:[eE][-+]?\d+)?$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
_FLOAT_STARTS = list("-+0123456789.")
_MOST_VALUES = 1_000_000


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    pass


_Dumper.add_implicit_resolver(_FLOAT_TAG, _FLOAT, _FLOAT_STARTS)
_Loader.add_implicit_resolver(_FLOAT_TAG, _FLOAT, _FLOAT_STARTS)


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
        config = yaml.load(path.read_bytes(), Loader=_Loader)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise RunFolderError(f"{path}: not a readable YAML file: {error}") from error
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise RunFolderError(f"{path}: expected a mapping of names, found {type(config).__name__}")
    try:
        _count(config, 0)
    except RecursionError as error:
        raise RunFolderError(f"{path}: refers to itself") from error
    return config


def _count(value: Any, seen: int) -> int:
    """Count the values, anchors followed, and stop where a few bytes of YAML explode."""
    seen += 1
    if seen > _MOST_VALUES:
        raise RunFolderError(f"config.yaml: more than {_MOST_VALUES} values")
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        seen = _count(item, seen)
    return seen
