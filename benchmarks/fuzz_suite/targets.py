"""What is fuzzed: each target makes valid files once, then reads mutations of them.

A target is a class with ``allowed``, the errors that a reader may raise, and ``once(random)``,
which mutates and reads one input.
"""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import warnings
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
import torch

from fuzz_suite.mutations import mutated_bytes, mutated_json, mutated_lines, mutated_yaml
from lm_research.config.problems import ConfigError
from lm_research.data.document import DataError
from lm_research.tracking.checkpoint_store import CheckpointError
from lm_research.tracking.errors import RunFolderError

SMALL = (
    "budget=smoke", "budget.train_tokens=1024", "budget.batch_size=4", "budget.window=16",
    "budget.hidden_size=8", "budget.train_bytes=20000", "budget.eval_bytes=1000", "callbacks=quiet",
    "callbacks.samples.length=5", "tracking=disabled", "trainer=cpu",
)  # fmt: skip


class Target:
    """Args: ``folder``, an empty one for the files."""

    allowed: ClassVar[tuple[type[BaseException], ...]] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def once(self, random: Random) -> None:
        raise NotImplementedError


class Configs(Target):
    """config.yaml of a run: read, judged field by field, hashed, compared."""

    allowed = (RunFolderError,)

    def __init__(self, folder: Path) -> None:
        from lm_research.config.compose import compose

        super().__init__(folder)
        options = [
            (), ("model=transformer", "optimizer=adamw"), ("model=ngram", "text=bpe"),
            ("data=mixture", "data.weights={code: 2, tweets: 1}", "vectorizer=glove"),
            ("vectorizer=tfidf", "text=web", "evaluate_on=[tweets]", "debug=limit"),
        ]  # fmt: skip
        self.valid = [self._written(compose([*SMALL, *extra]).config) for extra in options]

    def _written(self, config: dict[str, Any]) -> bytes:
        from lm_research.tracking.config_file import write_config

        write_config(self.folder / "config.yaml", config)
        return (self.folder / "config.yaml").read_bytes()

    def once(self, random: Random) -> None:
        from lm_research.config.validation import validate
        from lm_research.tracking.config_file import read_config
        from lm_research.tracking.run_identity import config_hash, difference_table

        file = self.folder / "config.yaml"
        file.write_bytes(mutated_yaml(random.choice(self.valid), random))
        config = read_config(file)
        choices = config.get("choices")
        problems = validate(config, choices if isinstance(choices, dict) else {}, lambda _: "f")
        str(ConfigError(problems))
        config_hash(config)
        difference_table({}, config)


class Studies(Target):
    """A file of sweeps/, composed by Hydra with everything else: slow, so fewer inputs."""

    allowed = (ConfigError,)
    VALID: ClassVar[list[bytes]] = [
        b"defaults:\n  - override /budget: smoke\n  - override /hydra/launcher: joblib\n"
        b"sweep: {name: a, title: b, question: c, metric: val/bits_per_byte, direction: minimize,"
        b" grid: {data: [code, tweets]}, zip: [{model: [rnn, lstm], model.hidden_size: [8, 4]}],"
        b" cases: [{model: gru}], exclude: [{data: code, model: rnn}], seeds: 2, report: r.html}\n"
        b"output: runs/a\nevaluate_on: [code]\noptimizer: {lr: 0.01}\n"
        b"hydra: {job: {env_set: {OMP_NUM_THREADS: '1'}}}\n",
        b"seed: 3\nmodel: {hidden_size: '${budget.hidden_size}'}\ntrainer: {threads: 1}\n"
        b"hydra: {job_logging: {handlers: {console: {stream: ext://sys.stderr}}}}\n",
    ]

    def once(self, random: Random) -> None:
        import os

        from lm_research.config.compose import compose
        from lm_research.studies.plan import Plan

        os.chdir(self.folder)
        (self.folder / "sweeps").mkdir(exist_ok=True)
        file = self.folder / "sweeps" / "strange.yaml"
        file.write_bytes(mutated_yaml(random.choice(self.VALID), random))
        composed = compose(["sweep=strange"])
        Plan.of(composed.config.get("sweep") or {}).settings()


