"""One run, from its configuration to its last line, in a folder of its own."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm_research.callbacks.compilation import check_compiler
from lm_research.callbacks.deadline import deadline
from lm_research.callbacks.stop_signals import StopSignals
from lm_research.cli.allocator import keep_freed_memory
from lm_research.cli.assembly import Assembly, assemble, prepare_text, size_summary
from lm_research.cli.documents import baselines, held_out_scores
from lm_research.cli.fitting import fit
from lm_research.cli.memory import telling_of_memory
from lm_research.cli.pairs import pair_results, score_pairs
from lm_research.cli.predictions import keep_predictions
from lm_research.cli.tagging import tagging_results
from lm_research.config.build import build
from lm_research.data.contamination import contaminated
from lm_research.data.document_module import DocumentDataModule
from lm_research.data.labels import labelled_split
from lm_research.data.module import UNSPACED
from lm_research.data.pair_module import PairDataModule
from lm_research.data.pairs import PairedSplit
from lm_research.data.preparation import PreparedText
from lm_research.data.tagged_batches import TaggedDataModule
from lm_research.data.tagged_words import TaggedSplit
from lm_research.tasks.bfloat16 import is_cpu
from lm_research.tasks.classification import Classification
from lm_research.tasks.classifying import evaluate_classifier
from lm_research.tasks.evaluation import Evaluation, evaluate, evaluating, reading_of
from lm_research.tasks.finding_tags import evaluate_tagger
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.tasks.tagging import Tagging
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.errors import RunFolderError, telling_of
from lm_research.tracking.json_files import read_json, write_json
from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_folder import FolderState, RunFolder
from lm_research.tracking.run_identity import difference_table
from lm_research.tracking.silent import SilentRecorder
from lm_research.tracking.wandb_sweep import agents_run_id

_log = logging.getLogger(__name__)
Config = dict[str, Any]
WITHOUT_A_WORD = (
    "attempt %d ended without a word after step %d or later: killed (exit 137: out of memory?), or "
    "the machine went down; going on from its last checkpoint"
)
EVALUATION_WINDOW = 1024
"""Tokens per evaluation step of a counted model (others name their own)."""


def run(config: Config, output: str | Path, rank: int = 0) -> None:
    """This process's part of a run; process 0 owns the folder."""
    quiet()
    with StopSignals(deadline(config["max_time"], config["end_margin"])) as signals:
        if rank:
            with telling_of_memory(config, Path(output)):
                _work(config, SilentRecorder(RunFolder(output)), signals)
            return
        with RunFolder.create(
            output, config, run_id=agents_run_id(), resume=config["resume"]
        ) as folder:
            if folder.state is FolderState.DONE:
                print(f"{folder.path}: done already; give another output=FOLDER to run it again")
                return
            if folder.status.state == "running":
                _log.warning(WITHOUT_A_WORD, folder.status.attempts, folder.status.step)
            with (
                Recorder(folder, [build(config["tracking"])]) as recorder,
                telling_of(folder.path),
                telling_of_memory(config, folder.path),
            ):
                _work(config, recorder, signals)


