"""What an interpolation may look up: of the environment, only what cannot be a secret.

OmegaConf's resolvers compute nothing beyond the configuration, but for ``oc.env``: with it a file
from a stranger could put a key of this machine's into a run's name, its notes, or its folder.
"""

import os
from typing import Any

from omegaconf import OmegaConf

READABLE = {
    "CUDA_VISIBLE_DEVICES", "HOME", "HOSTNAME", "LOGNAME", "SCRATCH", "TMPDIR", "USER", "WORK",
}  # fmt: skip
STARTS = ("LM_RESEARCH_", "SLURM_")
_NO_DEFAULT = object()


def guard() -> None:
    """Put the checking ``oc.env`` in the place of OmegaConf's, in this process."""
    OmegaConf.register_new_resolver("oc.env", _env, replace=True)


def _env(name: str, default: Any = _NO_DEFAULT) -> Any:
    if name not in READABLE and not str(name).startswith(STARTS):
        allowed = ", ".join([*sorted(READABLE), *(f"{start}*" for start in STARTS)])
        raise PermissionError(
            f"a configuration may not read the environment variable {name} (it may read "
            f"{allowed}); write the value, or set LM_RESEARCH_NAME in the shell and name that"
        )
    if name in os.environ:
        return os.environ[name]
    if default is _NO_DEFAULT:
        raise KeyError(f"the environment variable {name} is not set; set it, or give a default")
    return None if default is None else str(default)
