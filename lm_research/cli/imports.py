"""What a command need not wait for.

torchmetrics imports ``scipy.signal`` at its start, to give it a name that another package looked
for once (``hamming``). Nothing here uses either, and it is a fifth of what a command imports.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

_NAME = "scipy.signal"


class _Later(ModuleType):
    """Stands for ``scipy.signal`` until somebody asks it for anything."""

    hamming = None
    """Is there, so torchmetrics does not ask."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__path__", "__all__"):
            raise AttributeError(name)  # of those who look through all modules, like inspect
        if sys.modules.get(_NAME) is self:
            del sys.modules[_NAME]
        return getattr(importlib.import_module(_NAME), name)


def put_off_scipy_signal() -> None:
    """Let ``scipy.signal`` be imported by those who use it, when they do."""
    sys.modules.setdefault(_NAME, _Later(_NAME))
