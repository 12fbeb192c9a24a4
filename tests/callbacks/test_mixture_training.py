"""A sampled mixture in a run: rows, data.json, continuing, and what it is refused for."""

import json

import pytest
from chaos_suite.equality import difference

from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.data.document import DataError
from lm_research.tracking.errors import RunFolderError

PLAIN = ("data=mixture", "data.weights={dialogue_en: 1, quotations: 2}")
SCHEDULE = "data.schedule={dialogue_en: [[0, 4], [1, 0]]}"
SAMPLED = (*PLAIN, SCHEDULE, "data.temperature=2", "data.epochs={dialogue_en: 3}")


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("model", ["lstm", pytest.param("transformer", marks=pytest.mark.slow)])
def test_a_cut_run_of_a_schedule_ends_like_an_undisturbed_one(train, cut, model):
    options = (*SAMPLED, f"model={model}", "data.run_windows=3", "callbacks.metrics.every=3")
    whole = train(*options, output="whole")
    cut(7, *options)
    assert difference(whole, train(*options, output="cut")) is None


def test_rows_and_data_json_tell_what_was_asked_and_what_was_read(train, read_json):
    folder = train(*PLAIN, SCHEDULE, "data.run_windows=1", "callbacks.evaluation.times=2")
    first, last = [row for row in rows(folder) if "mixture/quotations_share" in row]
    names = ("dialogue_en", "quotations")
    for row in (first, last):
        for part in ("share", "asked"):
            assert sum(row[f"mixture/{name}_{part}"] for name in names) == pytest.approx(1)
    # 4 to 0 against 2: two thirds to nothing, and on the way.
    assert last["mixture/dialogue_en_asked"] == pytest.approx(0.452, abs=0.01)
    assert last["mixture/dialogue_en_share"] == pytest.approx(0.452, abs=0.05)
    assert first["mixture/dialogue_en_asked"] > 0.55
    told = read_json(folder / "data.json")["mixture"]
    assert {name: card["share"] for name, card in told.items()} == {
        name: last[f"mixture/{name}_share"] for name in names
    }
    assert all(card["bytes"] > 0 and len(card["sha256"]) == 64 for card in told.values())


def test_without_sampling_nothing_of_it_is_recorded(train, read_json):
    folder = train(*PLAIN)
    data = read_json(folder / "data.json")
    assert "mixture" not in data
    assert data["asked"] == pytest.approx({"dialogue_en": 1 / 3, "quotations": 2 / 3})
    assert not [key for row in rows(folder) for key in row if key.startswith("mixture/")]


def test_the_held_out_text_is_that_of_the_weights_alone(train, read_json):
    folders = [train(*PLAIN, output="plain"), train(*SAMPLED, output="sampled")]
    texts = [read_json(folder / "data.json")["splits"]["validation"] for folder in folders]
    assert texts[0] == texts[1]


def test_another_stream_is_refused(train, cut, read_json, tmp_path):
    cut(7, *SAMPLED)
    file = tmp_path / "cut/data.json"
    data = read_json(file)
    data["mixture"]["quotations"]["sha256"] = "0" * 64
    file.write_text(json.dumps(data))
    with pytest.raises(RunFolderError, match=r'(?s)not the .*mixture\.quotations\.sha256: "000'):
        train(*SAMPLED, output="cut")


def test_a_counted_model_has_no_training_time(train):
    with pytest.raises(DataError, match=r"a counted model has none\n  fix: data\.temperature=null"):
        train(*SAMPLED, "model=ngram")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.temperature=0", r"data\.temperature=0: is out of range\n    allowed: a number gr"),
        ("data.temperature=0.001", r"data\.temperature=0.001: is out of range\n.* at least 0.01"),
        ("data.epochs={quotation: 2}", r"data\.epochs\.quotation: no weight of .*`quotations`\?"),
        ("data.epochs={quotations: -2}", r"data\.epochs\.quotations=-2: is out of range"),
        ("data.schedule={code: [[0, 1]]}", r"data\.schedule\.code: no weight of that name"),
        ("data.schedule={quotations: []}", r"schedule\.quotations=\[\]: has no points"),
        ("data.schedule={quotations: [[0, 1, 2]]}", r"is no list of pairs"),
        ("data.schedule={quotations: [[0, 1], [2, 1]]}", r"leaves the run: progress is from 0 to"),
        ("data.schedule={quotations: [[0.5, 1], [0.5, 1]]}", r"goes back in time"),
        (
            "data.schedule={quotations: [[0, 1], [1, 0]], dialogue_en: [[0, 1], [1, 0]]}",
            r"data\.schedule: all weights are 0 at progress 1",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_read(override, told):
    with pytest.raises(ConfigError, match=told):
        compose([*PLAIN, override])


def test_a_member_that_is_sampled_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    text = "defaults: [mixture]\nname: inner\nweights: {code: 1}\ntemperature: 2\n"
    (tmp_path / "data/inner.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"data\.sources\.inner: is sampled while training"):
        compose(["data=mixture", "data.weights={inner: 1, code: 1}"], str(tmp_path))
