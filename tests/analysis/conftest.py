"""Fabricated run folders: the files that a real run leaves, with numbers from a known model."""

import json
import math
import random
import zlib
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

SOURCES: dict[str, dict[str, Any]] = {
    "python_code": {"language": "en", "category": "code", "licence": "PSF-2.0", "bytes": 12_582_912,
                    "documents": 1_742, "level": 2.05},
    "bbc_news": {"language": "en", "category": "news", "licence": "CC-BY-4.0", "bytes": 5_013_221,
                 "documents": 2_225, "level": 2.31},
    "zh_reviews": {"language": "zh", "category": "reviews", "licence": "MIT", "bytes": 7_402_113,
                   "documents": 16_548, "level": 2.62},
}  # fmt: skip
VECTORIZERS = {"one_hot": 0.11, "bag_of_words": 0.31, "tfidf": 0.305, "embedding": 0.0}
MODELS = {"rnn": 0.14, "lstm": 0.0}
SAMPLES = {
    "python_code": "def __init__(self, name=None):\n\tif name is None:\n\t\treturn "
    "self.<script>alert(1)</script>\n",
    "bbc_news": "The prime minister said that the company’s shares & profits rose by 3% "
    "\x1b[31mred\x1b[0m in the",
    "zh_reviews": "酒店的服务很好，房间也很干净，就是早餐有点贵。\u202e下次还会来",
}


def bits(
    source: str, vectorizer: str, model: str, seed: int, evaluation: str | None = None
) -> float:
    """The true value plus seed noise that is reproducible from the names alone."""
    noise = random.Random(f"{source}/{vectorizer}/{model}/{seed}/{evaluation}").gauss(0, 0.006)
    target = evaluation or source
    apart = 0.0 if target == source else 1.1 if "zh_reviews" in (source, target) else 0.55
    return SOURCES[target]["level"] + VECTORIZERS[vectorizer] + MODELS[model] + apart + noise


def write_run(
    folder: Path,
    choices: dict[str, str],
    seed: int,
    summary: dict[str, float | None],
    *,
    state: str = "done",
    error: str | None = None,
    config: dict[str, Any] | None = None,
    rows: Iterable[dict[str, Any]] = (),
    samples: Iterable[dict[str, Any]] = (),
    **files: dict[str, Any],
) -> Path:
    """One run folder; ``config`` goes over a plausible one, ``files`` are environment and data."""
    folder.mkdir(parents=True)
    resolved: dict[str, Any] = {
        group: {"_target_": f"lm_research.{group}.{option}"} for group, option in choices.items()
    }
    resolved["seed"] = seed
    resolved["output"] = str(folder)
    resolved["choices"] = choices
    resolved.update(config or {})
    (folder / "config.yaml").write_text(yaml.safe_dump(resolved, allow_unicode=True))
    status = {"state": state, "id": folder.name, "started": "2026-11-24T10:00:00+00:00",
              "finished": "2026-11-24T10:00:11+00:00" if state in {"done", "failed"} else None,
              "step": 300, "steps": 300, "error": error, "config_hash": "0" * 12}  # fmt: skip
    (folder / "status.json").write_text(json.dumps(status))
    lines = [*rows, {"step": 300, "tokens": 307200, "seconds": 9.5, "final": True, **summary}]
    if state != "done":
        lines = lines[:-1]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if state == "done":
        (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "samples.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def write_grid(
    folder: Path,
    sources: Iterable[str] = ("python_code", "bbc_news"),
    vectorizers: Iterable[str] = ("one_hot", "bag_of_words", "embedding"),
    models: Iterable[str] = ("rnn", "lstm"),
    seeds: Iterable[int] = (1, 2),
) -> Path:
    """A whole sweep folder: realistic curves, matrix, samples, environment and data cards."""
    sources, folder = list(sources), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.yaml").write_text(
        yaml.safe_dump(
            {"name": "demo", "title": "Data, vectorization and architecture on real text",
             "question": "Which choice matters most for predicting text: the data, how tokens "
                         "become vectors, or the architecture?",
             "metric": "val/bits_per_byte", "direction": "minimize",
             "axes": ["data", "vectorizer", "model"]}
        )
    )  # fmt: skip
    job = 0
    for source in sources:
        for vectorizer in vectorizers:
            for model in models:
                for seed in seeds:
                    _grid_run(folder / str(job), source, vectorizer, model, seed, sources)
                    job += 1
    return folder


