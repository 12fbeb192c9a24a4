"""``lm-research runs``, as one types it."""

import csv
import io
import json

import pyarrow.parquet as pq
import pytest
import yaml

from lm_research.cli.main import main

ROWS = [
    {"step": n, "tokens": 10 * n, "seconds": 0.5 * n, "val/bits_per_byte": 5 - n} for n in (1, 2)
]


def write_run(folder, seed=1, score=2.0, state="done", model="rnn", **config):
    folder.mkdir(parents=True)
    values = {
        "seed": seed,
        "output": str(folder),
        "model": {"_target_": f"m.{model}", "hidden_size": 8, "dropout": 0.0},
        "optimizer": {"lr": 1e-3, "betas": [0.9, 0.999]},
        "choices": {"model": model, "data": "code"},
        **config,
    }
    status = {"id": f"id{seed}{model}", "state": state, "step": 2, "steps": 2,
              "created": f"2026-11-24T10:00:{seed:02d}+00:00", "error": None}  # fmt: skip
    if state == "failed":
        status |= {"error": "ValueError: too small", "error_file": "error.txt"}
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "summary.json").write_text(json.dumps({"val/bits_per_byte": score}))
    data = {"fingerprint": "f" * 64, "source": "code", "licence": "PSF-2.0"}
    (folder / "data.json").write_text(json.dumps(data))
    environment = {"host": "h", "command": ["lm-research", "train", f"seed={seed}", "a=b c"]}
    (folder / "environment.json").write_text(json.dumps(environment))
    return folder


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Four runs in the default folder of the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    write_run(tmp_path / "runs" / "model=rnn,seed=1", 1, 2.5)
    write_run(tmp_path / "runs" / "model=rnn,seed=2", 2, 2.25)
    write_run(tmp_path / "runs" / "model=lstm,seed=1", 3, 2.125, model="lstm")
    write_run(tmp_path / "runs" / "model=lstm,seed=2", 4, 2.0, state="failed", model="lstm")
    return tmp_path / "runs"


@pytest.fixture
def runs(capfd):
    """``runs ARGUMENTS``: (exit code, standard output, standard error)."""

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["runs", *map(str, arguments)])
        return (end.value.code or 0, *capfd.readouterr())

    return call


def names(out):
    """The folders in a printed table, from top to bottom."""
    return [line.split()[0] for line in out.splitlines() if line.strip().startswith("model=")]


def test_list_the_newest_first(root, runs):
    code, out, _ = runs("list")
    assert code == 0
    assert names(out) == [f"model={m},seed={s}" for m in ("lstm", "rnn") for s in (2, 1)]
    assert "3 done, 1 failed" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model=lstm"], {3, 4}),
        (["model=lstm", "state=done"], {3}),
        (["model=rnn,lstm", "--state", "failed,stale"], {4}),
        (["seed=1,2"], {1, 2}),
        (["optimizer.lr=0.001"], {1, 2, 3, 4}),
        (["optimizer.lr=1e-3", "data=code", "seed=3"], {3}),
        (["optimizer.betas=[0.9,0.999]", "seed=3"], {3}),
        (["optimizer.betas.0=0.9"], {1, 2, 3, 4}),
        (["model.hidden_size=16"], set()),
    ],
)
def test_list_filters(root, runs, arguments, expected):
    code, out, _ = runs("export", *arguments)
    assert code == 0
    assert {int(row["seed"]) for row in csv.DictReader(io.StringIO(out))} == expected


def test_list_sorts_and_limits(root, runs):
    _, out, _ = runs("list", "sort=val/bits_per_byte", "limit=2")
    assert names(out) == ["model=lstm,seed=2", "model=lstm,seed=1"]
    assert "2 of 4 runs" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list", "modle=rnn"], "modle=rnn: no run has that field; did you mean `model`?"),
        (["list", "state=finished"], "allowed: done, failed, interrupted, queued, running, stale"),
        (["list", "sort=val/bits"], "did you mean `val/bits_per_byte`?"),
        (["list", "limit=0"], "limit=0: does not fit"),
        (["list", "lstm"], "lstm: is not FIELD=VALUE"),
        (["list", "runs=nowhere"], "nowhere: no such folder"),
        (["lst"], "did you mean `list`?"),
        (["show", "nothing"], "none of the 4 runs in runs has an id or a name that begins so"),
        (["show", "model=rnn"], "several runs of runs begin so"),
        (["show"], "exactly one RUN"),
        (["compare", "id1"], "at least two RUNs"),
        (["export", "format=xml"], "one of csv, parquet, json"),
        (["export", "output=runs.xls"], "its ending names no format"),
        (["export", "output=runs/model=rnn,seed=1/config.yaml", "format=csv"], "is there already"),
    ],
)
def test_errors_say_what_is_wrong_and_what_is_allowed(root, runs, arguments, told):
    code, _, err = runs(*arguments)
    assert code in (1, 2)
    assert told in " ".join(err.split())
    assert "Traceback" not in err


