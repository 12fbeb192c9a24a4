"""Thousands of run folders: one real run's files, with other options and numbers."""

import json
import random
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import yaml

SOURCES = {"bbc_news": 2.31, "code": 2.05, "tweets": 2.9, "bible_kjv": 2.1, "dialogue_en": 2.6}
VECTORIZERS = {"one_hot": 0.11, "bag_of_words": 0.31, "tfidf": 0.30, "embedding": 0.0}
MODELS = {"rnn": 0.14, "gru": 0.03, "lstm": 0.0, "cnn": 0.2, "transformer": 0.1}
RATES = [round(0.001 * 1.5**n, 6) for n in range(10)]
TINY = (
    "budget=smoke", "budget.train_tokens=1024", "budget.batch_size=4", "budget.window=16",
    "budget.hidden_size=8", "budget.train_bytes=20000", "budget.eval_bytes=1000",
    "callbacks.metrics.every=1", "callbacks.samples.length=100", "tracking=disabled",
    "trainer=cpu", "data=bbc_news", "evaluate_on=[code,bbc_news]",
)  # fmt: skip


def make_folders(folder: Path, count: int) -> None:
    """Train one run, and write ``count`` that look like it into ``folder``."""
    with tempfile.TemporaryDirectory() as scratch:
        real = Path(scratch) / "run"
        code = "from lm_research.cli.main import main; main()"
        command = [sys.executable, "-c", code, "train", *TINY, f"output={real}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        template = _Template(real)
    seeds = -(-count // (len(SOURCES) * len(VECTORIZERS) * len(MODELS) * len(RATES)))
    jobs = product(SOURCES, VECTORIZERS, MODELS, RATES)
    folder.mkdir(parents=True)
    written = 0
    for data, vectorizer, model, rate in jobs:
        config = template.config(data, vectorizer, model, rate)
        for seed in range(1, seeds + 1):
            if written < count:
                place = folder / f"data={data},lr={rate},model={model},seed={seed},vec={vectorizer}"
                template.write(place, config, (data, vectorizer, model, rate, seed))
                written += 1


class _Template:
    """The files of a real run, and the nodes of the options that vary."""

    def __init__(self, real: Path) -> None:
        def read(name: str) -> Any:
            return json.loads((real / name).read_text())

        self.base = yaml.safe_load((real / "config.yaml").read_text())
        self.nodes = dict(_nodes())
        self.status, self.summary = read("status.json"), read("summary.json")
        self.data, self.environment = read("data.json"), read("environment.json")
        lines = (real / "metrics.jsonl").read_text().splitlines()
        self.rows = [json.loads(line) for line in lines]
        self.samples = (real / "samples.jsonl").read_text()
        self.tokenizer = (real / "tokenizer.json").read_text()

    def config(self, data: str, vectorizer: str, model: str, rate: float) -> str:
        """config.yaml of a setting; seed and output are still to be filled in."""
        chosen = {"data": data, "vectorizer": vectorizer, "model": model}
        values = {**self.base, "seed": "SEED", "output": "OUTPUT"}
        values |= {group: self.nodes[group, option] for group, option in chosen.items()}
        values["optimizer"] = {**self.base["optimizer"], "lr": rate}
        values["choices"] = {**self.base["choices"], **chosen}
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)

    def write(self, place: Path, config: str, job: tuple[str, str, str, float, int]) -> None:
        """One run folder."""
        data, vectorizer, model, rate, seed = job
        place.mkdir()
        noise = random.Random(str(job)).gauss(0, 0.006)
        level = VECTORIZERS[vectorizer] + MODELS[model] + 20 * abs(rate - 0.01) + noise

        def scored(row: dict[str, Any], late: float) -> dict[str, Any]:
            return {
                key: SOURCES.get(key.split("/")[1], SOURCES[data]) + level + late
                if key.endswith("/bits_per_byte")
                else value
                for key, value in row.items()
            }

        rows = [scored(row, 1 / (1 + n)) for n, row in enumerate(self.rows)]
        words = [*self.environment["command"], f"seed={seed}", f"optimizer.lr={rate}"]
        own = {"command": words, "time": f"2026-11-24T18:{seed % 60:02d}:00+00:00"}
        record = {**self.data, "source": data, "fingerprint": f"{data:0<64}"}
        status = {**self.status, "id": secrets.token_hex(6)}
        files = {
            "config.yaml": config.replace("SEED", str(seed)).replace("OUTPUT", str(place)),
            "status.json": json.dumps(status, indent=2),
            "metrics.jsonl": "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows),
            "summary.json": json.dumps(scored(self.summary, 1 / len(self.rows)), indent=2),
            "data.json": json.dumps(record, indent=2),
            "environment.json": json.dumps({**self.environment, **own}, indent=2),
            "samples.jsonl": self.samples,
            "tokenizer.json": self.tokenizer,
        }
        for name, text in files.items():
            (place / name).write_text(text)


def _nodes() -> Iterator[tuple[tuple[str, str], Any]]:
    """(group, option) -> the node that the real composer makes of it."""
    from lm_research.config.compose import compose

    axes = {"data": SOURCES, "vectorizer": VECTORIZERS, "model": MODELS}
    for group, options in axes.items():
        for option in options:
            yield (group, option), compose(["budget=smoke", f"{group}={option}"]).config[group]
