"""The contract of a protocol of evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from lm_research.data.token_store import TokenSplit
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.streaming import StreamingModel

LanguageModel = LanguageModeling | CountedLanguageModel
TrainingText = Callable[[], TokenSplit]


class ProtocolError(Exception):
    """A model that the protocol cannot read a text with: says why, and the fix."""


class Protocol(ABC):
    """Turns a trained model into one that goes on learning from the text that it is scored on.

    Whatever it does, log p of a token is made of the tokens before it alone: each is scored before
    anything learns from it. The model that it is given stays as it is.
    """

    @abstractmethod
    def reader(self, model: LanguageModel, training: TrainingText) -> StreamingModel:
        """What :func:`lm_research.tasks.evaluation.evaluate` scores in the model's place.

        One stream is read at a time: :meth:`StreamingModel.start` forgets what was learned from
        another. How a stream is cut changes no score.

        Args:
            model: in evaluation mode.
            training: gives the tokens that it was trained on; called where they are needed.

        Raises:
            ProtocolError: the model is of another kind.
        """


def require_trained(model: LanguageModel, name: str) -> LanguageModeling:
    """The model, if it has weights. Raises ``ProtocolError``."""
    if not isinstance(model, LanguageModeling):
        raise ProtocolError(
            f"protocol={name} moves weights by gradients, and a counted model (model=ngram) has "
            "none; fix: protocol=neural_cache protocol.theta=0, or a model that is trained"
        )
    return model
