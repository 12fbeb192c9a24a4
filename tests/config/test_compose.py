"""What composing refuses, in which words; what it fills in."""

from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from lm_research.config.compose import compose, register_studies
from lm_research.config.problems import ConfigError

MINE = "_target_: lm_research.models.lstm.LSTM\nhidden_size: 8\n"


def test_all_problems_are_told_at_once(problems):
    found = problems(
        "model.hiden_size=4",
        "optimizer=adom",
        "budget.window=0",
        "seed=x",
        "hydra.run.dri=x",
        "trainer.devices=1,2",
    )
    assert set(found) == {
        "model.hiden_size",
        "optimizer",
        "budget.window",
        "seed",
        "hydra.run.dri",
        "trainer.devices=1,2",
    }


@pytest.mark.parametrize(
    ("override", "field", "message", "closest"),
    [
        ("model.hiden_size=4", "model.hiden_size", "no field `hiden_size`", "hidden_size"),
        ("+model.foo=3", "model.foo", "model=lstm has no field `foo`", None),
        ("optimiser=adam", "optimiser", "the configuration has no field", "optimizer"),
        ("+optimiser=adam", "optimiser", "the configuration has no field", "optimizer"),
        ("~model.foo", "~model.foo", "model=lstm has no field `foo`", None),
        ("optimizer=adom", "optimizer", "has no option `adom`", "adam"),
        ("model=null", "model", "has no option `null`", None),
        ("model=[lstm,gru]", "model=[lstm,gru]", "options are not merged", None),
        ("model.hidden_size=abc", "model.hidden_size", "is text", None),
        ("model.hidden_size=2.0", "model.hidden_size", "is a number", None),
        ("seed=true", "seed", "is true or false", None),
        ("budget.window=0", "budget.window", "is out of range", None),
        ("model.dropout=1.0", "model.dropout", "is out of range", None),
        ("trainer.precision=bf16-mix", "trainer.precision", "not among", "bf16-mixed"),
        ("callbacks.samples.every=1", "callbacks.samples.every", "no field `every`", None),
        ("data=mixture", "data.weights", "must be given", None),
        ("~model", "model", "is missing", None),
        ("model=lstm,gru", "model=lstm,gru", "several values", None),
        ("model.x=[", "model.x=[", "cannot be read", None),
        ("output=''", "output", "is empty", None),
        ("splits.test=0.95", "splits", "nothing is left for training", None),
        ("trainer.devices=3", "budget.batch_size", "cannot be shared out", None),
        ("model.hidden_size=${budget.nothing}", "model.hidden_size", "'budget.nothing'", None),
        ("hydra/launchr=joblib", "hydra/launchr", "no such group", "hydra/launcher"),
        ("debug.max_steps=3", "debug.max_steps", "once an option of it is chosen", None),
        ("hydra/launcher=jobli", "hydra/launcher", "has no option", "joblib"),
    ],
)
def test_each_kind_of_mistake(problems, override, field, message, closest):
    found = problems(override)
    assert set(found) == {field}
    assert message in found[field].message
    assert found[field].closest == closest


def test_a_message_has_field_value_range_and_file(problems):
    told = str(problems("budget.window=0")["budget.window"]).splitlines()
    assert told == [
        "  budget.window=0: is out of range",
        "    allowed: an integer at least 1",
        "    file: conf/budget/small.yaml",
    ]


def test_fields_of_an_option_that_is_not_there_are_not_told_as_well(problems):
    assert set(problems("model=lstn", "model.layers=2")) == {"model"}


def test_every_beta_is_told_on_its_own(problems):
    assert set(problems("optimizer.betas=[0.9,1.5]")) == {"optimizer.betas.1"}


# Hydra's own fields


@pytest.mark.parametrize(
    ("override", "field", "closest"),
    [
        ("+hydra.nope=3", "hydra.nope", None),
        ("++hydra.job.nam=3", "hydra.job.nam", "name"),
        ("hydra.swep.dir=x", "hydra.swep", "sweep"),
        ("+hydra.job.config.override_dirname.kv_spe=-", None, "kv_sep"),
        ("hydra.sweeper.parms={}", "hydra.sweeper.parms", "params"),
    ],
)
def test_hydra_has_no_such_field(problems, override, field, closest):
    field = field or override.lstrip("+").partition("=")[0]
    found = problems(override, "seed=-1")
    assert set(found) == {field, "seed"}
    assert found[field].closest == closest


def test_launcher_of_a_plugin_knows_its_fields(problems):
    compose(["sweep=demo", "hydra.launcher.n_jobs=1"])
    found = problems("sweep=demo", "hydra.launcher.n_jobz=1", "+hydra.launcher.x=1")
    assert found["hydra.launcher.n_jobz"].closest == "n_jobs"
    assert set(found) == {"hydra.launcher.n_jobz", "hydra.launcher.x"}


