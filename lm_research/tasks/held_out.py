"""The evaluation that a trained model's task calls for."""

from lm_research.data.document_module import DocumentDataModule
from lm_research.data.module import TextDataModule
from lm_research.data.splits import Split
from lm_research.tasks.classification import Classification
from lm_research.tasks.classifying import evaluate_classifier
from lm_research.tasks.evaluation import Evaluation, evaluate
from lm_research.tasks.language_modeling import LanguageModeling


def evaluate_held_out(
    model: LanguageModeling | Classification, data: TextDataModule, name: Split = "validation"
) -> Evaluation:
    """Scores of a model, in evaluation mode, on a split of its own source."""
    if isinstance(model, Classification):
        assert isinstance(data, DocumentDataModule)
        return evaluate_classifier(model, data.labelled(name))
    shared = data.contaminated_validation if name == "validation" else None
    return evaluate(model, data.split(name), model.eval_window, data.words, contaminated=shared)
