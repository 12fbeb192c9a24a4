"""The flag of a vectorizer that has to see training documents before it can be used."""

import torch
from torch import Tensor

from lm_research.vectorizers.vectorizer import Vectorizer


class Fitted(Vectorizer):
    """Mix-in: a ``fitted`` buffer, saved and restored with what fitting learned."""

    needs_fit = True
    fitted: Tensor

    def declare_fitted(self) -> None:
        """Register the flag; call it once, in ``__init__``."""
        self.register_buffer("fitted", torch.tensor(False))
        self._seen_fitted = False
        self.register_load_state_dict_post_hook(_look_again)

    def require_fitted(self, fix: str) -> None:
        """Raise ``RuntimeError`` unless fitted (here, or in the state that was loaded)."""
        # Reading the buffer makes a GPU wait: once is enough.
        self._seen_fitted = self._seen_fitted or bool(self.fitted)
        if not self._seen_fitted:
            raise RuntimeError(f"{type(self).__name__} has not been fitted: {fix}")


def _look_again(module: torch.nn.Module, incompatible_keys: object) -> None:
    assert isinstance(module, Fitted)
    module._seen_fitted = False