def test_fields_that_hydra_leaves_open(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/s.yaml").write_text("hydra: {sweeper: {params: {seed: '1,2'}}}\n")
    monkeypatch.chdir(tmp_path)
    overrides = [
        "+hydra.job.env_set.OMP_NUM_THREADS='1'",
        "sweep=s",
        "+hydra.sweeper.params.budget=small",
        "hydra.job.chdir=false",
        "hydra/job_logging=disabled",
    ]
    assert compose(overrides).hydra.job.env_set.OMP_NUM_THREADS == "1"


def test_an_unknown_field_of_hydra_in_a_study(write, problems):
    write("sweeps/odd.yaml", "hydra: {job: {nam: x}}\n")
    found = problems("sweep=odd")
    assert found["hydra.job.nam"].closest == "name"


# A folder of the user's own


def test_option_of_ones_own_folder(write, here):
    write("my_conf/model/mine.yaml", MINE)
    config = compose(["model=mine"], str(here / "my_conf")).config
    assert config["model"]["hidden_size"] == 8
    assert config["choices"]["model"] == "mine"


def test_no_such_folder():
    with pytest.raises(ConfigError, match=r"--config-dir=.*nowhere: there is no such folder"):
        compose([], "nowhere")


def test_bad_yaml_is_a_problem_only_for_who_names_it(write, here, problems):
    file = write("my_conf/model/broken.yaml", "a: [1\n b: }\n")
    assert compose([], str(here / "my_conf")).config["choices"]["model"] == "lstm"
    (problem,) = problems("model=broken").values()
    assert str(file) in problem.message
    assert "line 2" in problem.message


def test_bad_yaml_of_a_data_option(write, here, problems):
    file = write("my_conf/data/broken.yaml", "a: [1\n b: }\n")
    assert compose(["evaluate_on=[code]"], str(here / "my_conf"))
    found = problems("evaluate_on=[code,broken]")
    assert found["evaluate_on.broken"].file == str(file)


def test_the_file_that_holds_the_field_is_named(write, problems):
    mine = write("my_conf/model/mine.yaml", f"{MINE}dropout: 2\n")
    extra = write(
        "my_conf/callbacks/extra.yaml",
        "extra: {_target_: lm_research.callbacks.progress.ProgressBar, every: 0}\n",
    )
    found = problems(
        "model=mine",
        "model.nope=1",
        "callbacks=[default,extra]",
        "callbacks.checkpoint.every=0",
        "budget.window=0",
        "splits.seed=x",
    )
    assert {field: problem.file for field, problem in found.items()} == {
        "model.dropout": str(mine),
        "model.nope": str(mine),
        "callbacks.extra.every": str(extra),
        "callbacks.checkpoint.every": "conf/callbacks/quiet.yaml",  # which default builds upon
        "budget.window": "conf/budget/small.yaml",
        "splits.seed": "conf/config.yaml",
    }


def test_an_option_that_a_shipped_one_would_hide_is_refused(write, problems):
    file = write("my_conf/model/lstm.yaml", MINE)
    (problem,) = problems("model=gru").values()
    assert problem.field == str(file)
    assert "conf/model/lstm.yaml has this name" in problem.message


def test_a_target_that_is_not_allowed(write, problems):
    file = write("my_conf/model/mine.yaml", "_target_: os.system\ncommand: 'true'\n")
    found = problems("model=mine")
    assert found["model._target_"].value == "os.system"
    assert found["model._target_"].file == str(file)
    assert "LM_RESEARCH_ALLOW" in found["model._target_"].allowed


def test_instantiation_keys_of_hydra_are_unknown_fields(write, problems):
    write("my_conf/model/mine.yaml", f"{MINE}_partial_: true\n_args_: [1]\n_convert_: all\n")
    assert set(problems("model=mine")) == {"model._partial_", "model._args_", "model._convert_"}


# Studies


def test_studies_of_the_working_folder(write):
    write("sweeps/mine.yaml", "defaults: [{override /model: gru}]\nbudget: {window: 7}\n")
    write("experiments/known/config.yaml", "budget: {batch_size: 5}\n")
    config = compose(["sweep=mine", "experiment=known"]).config
    assert config["choices"]["model"] == "gru"
    assert (config["budget"]["window"], config["budget"]["batch_size"]) == (7, 5)
    assert compose(["sweep=demo"]).config["sweep"]["name"] == "demo"  # the shipped are there, too


def test_a_study_of_the_working_folder_wins_over_a_shipped_one(write):
    write("sweeps/demo.yaml", "seed: 77\n")
    assert compose(["sweep=demo"]).config["seed"] == 77


def test_studies_of_a_folder_left_behind_are_forgotten(write, tmp_path, monkeypatch):
    write("sweeps/mine.yaml", "seed: 77\n")
    register_studies()
    assert "mine.yaml" in ConfigStore.instance().repo["sweep"]
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(ConfigError, match="sweep has no option `mine`"):
        compose(["sweep=mine"])


@pytest.mark.parametrize("text", ["a: [", "- 1\n", "", b"\xff\xfe\x00".decode("latin-1")])
def test_an_unreadable_study_is_a_problem_only_for_who_names_it(write, problems, text):
    file = write("sweeps/bad.yaml", text)
    compose([])
    found = problems("sweep=bad", "seed=-1")
    assert str(file.relative_to(Path.cwd())) in found["sweep"].message
    assert set(found) == {"sweep", "seed"}


def test_a_study_that_sets_the_field_is_named(write, problems):
    sweep = write("sweeps/mine.yaml", "model: {hidden_size: -1}\noutput: ''\n")
    experiment = write("experiments/known/config.yaml", "model: {hidden_size: -2, num_layers: 0}\n")
    found = problems("sweep=mine", "experiment=known")
    assert {field: (p.value, p.file) for field, p in found.items()} == {
        "model.hidden_size": ("-1", str(sweep)),
        "model.num_layers": ("0", str(experiment)),
        "output": ("", str(sweep)),
    }
    write("sweeps/mine.yaml", "optimizer: {betas: [0.9, 1.5]}\nmodel: {hidden_size: -1}\n")
    assert problems("sweep=mine")["optimizer.betas.1"].file == str(sweep)


def test_what_the_command_line_sets_is_not_the_studys(write, problems):
    write("sweeps/mine.yaml", "model: {hidden_size: -1}\nseed: 5\noutput: runs/mine\n")
    found = problems("sweep=mine", "model.hidden_size=-3", "seed=-1", "output=''", "model=gru")
    assert found["model.hidden_size"].file == "conf/model/gru.yaml"  # here it is at home
    assert found["seed"].file == found["output"].file == "conf/config.yaml"


def test_a_list_that_is_no_choice_of_options(problems):
    assert problems("seed=[1]")["seed"].file == "conf/config.yaml"


# What is filled in


def test_names_of_data_options_become_their_nodes():
    config = compose(["evaluate_on=[code,bbc_news]"]).config
    assert list(config["evaluate_on"]) == ["code", "bbc_news"]
    assert config["evaluate_on"]["code"] == compose(["data=code"]).config["data"]
    assert compose([]).config["evaluate_on"] == {}


def test_unknown_names_in_evaluate_on(problems):
    found = problems("evaluate_on=[cod]")
    assert found["evaluate_on"].closest == "code"
    assert "bbc_news" in found["evaluate_on"].allowed


def test_members_of_a_mixture_become_their_nodes():
    members = {"code": 1, "tweets": 2}
    config = compose(["data=mixture", "data.weights={code: 1, tweets: 2}"]).config
    alone = {name: compose([f"data={name}"]).config["data"] for name in members}
    assert config["data"]["weights"] == members
    assert config["data"]["sources"] == alone


def test_an_entry_of_sources_changes_that_option():
    overrides = ["data=mixture", "data.weights={code: 1}", "+data.sources.code={name: renamed}"]
    source = compose(overrides).config["data"]["sources"]["code"]
    assert source == {**compose(["data=code"]).config["data"], "name": "renamed"}


def test_a_member_that_is_not_there(problems):
    found = problems("data=mixture", "data.weights={cod: 1}")
    assert found["data.weights"].closest == "code"


@pytest.mark.parametrize(
    "options", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}]
)
def test_a_mixture_of_itself(write, here, options):
    for name, member in options.items():
        text = f"defaults: [mixture]\nname: {name}\nweights: {{code: 1, {member}: 1}}\n"
        write(f"my_conf/data/{name}.yaml", text)
    with pytest.raises(ConfigError, match="`a` is a mixture of itself"):
        compose(["evaluate_on=[a]"], str(here / "my_conf"))


