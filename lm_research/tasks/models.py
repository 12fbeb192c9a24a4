"""What a run may train or count."""

from lm_research.tasks.classification import Classification
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.sequence_to_sequence import SequenceToSequence

TrainedModel = LanguageModeling | Classification | SequenceToSequence
RunModel = TrainedModel | CountedLanguageModel
