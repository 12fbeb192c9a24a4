"""The evaluation that a trained model's task calls for."""

from lm_research.data.document_module import DocumentDataModule
from lm_research.data.module import TextDataModule
from lm_research.data.pair_module import PairDataModule
from lm_research.data.splits import Split
from lm_research.data.tagged_batches import TaggedDataModule
from lm_research.tasks.classification import Classification
from lm_research.tasks.classifying import evaluate_classifier
from lm_research.tasks.evaluation import Evaluation, evaluate, reading_of, sampled_loss
from lm_research.tasks.finding_tags import evaluate_tagger
from lm_research.tasks.models import TrainedModel
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.tasks.tagging import Tagging
from lm_research.tasks.writing import evaluate_pairs


def evaluate_held_out(
    model: TrainedModel, data: TextDataModule, name: Split = "validation"
) -> Evaluation:
    """Scores of a model, in evaluation mode, on a split of its own source."""
    if isinstance(model, Classification):
        assert isinstance(data, DocumentDataModule)
        return evaluate_classifier(model, data.labelled(name))
    if isinstance(model, SequenceToSequence):
        assert isinstance(data, PairDataModule)
        return evaluate_pairs(model, data.paired(name))
    if isinstance(model, Tagging):
        assert isinstance(data, TaggedDataModule)
        return evaluate_tagger(model, data.tagged(name), data.known)
    shared = data.contaminated_validation if name == "validation" else None
    split, how = data.split(name), reading_of(model, model.eval_window)
    result = evaluate(model, split, words=data.words, contaminated=shared, **how)
    if model.eval_batches:
        budget = {key: data.options[key] for key in ("batch_size", "window", "seed")}
        loss_nats = sampled_loss(model, split, batches=model.eval_batches, **budget)
        result.scores["loss_nats_sampled"] = loss_nats
    return result