def test_a_mixture_of_mixtures(write, here):
    write("my_conf/data/inner.yaml", "defaults: [mixture]\nname: inner\nweights: {code: 1}\n")
    overrides = ["data=mixture", "data.weights={inner: 1, code: 1}"]
    sources = compose(overrides, str(here / "my_conf")).config["data"]["sources"]
    assert sources["inner"]["sources"]["code"] == sources["code"]
    assert sources["inner"]["name"] == "inner"


def test_home_and_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("LM_RESEARCH_CACHE", "~/stores")
    config = compose(["output='~/runs/a'"]).config
    assert config["cache"] == "/home/someone/stores"
    assert config["output"] == "/home/someone/runs/a"
    monkeypatch.delenv("LM_RESEARCH_CACHE")
    assert compose([]).config["cache"] == "/home/someone/.cache/lm_research"


def test_the_result_is_plain_and_names_its_choices():
    config = compose(["model=gru", "sweep=demo"]).config
    assert "hydra" not in config
    assert config["choices"]["model"] == "gru"
    assert not {"sweep", "local", "experiment"} & set(config["choices"])


def test_sources_that_a_rule_compares_with_are_named_and_expanded():
    rule = "{_target_: lm_research.text.duplicates.ExactDuplicates, against: [code]}"
    config = compose([f"text.cleaning=[{rule}]"]).config
    (expanded,) = config["text"]["cleaning"]
    assert expanded["against"] == {"code": compose(["data=code"]).config["data"]}
    with pytest.raises(ConfigError) as error:
        compose([f"text.cleaning=[{rule.replace('code', 'cod')}]"])
    assert "text.cleaning.0.against: there is no data option `cod`" in str(error.value)
    assert "did you mean `code`" in str(error.value)
