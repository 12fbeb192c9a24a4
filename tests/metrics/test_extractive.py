"""Extractive baselines against networkx, scikit-learn and by hand."""

import math

import networkx
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from lm_research.metrics.extractive import (
    TfIdf,
    extract,
    first_words,
    lead,
    sentences_of,
    text_rank,
)
from lm_research.metrics.written import words_of

TEXT = (
    "The river rose in the night. Farmers near the river left their houses in the night. "
    "A dog barked. The water of the river reached the houses of the farmers! Nobody was hurt."
)
WORDS = [[word.lower() for word in words_of(s)] for s in sentences_of(TEXT)]


def test_the_lead_is_the_first_sentences_as_they_are():
    assert extract(TEXT, 1, lead) == "The river rose in the night."
    assert extract(TEXT, 9, lead) == " ".join(sentences_of(TEXT))
    assert extract("今天下雨。明天晴。", 2, lead) == "今天下雨。明天晴。"
    assert extract("", 3, lead) == ""


def test_text_rank_is_pagerank_of_sentences_that_share_words():
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(WORDS)))
    for i, first in enumerate(WORDS):
        for j, second in enumerate(WORDS[:i]):
            both = len(set(first) & set(second))
            if both:
                weight = both / (math.log(len(first)) + math.log(len(second)))
                graph.add_edge(i, j, weight=weight)
    expected = networkx.pagerank(graph, alpha=0.85, tol=1e-12)
    np.testing.assert_allclose(
        text_rank(WORDS), [expected[i] for i in range(len(WORDS))], atol=1e-7
    )
    np.testing.assert_allclose(text_rank([["a"], ["b"], []]), 1 / 3)


def test_tfidf_scores_are_scikit_learns_cosines_with_the_document():
    documents = [TEXT.lower(), "the sun shone on the river", "dogs and cats", "a night in the city"]
    vectorizer = TfidfVectorizer(tokenizer=words_of, token_pattern=None, norm=None)
    vectorizer.fit(documents)
    sentences = [s.lower() for s in sentences_of(TEXT)]
    x = vectorizer.transform(sentences)
    expected = cosine_similarity(x, np.asarray(x.sum(0)))[:, 0]
    np.testing.assert_allclose(TfIdf(documents)(WORDS), expected, rtol=1e-12)


def test_of_equal_sentences_the_first_is_taken_and_the_order_of_the_text_kept():
    text = "One fish swims here. Two birds sing. One fish swims here. Two birds sing."
    for choose in (text_rank, TfIdf([text])):
        assert extract(text, 1, choose) in ("One fish swims here.", "Two birds sing.")
    assert (
        extract("B two. A one. C three.", 2, lambda s: np.array([0.0, 1, 2])) == "A one. C three."
    )


def test_first_words():
    assert first_words("A firm, it is said, fell.", 4) == "A firm , it"
    assert first_words("今天天气很好。", 3) == "今天天"
    assert first_words("", 3) == ""