def quiet() -> None:
    """Keep Lightning's tips out of the way; its errors still come through."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.raiseExceptions = False  # a log file on a full disk: the console has the line, too
    ours = r"pytorch_lightning|lightning_fabric|lightning_utilities"
    warnings.filterwarnings("ignore", module=ours)
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


def _work(config: Config, recorder: Recorder, signals: StopSignals) -> None:
    threads = config["trainer"]["threads"]
    if threads:
        torch.set_num_threads(threads)
    if config["trainer"].get("compile"):
        check_compiler(is_cpu(config["trainer"]["accelerator"]))
    assembly = assemble(config, recorder.folder.path)
    if recorder.folder.state is not None:
        same_text(recorder.folder, assembly.data.text())
    _describe(assembly, recorder)
    if not config["trainer"]["find_batch_size"]:  # what is kept has gaps, of which nobody can tell
        keep_freed_memory()  # how much they take; and such a run is to fill the memory
    planned = assembly.steps
    assembly, result = fit(config, assembly, recorder, signals)
    if assembly.steps < planned:  # its schedule ended training
        recorder.summary(size_summary(assembly.model, training_tokens(assembly)))
    results = {"val": result, **_elsewhere(config, assembly, recorder)}
    if isinstance(assembly.model, Classification):
        results |= _documents(config, assembly.model, assembly.data, recorder)
    if isinstance(assembly.model, SequenceToSequence):
        assert isinstance(assembly.data, PairDataModule)
        results |= pair_results(assembly.model, assembly.data, recorder)
    if isinstance(assembly.model, Tagging):
        assert isinstance(assembly.data, TaggedDataModule)
        results |= tagging_results(assembly.model, assembly.data, recorder)
    scores = {f"{group}/{k}": v for group, r in results.items() for k, v in r.scores.items()}
    recorder.summary(scores)
    if recorder.folder.state is not None:  # the process that owns the folder
        _keep_documents(recorder.folder.path / "evaluations", results)


def _documents(
    config: Config, model: Classification, data: Any, recorder: Recorder
) -> dict[str, Evaluation]:
    """What a classifier leaves beside the scores that every run has."""
    results = held_out_scores(model, data)
    recorder.summary(baselines(config, data))
    keep_predictions(recorder.folder.path, results, data)
    return results


def same_text(folder: RunFolder, now: Config) -> None:
    """Refuse to go on with weights that were trained on another text, or with other tokens.

    Args:
        now: what data.json would say.

    Raises:
        RunFolderError: with what differs.
    """
    trained = CheckpointStore(folder.checkpoints).entries()
    if not trained or not (folder.path / "data.json").exists():
        return
    before = read_json(folder.path / "data.json")
    if all(
        before.get(part) == now.get(part) for part in ("fingerprint", "mixture", "pairs", "tagging")
    ):
        return
    parts = ("signature", "vocabulary_size", "splits", "mixture", "pairs", "tagging")
    old, new = ({part: meta.get(part) for part in parts} for meta in (before, now))
    raise RunFolderError(
        f"{folder.path}: the text is not the one that this run was trained on. What differs "
        f"(there -> now):\n{difference_table(old, new)}\n"
        "Put the text back as it was, or give another output=FOLDER."
    )


def _describe(assembly: Assembly, recorder: Recorder) -> None:
    """What a reader, and a later evaluation or generation, need beside the weights."""
    prepared = assembly.data.prepared
    vectorizer = getattr(assembly.model, "vectorizer", None)
    report = vectorizer.report() if vectorizer is not None else {}
    recorder.data({**assembly.data.text(), **({"vectorizer": report} if report else {})})
    if "coverage" in report:
        recorder.summary({"vectorizer/coverage": report["coverage"]})
    tokens = training_tokens(assembly)
    recorder.summary(size_summary(assembly.model, tokens))
    recorder.summary(assembly.started)
    recorder.planned(assembly.steps)
    if recorder.folder.state is not None:
        classes = prepared.store.meta.get("classes")
        kept = {**vocabulary_state(prepared), **({"classes": classes} if classes else {})}
        write_json(recorder.folder.tokenizer, kept)


def training_tokens(assembly: Assembly) -> int:
    """Tokens that the whole training reads."""
    data = assembly.data
    if isinstance(data, DocumentDataModule | PairDataModule | TaggedDataModule):
        return data.train_dataloader().batch(assembly.steps - 1).tokens_seen
    return data.training_tokens(assembly.steps)


def vocabulary_state(prepared: PreparedText) -> Config:
    """Tokenizers and tag lexicon, as JSON values."""
    lexicon = prepared.lexicon.state_dict() if prepared.lexicon else None
    state = {"tokenizer": prepared.tokenizer.state_dict(), "lexicon": lexicon}
    if prepared.target_tokenizer is not None:
        state["target_tokenizer"] = prepared.target_tokenizer.state_dict()
    return state


def _elsewhere(config: Config, assembly: Assembly, recorder: Recorder) -> dict[str, Evaluation]:
    """Scores on the held-out documents of the sources of ``evaluate_on``, and which text it was."""
    prepared, model = assembly.data.prepared, assembly.model
    trained = vocabulary_state(prepared)
    trained.pop("lexicon")
    results: dict[str, Evaluation] = {}
    texts = {}
    for name, node in config["evaluate_on"].items():
        own = node == config["data"]
        store = prepared.store if own else prepare_text(config, node, trained).store
        words = store.meta["language"] not in UNSPACED
        how = reading_of(model, getattr(model, "eval_window", EVALUATION_WINDOW))
        with evaluating(model):
            if isinstance(model, Classification):
                labelled = labelled_split(store, "validation", model.classes)
                results[f"eval/{name}"] = evaluate_classifier(model, labelled)
            elif isinstance(model, SequenceToSequence):
                targets = prepared.target_tokenizer or prepared.tokenizer
                paired = PairedSplit(store, "validation")
                results[f"eval/{name}"] = score_pairs(model, paired, targets)[0]
            elif isinstance(model, Tagging):
                assert isinstance(assembly.data, TaggedDataModule)
                tagged = TaggedSplit(store, "validation", model.classes)
                results[f"eval/{name}"] = evaluate_tagger(model, tagged, assembly.data.known)
            else:
                held = store.split("validation")
                shared = contaminated(held, prepared.store)
                results[f"eval/{name}"] = evaluate(
                    model, held, words=words, contaminated=shared, **how
                )
        texts[name] = {"text_sha256": store.meta["splits"]["validation"]["text_sha256"]}
    if texts:
        recorder.data({**assembly.data.text(), "evaluated": texts})
    return results


def _keep_documents(folder: Path, results: dict[str, Evaluation]) -> None:
    """Each document's nats and bytes: what a test by documents needs."""
    folder.mkdir(exist_ok=True)
    for group, result in results.items():
        np.savez(
            folder / f"{group.replace('/', '-')}.npz",
            document_nats=result.document_nats,
            document_bytes=result.document_bytes,
        )
