"""The commands that the project promises, through the real entry point."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lm_research.cli.main import VERBS, main
from lm_research.tracking.run_identity import config_hash

SMALL = [
    "budget=smoke",
    "budget.train_tokens=2048",
    "budget.train_bytes=20000",
    "budget.eval_bytes=2000",
    "trainer=cpu",
]


def lm_research(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    return exit.value.code or 0


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lm-research"])


@pytest.fixture
def trained(tmp_path) -> Path:
    folder = tmp_path / "out"
    assert lm_research("train", *SMALL, f"output={folder}", "tracking=disabled") == 0
    return folder


MISTAKES = {
    "model.hiden_size=3": ["hiden_size", "model=lstm", "hidden_size", "conf/model/lstm.yaml"],
    "model.hidden_size=wide": ["model.hidden_size=wide", "an integer at least 1"],
    "model.hidden_size=0": ["out of range", "an integer at least 1"],
    "model=lstmm": ["lstmm", "did you mean `lstm`"],
    "+model.foo=3": ["model=lstm has no field `foo`", "hidden_size"],
    "data=files": ["data.paths", "must be given"],
    "model._target_=os.system": ["not on the allow-list"],
    "optimizer.lr=-1": ["optimizer.lr=-1", "within (0, 1000]"],
    "evaluate_on=[cod]": ["`cod`", "did you mean `code`"],
    "model.hidden_size=${nothing}": ["model.hidden_size", "nothing"],
    "sweep=demoo": ["did you mean `demo`"],
}


@pytest.mark.parametrize(("override", "said"), MISTAKES.items())
def test_a_mistake_is_named_in_a_few_lines(override, said, capsys):
    assert lm_research("train", override) == 2
    text = capsys.readouterr().err
    assert all(part in text for part in said), text
    assert "Traceback" not in text
    assert len(text.splitlines()) <= 6


def test_all_mistakes_are_told_at_once(capsys):
    assert lm_research("train", "model.hiden_size=3", "seed=x", "+vectorizer.z=1", "budgt=2") == 2
    text = capsys.readouterr().err
    assert "4 problems" in text
    assert all(word in text for word in ("hiden_size", "seed=x", "vectorizer.z", "budgt"))


def test_looking_at_a_config_loads_no_torch():
    code = (
        "import sys\nfrom lm_research.cli.main import main\n"
        "try: main(['train', '--cfg', 'job'])\n"
        "except SystemExit as exit: code = exit.code\n"
        "assert not code, code\n"
        "assert not {'torch', 'pytorch_lightning', 'wandb'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["model"]["_target_"].endswith("LSTM")


def test_a_run_is_recorded_and_its_config_rebuilds_it(tmp_path, read_json, capsys):
    folder = tmp_path / "OUT"
    choice = ["model=lstm", "data=code", "vectorizer=tfidf"]
    assert lm_research("train", *choice, *SMALL, f"output={folder}") == 0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any("val/bits_per_byte" in row for row in rows)
    status = read_json(folder / "status.json")
    assert status["state"] == "done"
    said = capsys.readouterr().out
    assert f"run: {folder}" in said
    assert (
        f"val/bits_per_byte {read_json(folder / 'summary.json')['val/bits_per_byte']:.4f}" in said
    )
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config_hash(config) == status["config_hash"]

    from lm_research.cli.job import run

    run({**config, "tracking": {**config["tracking"], "mode": "disabled"}}, tmp_path / "again")
    key = "val/bits_per_byte"
    again = read_json(tmp_path / "again/summary.json")
    assert again[key] == read_json(folder / "summary.json")[key]


def test_a_multirun_makes_four_runs_with_four_ids(tmp_path, read_json):
    axes = ["model=rnn,cnn", "vectorizer=one_hot,bag_of_words"]
    # A command of its own: its runs are forked, which W&B's threads in this process forbid.
    command = [sys.executable, "-c", "from lm_research.cli.main import main; main()"]
    arguments = ["train", "-m", *axes, *SMALL, f"output={tmp_path / 'm'}"]
    subprocess.run([*command, *arguments], check=True, timeout=300)
    found = [read_json(file) for file in sorted((tmp_path / "m").glob("*/status.json"))]
    assert [status["state"] for status in found] == ["done"] * 4
    assert len({status["id"] for status in found}) == 4
    offline = list((tmp_path / "m").glob("*/wandb/offline-run-*"))
    assert len(offline) == 4


def test_another_run_in_the_folder_is_not_overwritten(trained, capsys):
    before = (trained / "metrics.jsonl").read_bytes()
    assert lm_research("train", *SMALL, "seed=7", f"output={trained}", "tracking=disabled") == 1
    text = capsys.readouterr().err
    assert "seed: 1 -> 7" in text
    assert "Traceback" not in text
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_evaluation_of_the_own_source_is_the_runs_own_score(trained, read_json, capsys):
    assert lm_research("evaluate", f"run={trained}", "window=77") == 0
    scored = json.loads((trained / "evaluations.jsonl").read_text())
    expected = read_json(trained / "summary.json")["val/bits_per_byte"]
    assert scored["bits_per_byte"] == pytest.approx(expected, rel=1e-6)
    assert lm_research("evaluate", f"run={trained}", "data=tweets", "split=test") == 0
    assert "tweets (test)" in " ".join(capsys.readouterr().out.split())


def test_generation_is_reproducible(trained, capsys):
    def text(*options: str) -> str:
        assert lm_research("generate", f"run={trained}", "prompt=def ", "length=20", *options) == 0
        return capsys.readouterr().out

    assert text("temperature=0") == text("top_k=1")
    assert text("seed=1") == text("seed=1")
    assert text("seed=1", "temperature=1") != text("seed=2", "temperature=1")
    assert text("top_p=0.9").startswith("def ")


@pytest.mark.parametrize("option", ["temperature=-1", "top_p=0", "top_k=none?", "lenght=3"])
def test_generation_names_a_bad_option(option, trained, capsys):
    assert lm_research("generate", f"run={trained}", option) == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_a_missing_run_says_so(capsys):
    assert lm_research("generate", "run=nowhere") == 1
    assert "no run there" in capsys.readouterr().err


def test_data_list_has_enough_to_begin_with(capsys):
    assert lm_research("data", "list") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "yes, no network" in line]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    assert len(cells) >= 8
    assert len({row[2] for row in cells}) >= 5
    assert {"en", "zh"} <= {row[1] for row in cells}


def test_audit_finds_no_text_in_two_splits(capsys):
    assert lm_research("data", "audit", "data=python_docs") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["texts_in_two_splits"] == 0
    assert set(report["splits"]) == {"train", "validation", "test"}


def test_a_sweep_reports_and_is_not_run_twice(tmp_path, capfd):
    axes = ["data=code,tweets", "vectorizer=one_hot", "model=rnn", "seed=1"]
    launch = ["hydra/launcher=basic", "evaluate_on=[code]", "tracking=disabled"]
    sweep = ["sweep", "sweep=demo", *axes, *SMALL, *launch, f"output={tmp_path / 's'}"]
    assert lm_research(*sweep) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "report: reports/demo.html"
    assert Path("reports/demo.html").stat().st_size > 1_000_000
    files = sorted((tmp_path / "s").glob("*/metrics.jsonl"))
    before = [file.stat().st_mtime_ns for file in files]
    assert len(files) == 2
    assert lm_research(*sweep) == 0
    assert "all 2 jobs are done; nothing is left to do" in capfd.readouterr().out
    assert lm_research(*sweep, "optimizer.lr=0.5") == 0  # another study, in folders of its own
    assert [file.stat().st_mtime_ns for file in files] == before
    assert len(list((tmp_path / "s").glob("*/metrics.jsonl"))) == 4
    assert lm_research("sweep", "status", f"output={tmp_path / 's'}") == 0
    said = capfd.readouterr().out
    assert "2 done" in said
    assert "2 more runs are in the folder, of the study as it was before" in said


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cfg", "job"], "--cfg: is no flag of this command"),
        (["--backend", "mlflow"], "--backend=mlflow: is not known"),
        (["model=rnn,lstmm"], "model has no option `lstmm`; did you mean `lstm`?"),
        (["model.hiden_size=3,4"], "no field `hiden_size`; did you mean `hidden_size`?"),
        (["job=model-rnn", "model=rnn"], "job=model-rnn: is none of the study's"),
    ],
)
def test_a_study_that_cannot_be_meant(tmp_path, capsys, arguments, said):
    assert lm_research("sweep", "sweep=demo", *arguments, f"output={tmp_path / 's'}") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_one_failed_run_does_not_stop_the_sweep(tmp_path, capfd):
    axes = ["data=code", "vectorizer=one_hot", "model=rnn", "seed=1", "data.sha256=wrong,null"]
    launch = ["hydra/launcher=basic", "evaluate_on=[]", "tracking=disabled"]
    arguments = ["sweep=demo", *axes, *SMALL, *launch, f"output={tmp_path / 's'}"]
    assert lm_research("sweep", *arguments) == 1
    states = [json.loads(f.read_text())["state"] for f in (tmp_path / "s").glob("*/status.json")]
    assert sorted(states) == ["done", "failed"]
    assert "not done" in capfd.readouterr().err
    assert lm_research("sweep", "status", f"output={tmp_path / 's'}", "--json") == 0
    jobs = {job["state"]: job for job in json.loads(capfd.readouterr().out)}
    assert "sha256" in jobs["failed"]["error"]
    failed = tmp_path / "s" / jobs["failed"]["folder"] / "status.json"
    for flags, attempts in (([], 1), (["--retry"], 2)):
        assert lm_research("sweep", *arguments, *flags) == 1
        assert json.loads(failed.read_text())["attempts"] == attempts


def test_unknown_verbs_and_help(capsys):
    assert lm_research("trian") == 2
    assert "there is no verb `trian`; did you mean `train`?" in capsys.readouterr().err
    for verb in VERBS:
        assert lm_research(verb, "--help") == 0
    assert lm_research("doctor") == 0


def test_two_processes_on_a_cpu_equal_one(tmp_path, read_json):
    command = [sys.executable, "-c", "from lm_research.cli.main import main; main()", "train"]
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "tracking=disabled"]
    both = [*command, *SMALL[:-1], *ddp, f"output={tmp_path / 'two'}"]
    done = subprocess.run(both, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr[-2000:]
    one = [*SMALL, "tracking=disabled", f"output={tmp_path / 'one'}"]
    assert lm_research("train", *one) == 0
    scores = [read_json(tmp_path / n / "summary.json")["val/bits_per_byte"] for n in ("one", "two")]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    two, alone = (
        [json.loads(line) for line in (tmp_path / n / "metrics.jsonl").read_text().splitlines()]
        for n in ("two", "one")
    )
    assert [row["step"] for row in two] == [row["step"] for row in alone]
    losses = [
        [r["train/loss_nats"] for r in rows if "train/loss_nats" in r] for rows in (two, alone)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # of the whole batch, not of a share
    again = subprocess.run(both, capture_output=True, text=True, env={**os.environ}, timeout=240)
    assert again.returncode == 0
    assert "done already" in again.stdout
