"""What pretraining is worth: the source of the weights by the score of the task."""

from lm_research.analysis.report import write_report
from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import load_sweep
from lm_research.analysis.tables import all_tables, transfer_table

from .conftest import write_run

CHOICES = {"data": "mr", "model": "lstm"}


def transferred(data, seed, recipe="abc", freeze="none"):
    """Part of the configuration of a run whose language model has the run's own seed."""
    source = {"data": data, "recipe": recipe, "seed": seed, "step": 9 + seed, "sha256": f"{seed}"}
    return {
        "init_from": f"runs/{data}-{seed}",
        "transfer": {"checkpoint": "best", "freeze": freeze, "source": source},
    }


def study(folder, losses, **more):
    for (name, freeze), values in losses.items():
        for seed, value in enumerate(values, 1):
            config = {} if name is None else transferred(name, seed, freeze=freeze, **more)
            summary = {"val/bits_per_byte": value}
            if name is not None:
                summary["init_from/bits_per_byte"] = 2.0 + seed
            write_run(folder / f"{name}-{freeze}-{seed}", CHOICES, seed, summary, config=config)
    return analyse(find_runs(folder), load_sweep(folder))


def test_the_gain_over_scratch_is_paired_by_seed(tmp_path):
    found = study(
        tmp_path,
        {(None, ""): [1.0, 1.2], ("<news>", "none"): [0.9, 1.1], ("tweets", "encoder"): [1.3, 1.1]},
    )
    assert found.axes[0] == "init_from"
    table = transfer_table(found)
    assert table in all_tables(found)
    rows = [[cell.text for cell in row] for row in table.rows]
    assert [row[1] for row in rows] == ["<news>", "scratch", "tweets"]
    news, scratch, tweets = rows
    assert news[3] == "3.500"  # the mean of 3 and 4
    assert news[5].startswith("+0.100 (0.100 to 0.100)")
    assert scratch[5] == "–"
    assert tweets[5].startswith("−0.100 (")
    page = write_report(find_runs(tmp_path), load_sweep(tmp_path), tmp_path / "r.html").read_text()
    assert "What pretraining is worth" in page
    assert "&lt;news&gt;" in page


def test_language_models_that_differ_in_the_seed_alone_are_replicates(tmp_path):
    found = study(tmp_path, {("tweets", "none"): [1.0, 1.1, 1.2]})
    assert len(found.settings) == 1
    assert transfer_table(found).rows[0][5].text == "–"


def test_others_are_not_averaged(tmp_path):
    for seed in (1, 2):
        config = transferred("tweets", 1)
        config["transfer"]["source"]["seed"] = 3 + seed  # neither the run's own, nor one for all
        write_run(tmp_path / str(seed), CHOICES, seed, {"val/bits_per_byte": 1.0}, config=config)
    found = analyse(find_runs(tmp_path), load_sweep(tmp_path))
    assert len(found.settings) == 2


def test_runs_from_scratch_have_no_such_table(tmp_path):
    assert transfer_table(study(tmp_path, {(None, ""): [1.0]})) is None


def test_a_damaged_configuration_is_from_scratch(tmp_path):
    write_run(tmp_path / "a", CHOICES, 1, {"val/bits_per_byte": 1.0}, config={"transfer": [1]})
    found = analyse(find_runs(tmp_path), load_sweep(tmp_path))
    assert transfer_table(found) is None
