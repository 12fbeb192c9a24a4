"""What a run may train or count."""

from lm_research.tasks.classification import Classification
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.tasks.tagging import Tagging

TrainedModel = LanguageModeling | Classification | SequenceToSequence | Tagging
RunModel = TrainedModel | CountedLanguageModel