def _grid_run(
    folder: Path, source: str, vectorizer: str, model: str, seed: int, sources: list[str]
) -> None:
    final = bits(source, vectorizer, model, seed)
    about = SOURCES[source]
    summary: dict[str, float | None] = {
        "val/bits_per_byte": final,
        "val/perplexity_token": 2**final,
        "val/accuracy": max(0.05, 0.86 - 0.19 * final),
        "model/parameters": {"rnn": 98_560, "lstm": 296_448}[model]
        + (16_384 if vectorizer == "embedding" else 0),
        "model/flops_per_token": 590_000.0,
    }
    for other in sources:
        value = bits(source, vectorizer, model, seed, other)
        summary[f"eval/{other}/bits_per_byte"] = value
        summary[f"eval/{other}/accuracy"] = max(0.05, 0.86 - 0.19 * value)
    speed = {"rnn": 58_000, "lstm": 41_000}[model] / (1 + VECTORIZERS[vectorizer])
    rows = [
        {"step": step, "tokens": step * 1024, "seconds": step / 32, "train/loss_nats": 0.69 * value,
         "val/bits_per_byte": value, "val/accuracy": 0.3, "perf/tokens_per_s": speed + step}
        for step in range(25, 301, 25)
        for value in [final + 2.6 * math.exp(-step / 60) + 0.02 * (1 - step / 300)]
    ]  # fmt: skip
    choices = {"data": source, "text": "byte", "vectorizer": vectorizer, "model": model,
               "task": "language_modeling", "optimizer": "adam", "budget": "demo",
               "tracking": "offline"}  # fmt: skip
    data = {"_target_": f"lm_research.data.sources.{source}", "name": source,
            **{key: about[key] for key in ("language", "category", "licence")}}  # fmt: skip
    write_run(
        folder,
        choices,
        seed,
        summary,
        rows=rows,
        config={"data": data},
        samples=[{"step": 300, "prompt": SAMPLES[source][:4], "text": SAMPLES[source][4:] * 3}],
        environment=environment(f"data={source}", f"vectorizer={vectorizer}", f"model={model}"),
        data=data_record(source),
    )


def add_documents(folder: Path, count: int = 40) -> Path:
    """Give every run of a sweep its documents, which add up to its recorded bits per byte."""
    for place in sorted(path.parent for path in folder.glob("*/summary.json")):
        summary, data = (json.loads((place / f"{n}.json").read_text()) for n in ("summary", "data"))
        own = yaml.safe_load((place / "config.yaml").read_text())["choices"]["data"]
        (place / "evaluations").mkdir()
        data["evaluated"] = {}
        for key in [key for key in summary if key.endswith("/bits_per_byte")]:
            group = key.rpartition("/")[0]
            source = own if group == "val" else group.removeprefix("eval/")
            _write_documents(place / "evaluations", group, summary[key], source, count)
            data["evaluated"][source] = {"text_sha256": source}
        data["splits"]["validation"]["text_sha256"] = own
        (place / "data.json").write_text(json.dumps(data))
    return folder


def _write_documents(folder: Path, group: str, bits: float, source: str, count: int) -> None:
    size_D = np.random.default_rng(len(source)).integers(200, 3000, count)
    own = zlib.crc32(f"{folder.parent.name}/{group}".encode())
    share_D = np.random.default_rng(len(source)).normal(1.0, 0.1, count)
    share_D += np.random.default_rng(own).normal(0.0, 0.05, count)
    nats_D = bits * math.log(2) * share_D * size_D
    nats_D *= bits * math.log(2) * size_D.sum() / nats_D.sum()
    np.savez(folder / f"{group.replace('/', '-')}.npz", document_nats=nats_D, document_bytes=size_D)


def environment(*overrides: str) -> dict[str, Any]:
    """What a run records of its machine."""
    return {
        "host": "laptop",
        "platform": "Linux-6.1-x86_64",
        "python": "3.11.9",
        "cpu": {"model": "AMD EPYC", "cores": 2, "usable_cores": 2},
        "gpus": [],
        "torch": {"threads": 1, "cuda": None},
        "versions": {"torch": "2.13.0", "pytorch-lightning": "2.6.6", "hydra-core": "1.3.8"},
        "git": {"commit": "4f1c2d9a7b6e5f4c3b2a1908f7e6d5c4b3a29180", "dirty": False},
        "command": ["/home/me/.venv/bin/lm-research", "train", *overrides, "text.note=two words"],
    }


