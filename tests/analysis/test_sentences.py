from dataclasses import replace
from pathlib import Path

import pytest

from lm_research.analysis.documents import DocumentDifference
from lm_research.analysis.runs import find_runs
from lm_research.analysis.sentences import (
    answer,
    interaction_sentences,
    scaling_sentence,
    verdict_sentence,
)
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import Sweep, load_sweep


@pytest.fixture
def answer_of(make_run):
    """The answer for {(data, vectorizer): values by seed} and extra metrics by (data, seed)."""

    def build(values, evaluations=None):
        for (data, vectorizer), by_seed in values.items():
            for seed, value in by_seed.items():
                summary = {"val/bits_per_byte": value, **(evaluations or {}).get((data, seed), {})}
                choices = {"data": data, "vectorizer": vectorizer, "model": "m"}
                folder = make_run(f"{data}-{vectorizer}-{seed}", seed, summary, choices=choices)
        sweep = Sweep("x", "x", axes=("data", "vectorizer"))
        sentences = answer(analyse(find_runs(folder.parent), sweep))
        return [(s.kind, s.text.replace("\u00a0", " ")) for s in sentences]

    return build


def test_a_real_difference_is_stated_with_its_interval(answer_of) -> None:
    found = answer_of({("d", "a"): {1: 2.0, 2: 2.1}, ("d", "b"): {1: 2.12, 2: 2.221}})
    assert found[0] == (
        "real",
        "Averaged over the other choices, vectorizer `a` is better than `b` by 0.121 bits per byte "
        "(95 % interval 0.114 to 0.127, 2 seeds).",
    )
    assert found[1][0] == "real"
    assert "On `d`, `a` does best at 2.050 ±0.635 bits per byte; its lead over `b`" in found[1][1]


def test_seed_noise_is_called_so(answer_of) -> None:
    found = answer_of({("d", "a"): {1: 2.0, 2: 2.1}, ("d", "b"): {1: 2.12, 2: 2.05}})
    assert found[0][0] == "unclear"
    assert found[0][1].endswith("is not distinguishable from seed noise.")
    assert not any("is better than" in text or "is real" in text for _, text in found)


def test_one_seed_claims_nothing(answer_of) -> None:
    found = answer_of({("d", "a"): {1: 2.0}, ("d", "b"): {1: 3.0}})
    assert {kind for kind, _ in found} == {"unclear"}
    assert "cannot be told from seed noise without a second seed" in found[0][1]
    assert "(one seed)" in found[0][1]


def test_what_the_correction_does_not_uphold_is_unclear(answer_of) -> None:
    values = {("d", v): {1: 2.0 + i, 2: 2.1 + i + 0.06 * i} for i, v in enumerate("abcdef")}
    found = answer_of(values)
    assert any("once corrected for the number of comparisons" in text for _, text in found)


def test_a_win_in_only_some_combinations_is_said(answer_of) -> None:
    found = answer_of(
        {
            ("d", "a"): {1: 2.0, 2: 2.0}, ("d", "b"): {1: 4.0, 2: 4.01},
            ("e", "a"): {1: 3.0, 2: 3.0}, ("e", "b"): {1: 2.5, 2: 2.5},
        }
    )  # fmt: skip
    assert "though in only 1 of 2 combinations" in found[0][1]


def test_levels_that_share_nothing(answer_of) -> None:
    found = answer_of({("d", "a"): {1: 2.0}, ("e", "b"): {1: 2.0}})
    assert any("share no other choices to be compared at" in text for _, text in found)


@pytest.mark.parametrize(("away", "wins"), [(3.0, True), (1.5, False)])
def test_the_matrix_in_words(answer_of, away: float, wins: bool) -> None:
    evaluations = {
        ("d", 1): {"eval/d/bits_per_byte": 2.0, "eval/e/bits_per_byte": away},
        ("e", 1): {"eval/d/bits_per_byte": 4.0, "eval/e/bits_per_byte": 2.0},
    }
    found = answer_of({("d", "a"): {1: 2.0}, ("e", "a"): {1: 2.0}}, evaluations)
    text = next(text for _, text in found if "predicted best by" in text)
    cost = (away - 2.0 + 2.0) / 2
    assert f"costs {cost:.3f} bits per byte on average" in text
    assert text.startswith("Each source" if wins else "Not each source")
    assert wins or "`e` (better after training on `d`)" in text


def test_the_most_moving_axis_comes_first(grid: Path) -> None:
    first = answer(analyse(find_runs(grid), load_sweep(grid)))[0].text
    assert first.startswith("Data apart, what moves bits per byte most is the vectorizer, 0.3")
    assert ", then the model, 0.1" in first


def test_no_finished_run_and_no_defined_value(make_run) -> None:
    failed = make_run("a", state="failed")
    assert "no answer yet" in answer(analyse(find_runs(failed), Sweep("x", "x")))[0].text
    undefined = make_run("b", 1, {"val/bits_per_byte": None})
    (sentence,) = answer(analyse(find_runs(undefined), Sweep("x", "x")))
    assert "defined value of bits per byte" in sentence.text


def test_a_name_cannot_end_its_own_code_span(answer_of) -> None:
    found = answer_of({("d", "a`b"): {1: 2.0}})
    assert found[0][1].count("`") % 2 == 0


def test_hypotheses_interactions_and_doubts_over_documents_are_told(rich_grid: Path) -> None:
    study = analyse(find_runs(rich_grid), load_sweep(rich_grid))
    texts = [sentence.text for sentence in answer(study)]
    assert texts[0].startswith(
        "Expected `model=lstm < model=rnn`: supported; the difference is 0.1"
    )
    assert texts[0].endswith(".")
    assert "p <0.001" in texts[0] or "p 0.0" in texts[0]
    assert "contradicted; the difference is −0.1" in texts[1]
    assert texts[3].endswith("not tested, as no finished run with model=gru has a value.")
    doubtful = DocumentDifference(Estimate(0.1, 40, None, -0.1, 0.3), 0.4)
    verdict = replace(study.hypotheses[0], documents=doubtful)
    told = verdict_sentence(verdict, study.metric).text
    assert told.endswith("though over documents its interval holds 0 (−0.100 to 0.300).")
    assert interaction_sentences(study.factorial) == []  # the grid's choices add up
    term = replace(study.factorial.terms[-1], adjusted=0.01)
    (sentence,) = interaction_sentences(replace(study.factorial, terms=(term,)))
    assert sentence.text == "What the vectorizer does depends on the model (interaction, p 0.010)."
    assert sentence.kind == "real"


def test_a_law_is_told_with_its_intervals(sizes: Path) -> None:
    study = analyse(find_runs(sizes), load_sweep(sizes))
    told = scaling_sentence(study.scaling[0], study.metric).text
    assert told.startswith("Over parameters at `lstm`, bits per byte falls as x^−0.3")
