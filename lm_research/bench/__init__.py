"""Speed on this machine, beside what others run: ``lm-research bench NAME``.

A benchmark is a module of this folder that yields :class:`~lm_research.bench.case.Case`s: sides
that do the same work, ours first, and a check that they do. They are timed in turns, so that what
else the machine does meets all of them; a ratio is that of a peer's seconds over ours.
"""

NAMES = {
    "founding_example": "Embedding, LSTM or GRU or RNN, Dense: a training step beside bare PyTorch",
    "time_to_loss": "the same trained on text until a validation loss is reached",
    "recurrent": "layers of lm_research.kernels beside torch.nn's",
    "cross_entropy": "the output layer's loss by blocks beside all logits at once",
    "loop": "a whole training step of a run beside a bare loop over the same batches",
    "generation": "tokens one by one beside a bare loop over torch.nn",
    "vectors": "bags of documents beside scikit-learn's",
}
"""Benchmark -> what it compares."""
