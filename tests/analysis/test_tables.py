import shutil
from pathlib import Path

import pytest

from lm_research.analysis import plots, tables
from lm_research.analysis.metric import Metric
from lm_research.analysis.runs import find_runs
from lm_research.analysis.sentences import answer
from lm_research.analysis.statistics import Estimate, t_interval
from lm_research.analysis.study import Study, analyse
from lm_research.analysis.sweep import Sweep, load_sweep

BITS = Metric.named("val/bits_per_byte")


@pytest.fixture(scope="module")
def study(grid: Path) -> Study:
    return analyse(find_runs(grid), load_sweep(grid))


def texts(table: tables.Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_estimates_in_words() -> None:
    assert tables.plus_minus(BITS, t_interval([2.0, 2.002])) == "2.001 ±0.013"
    assert tables.plus_minus(BITS, t_interval([2.0])) == "2.000 (one seed)"
    assert tables.plus_minus(BITS, None, undefined=True) == "undefined"
    assert tables.plus_minus(BITS, None) == "–"
    assert tables.interval(BITS, Estimate(0.1, 2, 0.1, -0.05, 0.25)) == "−0.050 to 0.250"
    assert [tables.p_text(p) for p in (None, 0.0, 0.0004, 0.0496)] == [
        "–",
        "<0.001",
        "<0.001",
        "0.050",
    ]


def test_every_setting_has_a_row_and_each_source_a_best(study: Study) -> None:
    table = tables.ablation_table(study)
    heads = [column.head for column in table.columns]
    assert heads == ["data", "vectorizer", "model", "bits/byte", "sd", "bootstrap", "n", "accuracy",
                     "ppl/token", "tokens/s", "params"]  # fmt: skip
    assert len(table.rows) == 12
    assert table.breaks == {6}
    best = [row for row in table.rows if row[3].best]
    assert [[cell.text for cell in row[:3]] for row in best] == [
        ["python_code", "embedding", "lstm"],
        ["bbc_news", "embedding", "lstm"],
    ]
    setting = study.of_source("python_code")[0]
    row = table.rows[0]
    assert row[3].text == tables.plus_minus(BITS, setting.estimate(BITS.key))
    assert row[4].text == f"{setting.estimate(BITS.key).sd:.4f}"
    values = list(setting.values_by_seed(BITS.key).values())
    assert row[5].text == f"{min(values):.3f} to {max(values):.3f}"  # all that two seeds can tell
    assert row[10].text == "313k"
    # the median of the rows' speeds: 41,000 + 162.5
    assert row[9].text == "41.2k"


def test_undefined_is_written_out_and_ranked_last(make_grid, make_run) -> None:
    folder = make_grid(sources=["bbc_news"], vectorizers=["one_hot"], models=["rnn"])
    choices = {**find_runs(folder)[0].choices, "vectorizer": "word"}
    summary = {"val/bits_per_byte": None, "val/accuracy": 0.5, "val/perplexity_token": None}
    shutil.copytree(make_run("word", 1, summary, choices=choices), folder / "word")
    table = tables.ablation_table(analyse(find_runs(folder), load_sweep(folder)))
    last = [cell.text for cell in table.rows[-1]]
    assert last[3:9] == ["undefined", "–", "–", "1", "0.500", "undefined"]
    assert not any(cell.best for cell in table.rows[-1])
    assert any(note.startswith("undefined:") for note in table.notes)
    assert "0.000" not in last


def test_effects_say_how_far_and_whether_it_is_real(study: Study) -> None:
    table = tables.effects_table(study)
    rows = texts(table)
    assert [row[0] for row in rows] == ["data", "", "vectorizer", "", "", "model", ""]
    assert rows[5][1] == "lstm"
    assert rows[6][1] == "rnn"
    assert float(rows[6][3]) == pytest.approx(0.14, abs=0.01)
    assert rows[6][6:] == ["6 of 6", "real"]
    assert rows[1][-1] == "seed noise"
    assert any("the mean over the evaluation sources" in note for note in table.notes)


def test_sign_flips_are_shown_where_they_can_tell(make_grid) -> None:
    folder = make_grid(sources=["bbc_news"], vectorizers=["one_hot"], seeds=range(6))
    table = tables.effects_table(analyse(find_runs(folder), load_sweep(folder)))
    heads = [column.head for column in table.columns]
    assert texts(table)[1][heads.index("p (flips)")] == "0.031"  # 2 / 2^6
    assert float(texts(table)[1][heads.index("g")]) > 1
    assert len({len(row) for row in table.rows}) == 1


def test_verdicts() -> None:
    def verdict(adjusted, low, high):
        from lm_research.analysis.statistics import PairedDifference

        estimate = Estimate(0.1, 2, 0.1, low, high)
        return tables.verdict_of(PairedDifference(estimate, (1, 2), adjusted, None), adjusted)

    assert verdict(0.01, 0.05, 0.15) == "real"
    assert verdict(0.08, 0.05, 0.15) == "unsure"
    assert verdict(0.3, -0.1, 0.3) == "seed noise"
    assert verdict(None, None, None) == "one seed"


def test_the_matrix_marks_each_columns_best(study: Study) -> None:
    assert study.matrix is not None
    table = tables.matrix_table(study, study.matrix)
    assert [[cell.best for cell in row] for row in table.rows] == [
        [False, True, False],
        [False, False, True],
    ]
    assert "6 of 6 combinations of vectorizer, model" in " ".join(table.notes)


def test_winners_and_failures(study: Study, make_run) -> None:
    rows = texts(tables.winners_table(study))
    assert [row[:2] for row in rows] == [
        ["python_code", "embedding · lstm"],
        ["bbc_news", "embedding · lstm"],
    ]
    folder = make_run("bad", 3, state="failed", error="ValueError: [red]no[/red]")
    failed = analyse(find_runs(folder), Sweep("x", "x"))
    (row,) = texts(tables.failures_table(failed))
    assert row[0] == "bad"
    assert row[-1] == "ValueError: [red]no[/red]"


def test_a_single_run_has_nothing_to_compare_with(make_run) -> None:
    study = analyse(find_runs(make_run("a")), Sweep("x", "x"))
    (row,) = texts(tables.winners_table(study))
    assert row[2:] == ["2.000 (one seed)", "–", "–", "–", "–", "nothing to compare with"]


def test_data_cards(study: Study) -> None:
    table = tables.data_table(study)
    card = dict(zip([c.head for c in table.columns], texts(table)[0], strict=True))
    assert card["licence"] == "PSF-2.0"
    assert card["bytes"] == "train 12.6 MB, validation 90,000"
    assert card["documents"] == "train 1,742, validation 217"
    assert card["cleaning"] == "strip_markup (3 changed), normalize_unicode (nothing to do)"
    assert (card["skipped"], card["selection"]) == ("empty 2", "over_cap 12")


@pytest.fixture(scope="module")
def rich(rich_grid: Path) -> Study:
    return analyse(find_runs(rich_grid), load_sweep(rich_grid))


def rows_of(table: tables.Table) -> list[dict[str, str]]:
    heads = [column.head for column in table.columns]
    return [dict(zip(heads, row, strict=True)) for row in texts(table)]


def test_hypotheses_have_a_row_each_with_both_intervals(rich: Study) -> None:
    rows = rows_of(tables.hypotheses_table(rich))
    assert [row["verdict"] for row in rows] == [
        "supported",
        "contradicted",
        "supported",
        "not tested",
    ]
    verdict = rich.hypotheses[0]
    assert rows[0]["difference"] == BITS.text(verdict.difference.estimate.mean)
    assert rows[0]["over documents"] == tables.interval(BITS, verdict.documents.estimate)
    assert rows[0]["p (Holm)"] == tables.p_text(verdict.adjusted)
    assert rows[3]["difference"] == "–"
    assert any("no finished run with model=gru" in n for n in tables.hypotheses_table(rich).notes)


def test_documents_and_effect_sizes_are_columns_where_recorded(rich: Study) -> None:
    (*_, rnn) = rows_of(tables.effects_table(rich))
    level = rich.effects[-1].levels[1]
    assert rnn["over documents"] == tables.interval(BITS, level.documents.estimate)
    assert float(rnn["g"]) == pytest.approx(level.behind.hedges_g, abs=0.05)
    for winner, row in zip(rich.winners, rows_of(tables.winners_table(rich)), strict=True):
        assert row["over documents"] == tables.interval(BITS, winner.documents.estimate)


def test_terms_have_a_row_each_and_main_effects_come_first(rich: Study) -> None:
    table = tables.factorial_table(rich, rich.factorial)
    assert [row["term"] for row in rows_of(table)] == [
        "data", "vectorizer", "model", "data × vectorizer", "data × model", "vectorizer × model",
    ]  # fmt: skip
    assert table.breaks == {3}
    model = rows_of(table)[2]
    assert model["df"] == "1, 22"
    assert model["largest contrast"] == "rnn"
    assert float(model["effect"]) == pytest.approx(0.07, abs=0.01)
    contrasts = tables.contrasts_table(BITS, rich.factorial.terms[2])
    assert [row[0] for row in texts(contrasts)] == ["rnn", "lstm"]


def test_the_main_effect_of_the_data_is_that_on_common_texts(rich: Study) -> None:
    """On its own validation text bbc_news would look 0.26 worse, for being the harder text."""
    data = rich.factorial.terms[0]
    assert data.axes == ("data",)
    assert abs(data.contrasts[0].effect.mean) < 0.01


def test_laws_have_a_row_each(sizes: Path) -> None:
    found = analyse(find_runs(sizes), load_sweep(sizes))
    rows = rows_of(tables.scaling_table(found))
    assert [row["at"] for row in rows] == ["lstm", "transformer_with_a_long_name"]
    assert rows[0]["α"].startswith(f"{found.scaling[0].fit.exponent.mean:.3g} (")
    assert rows[0]["runs"] == "10"


def test_with_one_setting_a_source_nobody_wins(make_grid) -> None:
    folder = make_grid(sources=["bbc_news", "python_code"], vectorizers=["one_hot"], models=["rnn"])
    study = analyse(find_runs(folder), load_sweep(folder))
    assert study.one_a_source
    titles = [table.title for table in tables.all_tables(study)]
    assert not any("best setting per source" in title for title in titles)
    effects = tables.effects_table(study)
    assert "worse in" not in [column.head for column in effects.columns]  # 1 of 1 says nothing
    assert {len(row) for row in effects.rows} == {len(effects.columns)}
    assert not any("does best" in sentence.text for sentence in answer(study))
    (drawn,) = plots.setting_plots(study).values()
    assert len(drawn.layout["yaxis"]["categoryarray"]) == 2