class RunFolders(Target):
    """A run's folder as the report, and as a continuation, read it."""

    allowed = (RunFolderError, CheckpointError, ValueError)
    FILES: ClassVar[dict[str, Any]] = {
        "config.yaml": mutated_yaml, "status.json": mutated_json, "metrics.jsonl": mutated_lines,
        "samples.jsonl": mutated_lines, "summary.json": mutated_json, "data.json": mutated_json,
        "environment.json": mutated_json,
    }  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.run = small_run(folder / "run")
        self.valid = {name: (self.run / name).read_bytes() for name in self.FILES}

    def once(self, random: Random) -> None:
        from lm_research.tracking.json_files import read_json
        from lm_research.tracking.run_folder import RunFolder

        name = random.choice(list(self.FILES))
        (self.run / name).write_bytes(self.FILES[name](self.valid[name], random))
        try:
            self._report()
            folder = RunFolder(self.run)
            read_json(self.run / "data.json")
            list(folder.metrics)
            list(folder.samples)
            len(folder.metrics)
            str(folder.status.moved("running"))
            str(folder.config)
        finally:
            (self.run / name).write_bytes(self.valid[name])

    def _report(self) -> None:
        from lm_research.analysis.markdown import markdown
        from lm_research.analysis.runs import find_runs
        from lm_research.analysis.study import analyse
        from lm_research.analysis.sweep import load_sweep

        try:
            markdown(analyse(find_runs(self.folder), load_sweep(self.folder)))
        except ValueError as error:
            if type(error) is not ValueError:  # an accident, such as UnicodeError, is no message
                raise AssertionError(f"{type(error).__name__}: {error}") from error


class Checkpoints(Target):
    """An index, and checkpoints that are what their index says and nothing that we wrote."""

    allowed = (CheckpointError, RunFolderError)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.checkpoints = small_run(folder / "run") / "checkpoints"
        self.index = (self.checkpoints / "index.json").read_bytes()
        entries = json.loads(self.index)["checkpoints"]
        self.valid = {e["file"]: (self.checkpoints / e["file"]).read_bytes() for e in entries}

    def once(self, random: Random) -> None:
        from lm_research.callbacks.checkpoint import newest_whole, take_up
        from lm_research.tracking.checkpoint_store import CheckpointStore

        store = CheckpointStore(self.checkpoints)
        if random.random() < 0.4:
            self._write(self.valid, mutated_json(self.index, random))
        else:
            name = random.choice(list(self.valid))
            changed = {**self.valid, name: self._mutated(self.valid[name], random)}
            self._write(changed, self._index_of(changed))
        for which in ("last", "best"):
            try:
                store.path(which)
            except self.allowed:
                continue
        found = newest_whole(store, owner=False)
        if found is not None:
            take_up(found[1], self._recorder(), 1)

    def _mutated(self, data: bytes, random: Random) -> bytes:
        """Damaged bytes, or a sound file of strange values."""
        if random.random() < 0.7:
            return mutated_bytes(data, random)
        from fuzz_suite.mutations import mutated_value

        saved = torch.load(io.BytesIO(data), weights_only=True)
        file = io.BytesIO()
        torch.save(mutated_value(saved, random), file)
        return file.getvalue()

    def _write(self, files: dict[str, bytes], index: bytes) -> None:
        for name, data in files.items():
            (self.checkpoints / name).write_bytes(data)
        (self.checkpoints / "index.json").write_bytes(index)

    def _index_of(self, files: dict[str, bytes]) -> bytes:
        index = json.loads(self.index)
        for entry in index["checkpoints"]:
            data = files[entry["file"]]
            entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        return json.dumps(index).encode()

    def _recorder(self) -> Any:
        from types import SimpleNamespace

        from lm_research.tracking.run_folder import RunFolder

        folder = RunFolder(self.checkpoints.parent)
        return SimpleNamespace(folder=folder, rewind=lambda *_: None)


class Vocabularies(Target):
    """tokenizer.json and the counts of an n-gram model, as `generate` takes them up."""

    def __init__(self, folder: Path) -> None:
        from lm_research.cli.saved import SavedRunError

        self.allowed = (SavedRunError, RunFolderError, ConfigError)  # type: ignore[misc]
        super().__init__(folder)
        self.runs = []
        for text in ("word", "bpe", "character"):
            run = small_run(folder / text, f"text={text}", "model=ngram", "vectorizer=embedding")
            names = ("tokenizer.json", "checkpoints/counts.npz", "config.yaml")
            self.runs.append((run, {name: (run / name).read_bytes() for name in names}))

    def once(self, random: Random) -> None:
        from lm_research.cli.saved import load

        run, valid = random.choice(self.runs)
        name = random.choice(
            ["tokenizer.json", "tokenizer.json", "checkpoints/counts.npz", "config.yaml"]
        )
        mutate = {"j": mutated_json, "y": mutated_yaml, "n": mutated_bytes}[name.split(".")[1][0]]
        (run / name).write_bytes(mutate(valid[name], random))
        try:
            saved = load(str(run))
            saved.tokenizer.decode([0, saved.tokenizer.vocabulary_size - 1])
            saved.tokenizer.encode("An example, 1 of 2.\n")
        finally:
            (run / name).write_bytes(valid[name])


