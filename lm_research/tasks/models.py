"""What a run may train or count."""

from lm_research.tasks.classification import Classification
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.language_modeling import LanguageModeling

TrainedModel = LanguageModeling | Classification
RunModel = TrainedModel | CountedLanguageModel
