import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.english_tagger import EnglishTagger, Perceptron
from lm_research.text.tags import NO_TAG, UPOS

SENTENCES = [
    "The quick brown fox jumps over the lazy dog",
    "I saw the saw that he had bought in New York in 1999",
    "Running quickly , she did n't see xylofrobs 's glimmery 2nd thing",
    "Buffalo buffalo Buffalo buffalo buffalo buffalo Buffalo buffalo",
    "one",
]


@pytest.fixture(scope="module")
def tagger():
    return EnglishTagger()


@pytest.fixture(scope="module")
def trainers_own():
    """Inference as the model's author wrote it."""
    perceptron = pytest.importorskip("denckring_en_pos.perceptron")
    import denckring_en_pos

    model = json.loads(gzip.decompress(denckring_en_pos.TAGGER_PATH.read_bytes()))
    vocabulary = frozenset(model["vocabulary"])
    return perceptron.Tagger(model["weights"], model["tagdict"], model["classes"], vocabulary)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_labels_are_those_of_the_models_author(tagger, trainers_own, sentence):
    words = sentence.split()
    assert tagger._perceptron.tag(words) == trainers_own.tag(words)


@given(st.lists(st.text(alphabet="thesawrunigdAB12'", min_size=1, max_size=8), max_size=12))
def test_labels_of_random_words_too(tagger, trainers_own, words):
    assert tagger._perceptron.tag(words) == trainers_own.tag(words)


def test_a_sentence_with_its_signs(tagger):
    tagged = tagger.tag("She can't pay $5 & he won’t,\n either.  The dog barked!")
    assert tagged == [
        ("She", "PRON"),
        (" can't", "AUX"),
        (" pay", "VERB"),
        (" $", "SYM"),
        ("5", "NUM"),
        (" &", "CCONJ"),
        (" he", "PRON"),
        (" won’t", "AUX"),
        (",", "PUNCT"),
        ("\n", NO_TAG),
        (" either", "ADV"),
        (".", "PUNCT"),
        (" ", NO_TAG),
        (" The", "DET"),
        (" dog", "NOUN"),
        (" barked", "VERB"),
        ("!", "PUNCT"),
    ]


@given(st.one_of(st.text(), st.text(alphabet="ab I'’.!\n_1$%&é日\u0301\u200b")))
def test_pieces_are_the_text_and_tags_known(tagger, text):
    tagged = tagger.tag(text)
    assert "".join(piece for piece, _ in tagged) == text
    assert {tag for _, tag in tagged} <= {NO_TAG, *UPOS}


def test_sentences_are_tagged_one_by_one(tagger):
    first, second = "He saw the", "Dog food is bad."
    joined = tagger.tag(f"{first}\n\n{second}")
    assert [t for t in joined if t[0].strip()] == tagger.tag(first) + tagger.tag(second)


def tiny_model(weights):
    return {"classes": ["NOUN|-", "VERB|Fin"], "tagdict": {"the": "DET|-"}, "weights": weights}


def test_scores_by_hand():
    weights = {
        "w run": {"VERB|Fin": 1.0},
        "t-1 DET|-": {"NOUN|-": 0.75},
        "w-1 the": {"NOUN|-": 0.5},
        "w+1 </s>": {"VERB|Fin": 0.125},
    }
    perceptron = Perceptron(tiny_model(weights))
    assert perceptron.tag(["run"]) == ["VERB|Fin"]
    assert perceptron.tag(["the", "run"]) == ["DET|-", "NOUN|-"]


def test_a_tie_goes_to_the_greater_label():
    assert Perceptron(tiny_model({})).tag(["x"]) == ["VERB|Fin"]


def test_the_cache_does_not_change_answers(tagger, monkeypatch):
    monkeypatch.setattr("lm_research.text.english_tagger._CACHE_LIMIT", 5)
    text = ". ".join(SENTENCES)
    assert EnglishTagger().tag(text) == tagger.tag(text)


def test_a_model_of_ones_own(tmp_path):
    path = tmp_path / "tagger.json.gz"
    path.write_bytes(gzip.compress(json.dumps(tiny_model({})).encode()))
    assert EnglishTagger(str(path)).tag("the x") == [("the", "DET"), (" x", "VERB")]


def test_a_missing_package_names_the_fix(monkeypatch):
    monkeypatch.setattr("lm_research.text.english_tagger._PACKAGE", "no_such_package")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lm-research\[corpora\]'"):
        EnglishTagger()


def test_another_file_than_expected_names_the_fix(monkeypatch):
    monkeypatch.setattr("lm_research.text.english_tagger._MODEL_SHA256", "0")
    with pytest.raises(ValueError, match=r"is not the model of denckring-en-pos 0\.6\.0"):
        EnglishTagger()