class Vectors(Target):
    """Files of word vectors."""

    allowed = (ValueError, FileNotFoundError)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        lines = [f"w{i} " + " ".join(f"{(i * j) % 7 / 3:.4f}" for j in range(5)) for i in range(40)]
        plain = ("\n".join(lines) + "\n").encode()
        self.valid = {
            "v.txt": plain,
            "v.txt.gz": gzip.compress(plain, 1),
            "v.txt.xz": lzma.compress(plain),
        }
        self.valid["w.txt"] = b"40 5\n" + plain

    def once(self, random: Random) -> None:
        from lm_research.vectorizers.word_vectors import read_word_vectors

        name = random.choice(list(self.valid))
        file = self.folder / name
        file.write_bytes(mutated_bytes(self.valid[name], random))
        try:
            found = read_word_vectors(str(file), {"w1", "w2", "w39", "", "w\x1b"}, 5)
        except UnicodeError as error:
            raise AssertionError(str(error)) from error
        assert all(np.isfinite(v).all() and v.shape == (5,) for v in found.vectors.values())


class Corpora(Target):
    """Local files of every format, compressed or not."""

    allowed = (DataError,)

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa
        import zstandard
        from pyarrow import parquet

        super().__init__(folder)
        rows = [{"text": f'Text {i}: \u5b57 "q" a,b\n\nnext', "id": i} for i in range(30)]
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        text = "\n\n".join(row["text"] for row in rows).encode()  # type: ignore[misc]
        table = "text,id\n" + "".join(f'"line {i}, ""x""",{i}\n' for i in range(30))
        parquet.write_table(pa.Table.from_pylist(rows), folder / "d.parquet")
        self.valid = {
            "d.parquet": (folder / "d.parquet").read_bytes(), "d.jsonl": lines, "d.txt": text,
            "d.csv": table.encode(), "d.tsv": table.replace(",", "\t").encode(),
            "d.txt.gz": gzip.compress(text, 1), "d.jsonl.bz2": bz2.compress(lines, 1),
            "d.txt.xz": lzma.compress(text), "d.csv.zst": zstandard.compress(table.encode()),
        }  # fmt: skip

    def once(self, random: Random) -> None:
        from lm_research.data.sources.files import LocalFiles

        name = random.choice(list(self.valid))
        file = self.folder / name
        mutate = mutated_lines if name == "d.jsonl" else mutated_bytes
        file.write_bytes(mutate(self.valid[name], random))
        source = LocalFiles(
            [str(file)], name="n", language="en", category="mixed", licence="none",
            document=random.choice(("file", "line", "paragraph")), max_document_bytes=256,
            errors=random.choice(("skip", "replace", "error")),
            encoding=random.choice(("utf-8", "utf-8", "utf-16", "gb18030", "latin-1")),
        )  # fmt: skip
        for document in source:
            assert document.text.strip()
            # Replacing a byte that is no text makes three bytes of it.
            assert len(document.text.encode()) <= 256 * (3 if source.errors == "replace" else 1)


TARGETS: dict[str, type[Target]] = {
    "configs": Configs, "studies": Studies, "run folders": RunFolders, "checkpoints": Checkpoints,
    "vocabularies": Vocabularies, "vectors": Vectors, "corpora": Corpora,
}  # fmt: skip


def small_run(folder: Path, *extra: str) -> Path:
    """A finished run of a second."""
    from lm_research.cli.job import run
    from lm_research.config.compose import compose

    warnings.simplefilter("ignore")
    text = folder.with_suffix(".txt")
    text.write_text("\n\n".join(f"On day {i} the cat saw {i * i} mice." for i in range(200)))
    data = ("data=files", f"data.paths=['{text}']", "data.document=paragraph")
    run(compose([*SMALL, *data, *extra]).config, folder)
    return folder
