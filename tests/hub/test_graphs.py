"""Which models have graphs, and that these say what the models say; the table of docs/use.md."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

from lm_research.hub.graph_files import TOLERANCE, write_graph
from lm_research.hub.graphs import GraphError
from lm_research.tasks.generation import generate
from lm_research.tasks.sampling import Sampling

ANY, ONE = ["batch", "time"], ["batch", 1]
CLASSES = ("task=classification", "text=word")
CASES = {
    # what: (TorchScript's shape of ids, ONNX's); None where there is no graph
    ("model=rnn",): (ANY, ANY),
    ("model=lstm", "model.num_layers=2", "model.residual=true"): (ANY, ANY),
    ("model=gru", "model.start=learned"): (ANY, ANY),
    ("model=lstm", "task.tie_weights=true"): (ANY, ANY),
    ("model=lstm", "output_layer=adaptive"): (ANY, ANY),
    ("model=gru", "output_layer=sampled", "task.tie_weights=true"): (ANY, ANY),
    ("model=lstm", "model.layer_norm=true"): (ONE, ONE),
    ("model=cnn",): (ANY, ANY),
    ("model=tcn",): (ANY, ANY),
    ("model=min_gru",): (ONE, ONE),
    ("model=min_lstm", "model.kernel_size=0"): (ONE, ONE),
    ("model=nplm", "model.direct=true"): (ANY, ANY),
    ("model=log_bilinear", "task.tie_weights=true"): (ANY, ANY),
    ("model=transformer", "model.context=4"): (ANY, ANY),
    ("model=transformer", "model.positions=learned", "model.context=4"): (ANY, ANY),
    ("model=gru", "vectorizer=bag_of_words"): (ANY, ANY),
    ("model=gru", "vectorizer=tfidf"): (ANY, ANY),
    ("model=gru", "vectorizer=glove"): (ANY, ANY),
    ("model=gru", "vectorizer=word2vec"): (ANY, ANY),
    ("model=gru", "vectorizer=one_hot"): (ANY, ANY),
    ("model=gru", "vectorizer=ngrams"): (ANY, None),
    ("model=ngram",): (None, None),
    (*CLASSES, "model=lstm"): (ANY, ANY),
    (*CLASSES, "model=gru", "task.pooling=last"): (ANY, ANY),
    (*CLASSES, "model=rnn", "task.pooling=mean"): (ANY, ANY),
    (*CLASSES, "model=cnn", "task.pooling=attention"): (ANY, ANY),
    (*CLASSES, "model=transformer"): (ANY, ANY),
    (*CLASSES, "model=lstm", "model.layer_norm=true"): (None, None),
    (*CLASSES, "model=kim_cnn"): (ANY, ANY),
    (*CLASSES, "model=char_cnn", "model.length=150"): (ANY, ANY),
    (*CLASSES, "model=bag"): (["tokens"], ["tokens"]),
    (*CLASSES, "model=bag", "vectorizer=bag_of_words"): (["tokens"], ["tokens"]),
    (*CLASSES, "model=bag", "vectorizer=tfidf"): (["tokens"], ["tokens"]),
    (*CLASSES, "model=bag", "vectorizer=ngrams"): (["tokens"], None),
    ("task=translation", "model=gru"): (None, None),
}
QUICK = [("model=lstm", "task.tie_weights=true"), (*CLASSES, "model=kim_cnn"), ("model=ngram",)]
QUICK += [("model=transformer", "model.context=4"), ("task=translation", "model=gru")]
QUICK += [("model=lstm", "output_layer=adaptive")]
MATRIX = [
    pytest.param(o, k, marks=[] if o in QUICK else [pytest.mark.slow], id=f"{' '.join(o)} {k}")
    for o in CASES
    for k in ("torchscript", "onnx")
]


@pytest.mark.parametrize(("overrides", "kind"), MATRIX)
def test_a_graph_says_what_the_model_says(saved, overrides, kind, tmp_path):
    shape = CASES[overrides][kind == "onnx"]
    model = saved(*overrides).model
    if shape is None:
        with pytest.raises(GraphError, match="safetensors"):
            write_graph(model, tmp_path, kind)
        assert list(tmp_path.iterdir()) == []
        return
    found = write_graph(model, tmp_path, kind)
    assert found["inputs"][0]["shape"] == shape
    assert found["largest_difference"] <= TOLERANCE / 10
    assert json.loads(json.dumps(found)) == found


def test_onnx_runtime_alone_generates_what_the_model_does(saved, tmp_path):
    run = saved("model=transformer", "text=byte", "vectorizer=bag_of_words", "model.context=5")
    found = write_graph(run.model, tmp_path, "onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / found["file"]))
    state = load_file(tmp_path / found["start"])
    names = [row["name"] for row in found["outputs"]]
    ids, written = [[0, *run.tokenizer.encode("The cat").ids_N.tolist()]], []
    for _ in range(20):
        said = dict(zip(names, session.run(None, {"ids": np.array(ids), **state}), strict=True))
        state = {name: said[f"{name}_out"] for name in state}
        ids = [[int(said["log_p"][0, -1].argmax())]]
        written += ids[0]
    expected = generate(run.model, run.tokenizer, "The cat", 20, Sampling(temperature=0))
    assert written[: written.index(0) if 0 in written else None] == list(expected)


def test_torchscript_needs_none_of_our_code(saved, tmp_path):
    model = saved(*CLASSES, "model=gru").model
    write_graph(model, tmp_path, "torchscript")
    graph = torch.jit.load(str(tmp_path / "model.pt"))
    (log_p_BC,) = graph(torch.tensor([[2, 3, -1, -1]]), torch.tensor([2]))
    (alone_BC,) = graph(torch.tensor([[2, 3]]), torch.tensor([2]))
    torch.testing.assert_close(log_p_BC, alone_BC)


def test_a_graph_that_says_something_else_does_not_count(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("lm_research.hub.graph_files.TOLERANCE", -1.0)
    with pytest.raises(GraphError, match="differ from the model's"):
        write_graph(saved("model=rnn").model, tmp_path, "torchscript")
    assert list(tmp_path.iterdir()) == []