def test_show_a_run_by_folder_id_or_name(root, runs):
    shown = [
        runs("show", name) for name in ("id4", "model=lstm,seed=2", root / "model=lstm,seed=2")
    ]
    assert len({out for _, out, _ in shown}) <= 2  # the folder as it was typed
    out = shown[0][1]
    for part in (
        "id4lstm  failed, step 2",
        "model.hidden_size",
        "licence      PSF-2.0",
        "f" * 64,
        "val/bits_per_byte  2",
        "lm-research train seed=4 'a=b c'",
        "ValueError: too small",
        "error.txt",
        "checkpoints",
    ):
        assert part in out


def test_show_what_is_not_the_default(train, runs, tmp_path):
    folder = train("model=gru", "optimizer.lr=0.5", "data=bbc_news")
    _, out, _ = runs("show", folder)
    assert "0.5  (default 0.003)" in out
    assert "model" in out
    assert "gru" in out
    assert "optimizer.betas" not in out
    assert "evaluations" in out


def test_compare_shows_what_differs_and_nothing_else(root, runs):
    _, out, _ = runs("compare", "id1", "id3")
    told = out.split()
    assert {"seed", "model._target_", "m.rnn", "m.lstm", "val/bits_per_byte", "2.125"} <= set(told)
    assert "equal in data and environment" in out
    for same in ("hidden_size", "optimizer", "output", "choices", "fingerprint", "host"):
        assert same not in out


def test_export_to_a_file_in_every_format(root, runs, tmp_path):
    for form in ("csv", "json", "parquet"):
        assert runs("export", f"output=all.{form}")[0] == 0
    rows = json.loads((tmp_path / "all.json").read_text())
    assert rows == pq.read_table(tmp_path / "all.parquet").to_pylist()
    assert [row["val/bits_per_byte"] for row in rows] == [2.0, 2.125, 2.25, 2.5]
    assert rows[0]["model"] == "lstm"
    assert rows[0]["model.hidden_size"] == 8
    assert rows[0]["optimizer.betas"] == "[0.9, 0.999]"
    with (tmp_path / "all.csv").open() as file:
        assert [float(row["val/bits_per_byte"]) for row in csv.DictReader(file)] == [
            row["val/bits_per_byte"] for row in rows
        ]
    assert not list(tmp_path.glob(".all*"))


def test_export_the_curves(root, runs):
    _, out, _ = runs("export", "rows=metrics", "seed=1", "format=json")
    rows = [{k: v for k, v in row.items() if k in ROWS[0]} for row in json.loads(out)]
    assert rows == ROWS


def test_export_tells_no_secret_and_hands_no_formula_to_a_spreadsheet(root, runs, monkeypatch):
    config = {
        "note": "=cmd|' /C calc'!A0",
        "label": "@SUM(1)",
        "password": "swordfish1",
        "dash": "-x",
    }
    write_run(root / "hostile", 9, **config, word="p4ssw0rd-in-the-clear")
    assert "p4ssw0rd" in runs("export", "seed=9")[1]
    monkeypatch.setenv("DB_PASSWORD", "p4ssw0rd-in-the-clear")  # known now, not when it was read
    _, out, _ = runs("export", "seed=9")
    (row,) = csv.DictReader(io.StringIO(out))
    assert row["note"] == "'=cmd|' /C calc'!A0"
    assert (row["label"], row["dash"]) == ("'@SUM(1)", "'-x")
    assert "swordfish1" not in out
    assert "p4ssw0rd" not in out
    _, out, _ = runs("export", "seed=9", "format=json")
    assert json.loads(out)[0]["note"] == "=cmd|' /C calc'!A0"


def test_a_terminal_is_not_given_orders(root, runs):
    write_run(root / "x\x1b]0;owned\x07", 9, model="a\x1b[2Jb")
    for command in (["list"], ["show", "id9"], ["compare", "id9", "id1"]):
        _, out, err = runs(*command)
        assert "\x1b" not in out + err
        assert "U+001B" in out


def test_help(runs):
    for action in ("list", "show", "compare", "export"):
        code, out, _ = runs(action, "--help")
        assert code == 0
        assert "runs=..." in out
