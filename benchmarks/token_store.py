"""How fast a text becomes a token store, in how little memory, beside `datasets.map`.

    python benchmarks/token_store.py                    # 200 MB, every tokenizer
    python benchmarks/token_store.py --megabytes 5000 --tokenizers byte --alone

The text is English news and code that pip brings, repeated with a mark in each copy of a
document, so that no two are equal. Each side builds from nothing, by as many processes; CPU seconds
are those of all its processes, imports included. Both are then held to the same number of ids and
the same sum of their squares, whatever the documents' order: no figure is written or called a
result of sides that differ. The
peer maps the same tokenizer, by `tokenizers`' own batch encoding for byte pairs, over an Arrow
table, and writes one. Prints a row a tokenizer; writes benchmarks/results/token_store.json.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

from lm_research.config.build import build
from lm_research.config.compose import compose
from lm_research.data.preparation import prepare_splits
from lm_research.data.splits import SPLITS

RESULT = Path(__file__).parent / "results/token_store.json"
TOKENIZERS = ("byte", "character", "word", "bpe")
SPLIT_OPTIONS = {"validation": 0.01, "test": 0.01, "seed": 0}
LEARNED_FROM = 20_000_000
"""Bytes that a vocabulary is learned from, before either side is timed: both are given it."""


def main() -> int:
    options = arguments()
    if options.side:
        print(json.dumps(one_side(options)))
        return 0
    rows = []
    with tempfile.TemporaryDirectory(prefix="token-store-", dir=options.folder) as name:
        place = Path(name)
        write_corpus(place / "text.jsonl", options.megabytes)
        for tokenizer in options.tokenizers:
            rows.append(compared(place, tokenizer, options))
            print(line(rows[-1]), flush=True)
    if not all(row["equal"] for row in rows):
        return 1
    RESULT.write_text(json.dumps({"rows": rows, **about(options)}, indent=2) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--tokenizers", nargs="+", choices=TOKENIZERS, default=TOKENIZERS)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--alone", action="store_true", help="without the peer")
    parser.add_argument("--folder", help="where there is room; default: that of temporary files")
    parser.add_argument("--side", choices=("ours", "datasets"), help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_corpus(file: Path, megabytes: int) -> None:
    """Documents of several sources in turn, again and again, each copy with a mark of its own."""
    sources = [compose([f"data={name}"]).config["data"] for name in ("bbc_news", "code")]
    texts = [document.text for node in sources for document in build(node)]
    size, copy = 0, 0
    with file.open("w", encoding="utf-8") as out:
        while size < megabytes * 10**6:
            for text in texts:
                marked = f"[{copy}] {text}"
                out.write(json.dumps({"text": marked}, ensure_ascii=False) + "\n")
                size += len(marked.encode())
                if size >= megabytes * 10**6:
                    return
            copy += 1


def compared(place: Path, tokenizer: str, options: argparse.Namespace) -> dict:
    text = compose([f"text={tokenizer}"]).config["text"]
    text["cleaning"] = []
    learn(place, text)
    sides = ["ours"] if options.alone else ["ours", "datasets"]
    found = {side: run(place, tokenizer, side, options) for side in sides}
    digests = {found[side].pop("digest") for side in sides}
    return {"tokenizer": tokenizer, "equal": len(digests) == 1, **found}


def learn(place: Path, text: dict) -> None:
    """The vocabulary, from the beginning of the text."""
    tokenizer = build(text["tokenizer"])
    tokenizer.train(beginning(place))
    state = {"text": text, "tokenizer": tokenizer.state_dict()}
    (place / "learned.json").write_text(json.dumps(state))


def beginning(place: Path) -> Iterator[str]:
    size = 0
    with (place / "text.jsonl").open(encoding="utf-8") as rows:
        for row in rows:
            text = json.loads(row)["text"]
            size += len(text)
            if size > LEARNED_FROM:
                return
            yield text


def run(place: Path, tokenizer: str, side: str, options: argparse.Namespace) -> dict:
    """One side in a process of its own, whose children count with it."""
    command = [sys.executable, __file__, "--side", side, "--place", str(place)]
    command += ["--workers", str(options.workers), "--tokenizers", tokenizer]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one_side(options: argparse.Namespace) -> dict:
    learned = json.loads((options.place / "learned.json").read_text())
    size = (options.place / "text.jsonl").stat().st_size
    began = time.monotonic()
    side = ours if options.side == "ours" else peers
    building = side(options.place, learned, options.workers)
    next(building)
    seconds = time.monotonic() - began
    # Before the ids are summed: to read all of a memory map counts as memory, too.
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(u.ru_utime + u.ru_stime for u in used)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "megabytes_per_second": size / 1e6 / seconds,
        "megabytes_per_cpu_second": size / 1e6 / cpu,
        "peak_megabytes": used[0].ru_maxrss / 1024,
        "peak_megabytes_of_a_worker": used[1].ru_maxrss / 1024,
        "digest": next(building),
    }


def ours(place: Path, learned: dict, workers: int) -> Iterator[str | None]:
    """Build, stop, and then sum up."""
    node = {
        "_target_": "lm_research.data.sources.files.LocalFiles",
        "paths": str(place / "text.jsonl"),
        "name": "text",
        "language": "en",
        "category": "mixed",
        "licence": "those of the sources",
    }
    caps, trained = dict.fromkeys(SPLITS, 10**13), {"tokenizer": learned["tokenizer"]}
    text = learned["text"]
    with tempfile.TemporaryDirectory(dir=place) as cache:
        prepared = prepare_splits(
            node, text, SPLIT_OPTIONS, caps, (), cache, trained, workers=workers
        )
        yield None
        total = [0, 0]
        for name in SPLITS:
            split = prepared.store.split(name)
            add(total, split.ids_N[1:], prepared.tokenizer.separator_id)
        yield ":".join(map(str, total))


def peers(place: Path, learned: dict, workers: int) -> Iterator[str | None]:
    """The same of `datasets`."""
    import datasets

    datasets.disable_progress_bars()
    tokenizer = build(learned["text"]["tokenizer"])
    tokenizer.load_state_dict(learned["tokenizer"])
    backend = getattr(tokenizer, "backend", None)

    def mapped(batch: dict) -> dict:
        if backend is not None:
            ids = [
                e.ids for e in backend.encode_batch_fast(batch["text"], add_special_tokens=False)
            ]
            return {"ids": [np.asarray(i, np.uint16) + 1 for i in ids]}
        return {"ids": [tokenizer.encode(text).ids_N.astype(np.uint16) for text in batch["text"]]}

    with tempfile.TemporaryDirectory(dir=place) as cache:
        rows = datasets.load_dataset(
            "json", data_files=str(place / "text.jsonl"), split="train", cache_dir=cache
        )
        done = rows.map(
            mapped, batched=True, num_proc=workers, remove_columns=["text"],
            features=datasets.Features({"ids": datasets.Sequence(datasets.Value("uint16"))}),
        )  # fmt: skip
        yield None
        total = [0, 0]
        for batch in done.with_format("arrow").iter(1000):
            add(total, batch["ids"].combine_chunks().flatten().to_numpy(), None)
        yield ":".join(map(str, total))


def add(total: list[int], ids_N: np.ndarray, separator: int | None) -> None:
    """How many ids, and their sum of squares: the same whatever the documents' order."""
    for start in range(0, len(ids_N), 1 << 22):
        part = np.asarray(ids_N[start : start + (1 << 22)], np.int64)
        part = part if separator is None else part[part != separator]
        total[0] += len(part)
        total[1] += int((part**2).sum())


def line(row: dict) -> str:
    told = [f"{row['tokenizer']:10}"]
    for side in ("ours", "datasets"):
        if side in row:
            r = row[side]
            told.append(
                f"{side} {r['megabytes_per_second']:6.1f} MB/s, "
                f"{r['megabytes_per_cpu_second']:5.1f} MB a CPU second, "
                f"{r['peak_megabytes']:5.0f} MB and {r['peak_megabytes_of_a_worker']:4.0f} a worker"
            )
    if "datasets" in row:
        ratio = row["ours"]["megabytes_per_second"] / row["datasets"]["megabytes_per_second"]
        told.append(f"{ratio:.2f} times")
    told.append("same ids" if row["equal"] else "DIFFERENT IDS")
    return "; ".join(told)


def about(options: argparse.Namespace) -> dict:
    return {
        "megabytes": options.megabytes,
        "workers": options.workers,
        "command": " ".join(["python", "benchmarks/token_store.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("tokenizers", "datasets", "numpy")},
        "date": date.today().isoformat(),
    }


if __name__ == "__main__":
    sys.exit(main())