def data_record(source: str) -> dict[str, Any]:
    """What a run records of its data."""
    about = SOURCES[source]
    documents, size = about["documents"], about["bytes"]
    return {
        "splits": {
            "train": {"documents": documents, "tokens": size, "bytes": size, "sha256": "0"},
            "validation": {"documents": documents // 8, "tokens": 90_000, "bytes": 90_000},
        },
        "fingerprint": f"{source:0<64}",
        "left_out": {
            "skipped": {"empty": 2},
            "cleaning": [
                {"name": "strip_markup", "documents_changed": 3, "documents_dropped": 0},
                {"name": "normalize_unicode", "documents_changed": 0, "documents_dropped": 0},
            ],
            "selection": {"over_cap": 12},
        },
    }


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep: 2 sources x 3 vectorizers x 2 models x 2 seeds. Not to be changed."""
    return write_grid(tmp_path_factory.mktemp("grid") / "demo")


HYPOTHESES = [
    "model=lstm < model=rnn",
    "vectorizer=one_hot < vectorizer=embedding",
    "vectorizer=embedding, model=lstm < vectorizer=bag_of_words, model=rnn where data=bbc_news",
    "model=gru < model=rnn",
]


@pytest.fixture(scope="session")
def rich_grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid with three seeds, documents and hypotheses. Not to be changed."""
    folder = add_documents(write_grid(tmp_path_factory.mktemp("rich") / "demo", seeds=(1, 2, 3)))
    recorded = yaml.safe_load((folder / "sweep.yaml").read_text())
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**recorded, "hypotheses": HYPOTHESES}))
    return folder


@pytest.fixture(scope="session")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sizes of two models, and a failed run with a long error. Not to be changed."""
    folder = tmp_path_factory.mktemp("scaling") / "sizes"
    for model, exponent in (("lstm", 0.30), ("transformer_with_a_long_name", 0.36)):
        for size, seed in product((16, 32, 64, 128, 256), (1, 2)):
            count = 40.0 * size**2
            noise = 1 + 0.01 * math.sin(7 * size + seed)
            write_run(
                folder / f"{model}-{size}-{seed}", {"data": "a", "model": model}, seed,
                {"val/bits_per_byte": 1.4 + 30 * count**-exponent * noise,
                 "model/parameters": count},
                config={"model": {"hidden_size": size}},
            )  # fmt: skip
    error = "RuntimeError: " + "/a/very/long/path/without/a/space" * 8
    write_run(folder / "bad", {"data": "a", "model": "lstm"}, 9, {}, state="failed", error=error)
    return folder


@pytest.fixture(scope="session")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six trials of a search over a rate and an optimizer with a long name. Not to be changed."""
    folder = tmp_path_factory.mktemp("searches") / "search"
    for number, rate in enumerate((0.0003, 0.001, 0.003, 0.01, 0.03, 0.05)):
        chosen = {"data": "a", "optimizer": ("adam", "stochastic_gradient_descent")[number % 2]}
        summary = {"val/bits_per_byte": 2 + (math.log(rate) + 5) ** 2 / 10}
        config = {"optimizer": {"lr": rate}}
        write_run(folder / str(number), chosen, 1, summary, config=config)
    node = {"name": "search", "axes": ["optimizer.lr", "optimizer"], "tune": {"trials": 6}}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(node))
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes one run under tmp_path/runs and returns its folder."""

    def make(
        name: str, seed: int = 1, summary: dict[str, float | None] | None = None, **keywords: Any
    ) -> Path:
        choices = keywords.pop("choices", {"data": "a", "vectorizer": "one_hot", "model": "rnn"})
        values = {"val/bits_per_byte": 2.0} if summary is None else summary
        return write_run(tmp_path / "runs" / name, choices, seed, values, **keywords)

    return make


@pytest.fixture
def make_grid(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep folder with the given sources, vectorizers, models and seeds."""
    return lambda **axes: write_grid(tmp_path / "sweep", **axes)
