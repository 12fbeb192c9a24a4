"""Held-out documents that share text with the training split, and scores without them."""

import json

import numpy as np
import pytest

from lm_research.data.contamination import UNITS, contaminated
from lm_research.data.preparation import cached, prepare
from lm_research.tasks.evaluation import evaluate
from lm_research.text.units import units

RUN = "one two three four five six seven eight nine ten eleven twelve thirteen"
ROWS = [
    ("train", f"Once: {RUN}. The end of it all"),
    ("train", "a short one"),
    *(("train", f"filler number {i} says what nobody else in here would say") for i in range(9)),
    ("validation", f"before ... {RUN.upper()} -- and after, much else is new"),  # case, signs
    ("validation", "A short one!"),  # equal, and shorter than 13
    ("validation", "once a short one was a longer text"),  # holds a short one: no window of 13
    ("validation", f"{RUN[:-9]} fourteen, which is one unit too few to count"),
    ("validation", "nothing in common"),
    ("test", "nothing either"),
]
EXPECTED = {0, 1}
BYTES = {"_target_": "lm_research.text.byte.ByteTokenizer"}
BUDGET = {"train_bytes": 10**6, "eval_bytes": 10**6}
SPLITS = {"validation": 0.1, "test": 0.1, "seed": 0}


def node(tmp_path, rows, name="leaky"):
    file = tmp_path / f"{name}.jsonl"
    file.write_text("".join(json.dumps({"text": t, "split": s}) + "\n" for s, t in rows))
    return {
        "_target_": "lm_research.data.sources.files.LocalFiles",
        "paths": str(file),
        "split_field": "split",
        "name": name,
        "language": "en",
        "category": "web",
        "licence": "unknown",
    }


@pytest.fixture
def prepared(tmp_path):
    def prepared(tokenizer=BYTES, rows=ROWS, trained=None, **options):
        text = {"cleaning": [], "tokenizer": tokenizer, "tagger": None}
        data = node(tmp_path, rows, **options)
        return prepare(data, text, SPLITS, BUDGET, tmp_path / "cache", trained)

    return prepared


def texts_of(prepared, split):
    found = prepared.store.split(split)
    return [prepared.tokenizer.decode(found.document(i)) for i in range(len(found.documents))]


def test_which_documents_share_text_is_found_whatever_the_tokenizer(prepared) -> None:
    wanted = {t for s, t in ROWS if s == "validation"}
    leaks = {[t for s, t in ROWS if s == "validation"][i] for i in EXPECTED}
    first = prepared()
    shared = contaminated(first.store.split("validation"), first.store)
    texts = texts_of(first, "validation")
    assert set(texts) == wanted
    assert {t for t, hit in zip(texts, shared, strict=True) if hit} == leaks
    words = {"_target_": "lm_research.text.word.WordTokenizer", "vocabulary_size": 20}
    other = prepared(words)
    assert contaminated(other.store.split("validation"), other.store).tolist() == shared.tolist()
    assert len(units(RUN)) == UNITS


def test_it_is_searched_once_and_a_damaged_answer_again(prepared, monkeypatch) -> None:
    store = prepared().store
    expected = contaminated(store.split("validation"), store)
    (file,) = store.folder.glob("validation.shared-13.*.npy")
    before = file.stat().st_mtime_ns
    assert contaminated(store.split("validation"), store).tolist() == expected.tolist()
    assert file.stat().st_mtime_ns == before
    file.write_bytes(b"damaged")
    assert contaminated(store.split("validation"), store).tolist() == expected.tolist()


def test_another_source_is_held_against_the_training_split_of_the_run(prepared) -> None:
    own = prepared()
    trained = {"tokenizer": own.tokenizer.state_dict()}
    rows = [("validation", f"elsewhere, {RUN}"), ("validation", "quite another matter")]
    other = prepared(rows=rows, trained=trained, name="other")
    shared = contaminated(other.store.split("validation"), own.store)
    found = [t for t, hit in zip(texts_of(other, "validation"), shared, strict=True) if hit]
    assert found == [f"elsewhere, {RUN}"]


def test_a_store_is_found_without_being_made(prepared, tmp_path) -> None:
    text = {"cleaning": [], "tokenizer": BYTES, "tagger": None}
    data = node(tmp_path, ROWS)
    place = (data, text, SPLITS, BUDGET, tmp_path / "cache")
    assert cached(*place) is None
    made = prepared().store
    assert cached(*place).meta == made.meta


class Uniform:
    """A model that says the same of every token, but for one: a score by hand is easy."""

    vocabulary_size = 257

    def start(self, batch):
        return None

    def advance(self, ids_BT, stream):
        import torch

        logits = torch.arange(257.0) / 100
        return logits.log_softmax(-1).expand(*ids_BT.shape, 257), stream


def test_the_clean_score_is_that_of_the_clean_documents_alone(prepared) -> None:
    """The model has no memory, so that a stream of the clean documents alone is the oracle."""
    first = prepared()
    split = first.store.split("validation")
    shared = contaminated(split, first.store)
    result = evaluate(Uniform(), split, 7, contaminated=shared)
    texts = zip(texts_of(first, "validation"), shared, strict=True)
    clean = [("validation", text) for text, hit in texts if not hit]
    alone = prepared(rows=[*clean, ("train", "x")], name="clean").store.split("validation")
    expected = evaluate(Uniform(), alone, 100).scores["bits_per_byte"]
    assert result.scores["bits_per_byte_clean"] == pytest.approx(expected, rel=1e-12)
    assert result.scores["contaminated_documents"] == 2
    whole = evaluate(Uniform(), split, 7).scores
    assert {k: result.scores[k] for k in whole} == whole
    assert "bits_per_byte_clean" not in whole


def test_with_nothing_shared_it_is_the_score_itself_and_with_all_undefined(prepared) -> None:
    split = prepared().store.split("validation")
    none = evaluate(Uniform(), split, 7, contaminated=np.zeros(5, bool)).scores
    assert none["bits_per_byte_clean"] == none["bits_per_byte"]
    every = evaluate(Uniform(), split, 7, contaminated=np.ones(5, bool)).scores
    assert every["bits_per_byte_clean"] is None
