"""What is exported loads back bit by bit, whatever the task; tokenizers give the same ids."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.config.paths import shipped
from lm_research.config.problems import ConfigError
from lm_research.data.document_batches import DocumentBatch, padded
from lm_research.data.pair_batches import pair_batch
from lm_research.hub import AutoModel, AutoTokenizer
from lm_research.hub.folder import PretrainedError, load, save_config, save_weights
from lm_research.hub.tokenizer_files import PYTHON_SPACES, to_tokenizers
from lm_research.tasks.classification import Classification
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.text.alphabet import AlphabetTokenizer
from lm_research.text.bpe import BPETokenizer
from lm_research.text.byte import ByteTokenizer
from lm_research.text.character import CharacterTokenizer
from lm_research.text.chinese_word import ChineseWordTokenizer
from lm_research.text.spaced import SpacedTokenizer
from lm_research.text.word import WordTokenizer

IDS = [np.array([3, 1, 5, 2, 4]), np.array([6]), np.array([7, 7, 2])]


def options(group):
    return sorted(file.stem for file in (shipped("conf") / group).glob("*.yaml"))


def exported(run, folder):
    """Write ``run`` as the verb does."""
    folder.mkdir()
    state = {"tokenizer": run.tokenizer.state_dict(), "lexicon": None}
    if run.target_tokenizer is not None:
        state["target_tokenizer"] = run.target_tokenizer.state_dict()
    if isinstance(run.model, Classification):
        state["classes"] = run.model.classes
    save_config(run, state, folder)
    save_weights(run.model, folder)
    return folder


def said(model):
    """What a model of any task says of the same ids."""
    if isinstance(model, Classification):
        ids_BT, lengths_B = padded(IDS, None)
        return model.log_probabilities(DocumentBatch(ids_BT, lengths_B, lengths_B))
    if isinstance(model, SequenceToSequence):
        return model.read(pair_batch(IDS, IDS[::-1], None))[0]
    return model.advance(torch.from_numpy(IDS[0])[None], model.start(1))[0]


def weights(model):
    counted = isinstance(model, CountedLanguageModel)
    return (model.model if counted else model).state_dict()


LANGUAGE_MODELS = [m for m in options("model") if m not in ("bag", "char_cnn", "kim_cnn")]
CASES = [
    *((f"model={model}",) for model in LANGUAGE_MODELS),
    *((f"vectorizer={name}", "model=gru") for name in options("vectorizer")),
    ("model=lstm", "task.tie_weights=true", "model.start=learned"),
    ("model=transformer", "model.positions=learned"),
    *(("task=classification", f"model={m}") for m in options("model") if m != "ngram"),
    ("task=classification", "model=bag", "vectorizer=bag_of_words", "vectorizer.projection=null"),
    ("task=translation", "model=gru"),
    ("task=translation", "model=lstm", "task.vocabulary=separate", "text=word"),
    ("task=summarization", "model=transformer"),
]
QUICK = (0, 3, 5, 20, 22, 24)
"""Places in CASES: one of each kind of model; all are tried with the slow tests."""
MATRIX = [
    pytest.param(case, id=" ".join(case), marks=[] if place in QUICK else [pytest.mark.slow])
    for place, case in enumerate(CASES)
]


@pytest.mark.parametrize("overrides", MATRIX)
def test_a_round_trip_is_bitwise(saved, overrides, tmp_path):
    run = saved(*overrides)
    folder = exported(run, tmp_path / "out")
    again = AutoModel.from_pretrained(folder)
    assert type(again) is type(run.model)
    before, after = weights(run.model), weights(again)
    assert list(before) == list(after)
    for name, value in before.items():
        assert np.array_equal(np.asarray(value), np.asarray(after[name])), name
        assert value.dtype == after[name].dtype
    assert not getattr(again, "training", False)
    assert torch.equal(said(again), said(run.model))
    text = "The cat, again: é中\n"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.encode(text).ids_N.tolist() == run.tokenizer.encode(text).ids_N.tolist()
    if run.target_tokenizer is not None:
        assert load(folder).target_tokenizer.state_dict() == run.target_tokenizer.state_dict()


def test_shared_weights_are_written_once_and_shared_again(saved, tmp_path):
    tied = saved("model=lstm", "task.tie_weights=true")
    folder = exported(tied, tmp_path / "out")
    again = AutoModel.from_pretrained(folder)
    assert again.head.weight is again.vectorizer.weight
    loose = exported(saved("model=lstm"), tmp_path / "loose")
    size = tied.model.head.weight.numel() * 4
    saving = sum(
        (f / "model.safetensors").stat().st_size * s for f, s in ((loose, 1), (folder, -1))
    )
    assert saving > size * 0.9


def test_nothing_of_the_machine_is_in_the_configuration(saved, tmp_path):
    run = saved("model=rnn", "text=byte")
    run.config["vectorizer"]["path"] = "/home/me/glove.txt"  # as GloVe has it
    rule = {"_target_": "lm_research.text.word_list.WordList", "path": "/home/me/words.txt"}
    run.config["text"]["cleaning"].append(rule)
    folder = exported(run, tmp_path / "out")
    assert "/" not in (folder / "config.json").read_text()


@pytest.fixture
def folder(saved, tmp_path):
    return exported(saved("model=rnn", "text=byte"), tmp_path / "out")


def changed(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.update(model_type="bert"), "this version reads"),
        (lambda c: c.update(format=99), "format 99"),
        (lambda c: c.pop("run"), "`run` is missing"),
        (lambda c: c["run"]["model"].update(_target_="os.system"), "_target_"),
        (lambda c: c["run"]["model"].update(hidden_size=-1), "hidden_size"),
        (lambda c: c["run"]["model"].update(hidden_size=9), "damaged"),
        (lambda c: c["run"].pop("task"), "task"),
        (lambda c: c["run"].update(surprise=1), "surprise"),
    ],
)
def test_a_configuration_of_a_stranger_is_checked(folder, change, told):
    changed(folder, change)
    with pytest.raises((PretrainedError, ConfigError), match=told):
        AutoModel.from_pretrained(folder)


def test_damaged_and_missing_files_are_told(folder, tmp_path):
    with pytest.raises(PretrainedError, match="no exported model"):
        AutoModel.from_pretrained(tmp_path / "nowhere")
    whole = (folder / "model.safetensors").read_bytes()
    for bad in (whole[:-8], b"", b"\xff" * 100, whole + b"x"):
        (folder / "model.safetensors").write_bytes(bad)
        with pytest.raises(PretrainedError, match="damaged"):
            AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(PretrainedError, match="is missing"):
        AutoModel.from_pretrained(folder)
    (folder / "vocabulary.json").write_text("{}")
    with pytest.raises(PretrainedError):
        AutoTokenizer.from_pretrained(folder)
    with pytest.raises(TypeError, match="from_pretrained"):
        AutoModel()


# --- tokenizer.json

TRAINED = [
    BPETokenizer(300, add_prefix_space=True),
    BPETokenizer(300),
    ByteTokenizer(),
    CharacterTokenizer(40),
    AlphabetTokenizer("Theca é\n"),
    SpacedTokenizer(30),
    SpacedTokenizer(30, unknown=None),
]
SOME = "The cat sat; the cats' mats: é中文\tend.\n\n <unk> <separator> <unknown>"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(SOME), max_size=60)


@pytest.fixture(scope="module")
def backends(tmp_path_factory):
    """Each tokenizer, and the library's as loaded from its file."""
    from tokenizers import Tokenizer as Backend

    pairs = []
    for number, tokenizer in enumerate(TRAINED):
        tokenizer.train([SOME, "the cat and the dog and the <separator> "])
        path = tmp_path_factory.mktemp("tokenizers") / f"{number}.json"
        to_tokenizers(tokenizer).save(str(path))
        pairs.append((tokenizer, Backend.from_file(str(path))))
    return pairs


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_the_library_gives_the_same_ids(backends, text):
    for tokenizer, backend in backends:
        ids = tokenizer.encode(text).ids_N.tolist()
        assert backend.encode(text).ids == ids, type(tokenizer).__name__
        assert tokenizer.separator_id not in ids
        assert backend.get_vocab_size() == tokenizer.vocabulary_size
        if tokenizer.lossless:
            assert backend.decode(ids) == text


def test_the_spaces_are_pythons():
    import re
    import sys

    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert set("".join(re.findall(PYTHON_SPACES, every))) == set(filter(str.isspace, every))


def test_what_cannot_be_expressed_is_left_out(saved, tmp_path):
    assert to_tokenizers(WordTokenizer(20)) is None
    assert to_tokenizers(ChineseWordTokenizer(20)) is None
    folder = exported(saved("model=rnn", "text=word"), tmp_path / "out")
    assert not (folder / "tokenizer.json").exists()
