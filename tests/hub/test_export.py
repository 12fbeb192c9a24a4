"""The verb: a run's folder in, a new folder out, whole or not at all."""

import json

import pytest
import torch
import yaml
from tokenizers import Tokenizer as Backend

from lm_research.cli.export import run as export
from lm_research.cli.job import run as train_run
from lm_research.cli.saved import SavedRunError, load
from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.hub import AutoModel
from lm_research.hub.graphs import GraphError


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache, tiny):
    """The folder of a run."""
    overrides = ["text=bpe", "text.tokenizer.vocabulary_size=300", "model=rnn", f"cache={cache}"]
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_run(compose([*tiny, *overrides]).config, folder)
    return folder


def test_a_folder_in_hugging_faces_layout(trained, tmp_path, read_json, capsys):
    output = tmp_path / "deep" / "out"
    assert export([f"run={trained}", f"output={output}", "license=cc-by-4.0"]) == 0
    assert str(output) in capsys.readouterr().out
    names = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "vocabulary.json"}
    assert {file.name for file in output.iterdir()} == names
    assert [file.name for file in output.parent.iterdir()] == ["out"]
    ours, theirs = load(str(trained), "best"), AutoModel.from_pretrained(output)
    for name, value in ours.model.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name])
    text = "def f(x):\n    return x  # é"
    backend = Backend.from_file(str(output / "tokenizer.json"))
    assert backend.encode(text).ids == ours.tokenizer.encode(text).ids_N.tolist()
    text = (output / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "cc-by-4.0"
    assert head["pipeline_tag"] == "text-generation"
    recorded = read_json(trained / "summary.json")
    scores = head["model-index"][0]["results"][0]["metrics"]
    assert {row["type"]: row["value"] for row in scores}.items() <= recorded.items()
    assert "val/bits_per_byte" in {row["type"] for row in scores}
    assert f"| val/bits_per_byte | {recorded['val/bits_per_byte']:.6g} |" in text
    data = read_json(trained / "data.json")
    assert data["fingerprint"] in text
    assert data["licence"][:20] in text
    assert str(tmp_path) not in text + (output / "config.json").read_text()


@pytest.mark.parametrize("format", ["safetensors", "torchscript", "onnx"])
def test_other_formats(trained, tmp_path, read_json, format, capsys):
    output = tmp_path / "out"
    assert export([f"run={trained}", f"output={output}", f"format={format}"]) == 0
    assert not (output / "README.md").exists()
    if format == "safetensors":
        assert AutoModel.from_pretrained(output)
        return
    graph = read_json(output / "config.json")["graph"]
    assert (output / graph["file"]).exists()
    assert "largest difference" in capsys.readouterr().out


def test_nothing_is_overwritten_and_mistakes_are_told_together(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    with pytest.raises(ConfigError) as error:
        export([f"run={tmp_path}", f"output={there}", "format=onnx", "license=m it"])
    fields = [problem.field for problem in error.value.problems]
    assert fields == ["output", "license", "license"]
    with pytest.raises(ConfigError, match="hugging_face, safetensors, torchscript, onnx"):
        export(["run=a", "output=b", "format=pickle"])
    with pytest.raises(SavedRunError, match="no run there"):
        export([f"run={there}", f"output={tmp_path / 'new'}"])
    assert [file.name for file in tmp_path.iterdir()] == ["there"]


def test_a_package_that_is_missing_is_told_with_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lm_research.cli.export.find_spec", lambda name: None if "onnx" in name else name
    )
    told = r"lm-research\[export\].*onnx, onnxruntime.*here: hugging_face, safetensors, torchscript"
    with pytest.raises(ConfigError, match=told):
        export([f"run={tmp_path}", f"output={tmp_path / 'x'}", "format=onnx"])


def test_an_export_that_fails_leaves_nothing(train, tmp_path):
    trained = train("model=ngram", "text=word")
    with pytest.raises(GraphError, match="CountedLanguageModel has no graph"):
        export([f"run={trained}", f"output={tmp_path / 'out'}", "format=onnx"])
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    assert export([f"run={trained}", f"output={tmp_path / 'out'}"]) == 0
    assert json.loads((tmp_path / "out/config.json").read_text())["architectures"] == ["KneserNey"]
