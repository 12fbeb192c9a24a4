"""A run's vectors, as files that other runs start from."""

import pytest

from lm_research.cli.runs import run
from lm_research.cli.saved import load
from lm_research.vectorizers.word_vectors import read_word_vectors


def test_a_runs_vectors_come_back_and_its_coverage_is_recorded(train, tmp_path, read_json, capsys):
    folder = train("vectorizer=glove", "vectorizer.epochs=1")
    report = read_json(folder / "data.json")["vectorizer"]
    assert 0 < report["coverage"] <= 1
    assert report["solver"] == "numba"
    assert read_json(folder / "summary.json")["vectorizer/coverage"] == report["coverage"]

    path = tmp_path / "vectors.bin.gz"
    assert run(["vectors", str(folder), f"output={path}", "format=word2vec_binary"]) == 0
    assert "tokens left out" in capsys.readouterr().out
    saved = load(str(folder))
    weight_VD = saved.model.vectorizer.output_weight()
    found = read_word_vectors(str(path), ["e", "t"], weight_VD.shape[1])
    for word, vector_D in found.vectors.items():
        (id,) = saved.tokenizer.encode(word).ids_N
        assert vector_D.tolist() == weight_VD[id].tolist()
    assert list(found.vectors) == ["e", "t"] or list(found.vectors) == ["t", "e"]
    with pytest.raises(FileExistsError):
        run(["vectors", str(folder), f"output={path}", "format=word2vec_binary"])


def test_a_run_without_vectors_of_tokens_says_so(train, tmp_path):
    folder = train("vectorizer=one_hot")
    with pytest.raises(ValueError, match="has no vector for each token; vectorizer=embedding"):
        run(["vectors", str(folder), f"output={tmp_path / 'v.txt'}"])
