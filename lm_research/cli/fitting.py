"""Fit a model: by Lightning's loop, or by counting."""

import logging
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy

from lm_research.callbacks.checkpoint import newest_whole, take_up
from lm_research.callbacks.checkpoint_files import CheckpointFiles
from lm_research.callbacks.compilation import Compilation
from lm_research.callbacks.divergence import take_back
from lm_research.callbacks.evaluation import as_numbers
from lm_research.callbacks.precision import Precision
from lm_research.callbacks.processes import telling_of_late
from lm_research.callbacks.stop_signals import StopSignals
from lm_research.cli.assembly import Assembly, assemble
from lm_research.cli.calibrating import calibrate
from lm_research.cli.documents import take_best
from lm_research.cli.transfer import unfreezing
from lm_research.config.build import build
from lm_research.data.document_module import DocumentDataModule
from lm_research.tasks.bfloat16 import fastest_precision, use_bfloat16
from lm_research.tasks.classification import Classification
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.evaluation import DivergenceError, Evaluation, evaluate, evaluating
from lm_research.tasks.generation import generate
from lm_research.tasks.held_out import evaluate_held_out
from lm_research.tasks.lean_loop import LeanLoop, Unprofiled
from lm_research.tasks.models import TrainedModel
from lm_research.tasks.sampling import Sampling
from lm_research.tasks.sequence_to_sequence import SequenceToSequence
from lm_research.tasks.tagging import Tagging
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import read_json
from lm_research.tracking.recorder import Recorder

Config = dict[str, Any]
_log = logging.getLogger(__name__)
PRECISION = "train/precision"
"""In a run's summary."""


def fit(
    config: Config, assembly: Assembly, recorder: Recorder, signals: StopSignals
) -> tuple[Assembly, Evaluation]:
    """Train, and return what was trained with its last evaluation on the validation split.

    Returns:
        The assembly with the steps that were taken, fewer where the schedule ended training.
    """
    while True:
        try:
            if isinstance(assembly.model, CountedLanguageModel):
                return assembly, _count(assembly, assembly.model, recorder)
            return _train(config, assembly, assembly.model, recorder, signals)
        except DivergenceError as error:
            if not take_back(error, recorder, config["callbacks"].get("divergence", {})):
                raise
            assembly = assemble(config, recorder.folder.path)


def _train(
    config: Config,
    assembly: Assembly,
    module: TrainedModel,
    recorder: Recorder,
    signals: StopSignals,
) -> tuple[Assembly, Evaluation]:
    runtime = {"recorder": recorder, "data": assembly.data, "signals": signals}
    callbacks = [build(node, **runtime) for node in config["callbacks"].values()]
    first = [*averaging(config), *compilation(config, recorder)]
    callbacks = [*first, *unfreezing(config, module, assembly.steps), *callbacks]
    options = trainer_options(config, recorder.folder.path)
    trainer = make_trainer(options, callbacks, config["process_timeout"])
    _tell_of_precision(config, options, recorder)
    _tell_of_determinism(trainer, recorder)
    resumed = _resumed(config, recorder)
    with (
        telling_of_late(config["process_timeout"]),
        _profiled(config, recorder.folder.path),
    ):
        trainer.fit(module, datamodule=assembly.data, ckpt_path=resumed, weights_only=True)
    signals.raise_noted()
    if trainer.should_stop:  # by its schedule
        assembly = replace(assembly, steps=trainer.fit_loop.epoch_loop.total_batch_idx + 1)
    return assembly, _last_evaluation(assembly, module, recorder)


def _last_evaluation(assembly: Assembly, module: TrainedModel, recorder: Recorder) -> Evaluation:
    """Of the weights that the run leaves, on the validation split."""
    if isinstance(module, Classification | SequenceToSequence | Tagging):
        take_best(module, recorder.folder.checkpoints)
        _calibrate(module, assembly, recorder)
        with evaluating(module):
            return evaluate_held_out(module, assembly.data)
    step, result = getattr(module, "last_evaluation", (None, None))
    if step != assembly.steps or result is None:  # callbacks=none
        with evaluating(module):
            result = evaluate_held_out(module, assembly.data)
    return result


def _calibrate(module: TrainedModel, assembly: Assembly, recorder: Recorder) -> None:
    """Fit the temperature of a classifier that asks for one."""
    if isinstance(module, Classification) and module.calibrate:
        assert isinstance(assembly.data, DocumentDataModule)
        temperature = calibrate(module, assembly.data, recorder.folder)
        recorder.summary({"calibration/temperature": temperature})


def trainer_options(config: Config, run: Path) -> Config:
    """The group ``trainer``; its precision, if ``auto``, is what the run in the folder began with.

    Else it might go on in another, on another processor.
    """
    options = config["trainer"]
    if options["precision"] != "auto":
        return options
    try:
        began: Any = read_json(run / "summary.json").get(PRECISION)
    except RunFolderError:
        began = None
    fastest = fastest_precision(options["accelerator"], config["model"])
    return {**options, "precision": began or fastest.precision}


def _tell_of_precision(config: Config, options: Config, recorder: Recorder) -> None:
    recorder.summary({PRECISION: options["precision"]})
    if config["trainer"]["precision"] != "auto":
        return
    fastest = fastest_precision(options["accelerator"], config["model"])
    if fastest.precision != options["precision"]:
        _log.info("trainer.precision=auto: %s, which the run began with", options["precision"])
    elif fastest.reason:
        _log.info("trainer.precision=auto: %s, %s", *fastest)


def _tell_of_determinism(trainer: pl.Trainer, recorder: Recorder) -> None:
    """Say it where the same command need not give the same bits again: a CPU always does."""
    device = trainer.strategy.root_device.type
    same = device == "cpu" or torch.are_deterministic_algorithms_enabled()
    recorder.summary({"train/deterministic": same})
    if not same and trainer.is_global_zero:
        _log.warning(
            "%s: some operations add up in no fixed order, so a second run, or a resumed one, may "
            "differ in the last bits; trainer.deterministic=true fixes the order (slower)",
            device,
        )


def _resumed(config: Config, recorder: Recorder) -> Path | None:
    """The checkpoint to continue from, its records taken up; None for a new run."""
    folder = recorder.folder
    found = newest_whole(CheckpointStore(folder.checkpoints), owner=folder.state is not None)
    if found is None:
        _start_anew(recorder)
        return None
    path, saved = found
    take_up(saved, recorder, config["trainer"]["devices"])
    return path


def averaging(config: Config) -> list[pl.Callback]:
    """The callback that averages weights, where the run has one; before those that use them."""
    node = config.get("averaging")
    return [build(node)] if node else []


def compilation(config: Config, recorder: Recorder) -> list[pl.Callback]:
    """The callback that compiles the model, where the run asks for it."""
    return [Compilation(recorder)] if config["trainer"].get("compile") else []


def _start_anew(recorder: Recorder) -> None:
    """Take back what an attempt wrote that left nothing to go on from."""
    recorder.rewind(0, {"metrics": 0, "samples": 0})


def make_trainer(
    options: Config, callbacks: list[pl.Callback], patience_s: float | None = None
) -> pl.Trainer:
    """Lightning's Trainer without what we do ourselves: logging, checkpoints, progress.

    Args:
        options: of :func:`trainer_options`.
        callbacks: in the order in which they are called.
        patience_s: how long data-parallel processes wait for one another; None: torch's 1800 s.
    """
    strategy = options["strategy"]
    if strategy == "ddp" and patience_s is not None:
        strategy = DDPStrategy(timeout=timedelta(seconds=patience_s))
    trainer = pl.Trainer(
        accelerator=options["accelerator"],
        devices=options["devices"],
        strategy=strategy,
        precision=options["precision"],
        gradient_clip_val=options["gradient_clip"] or None,
        gradient_clip_algorithm=options.get("gradient_clip_by", "norm"),
        accumulate_grad_batches=options["accumulate"],
        deterministic=options["deterministic"],
        max_epochs=1,
        callbacks=[Precision(), *callbacks, LeanLoop()],
        plugins=[CheckpointFiles()],
        logger=False,
        profiler=Unprofiled(),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    use_bfloat16(trainer)
    return trainer


class _profiled:  # noqa: N801 - reads as a context
    """PyTorch's profiler around training if ``debug.profile`` asks for it."""

    def __init__(self, config: Config, folder: Path) -> None:
        wanted = (config.get("debug") or {}).get("profile")
        self.profiler = torch.profiler.profile() if wanted else None
        self.file = folder / "profile.txt"

    def __enter__(self) -> None:
        if self.profiler:
            self.profiler.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self.profiler:
            self.profiler.__exit__(*error)
            table = self.profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=40)
            self.file.write_text(table, encoding="utf-8")


def _count(assembly: Assembly, model: CountedLanguageModel, recorder: Recorder) -> Evaluation:
    """One pass over the training split; the counts are the checkpoint."""
    _start_anew(recorder)
    started = time.perf_counter()
    train = assembly.data.split("train")
    model.model.fit(np.asarray(train.ids_N, dtype=np.int64))
    seconds = time.perf_counter() - started
    if recorder.folder.state is not None:  # the process that owns the folder
        counts: dict[str, Any] = model.model.state_dict()
        np.savez(recorder.folder.checkpoints / "counts.npz", **counts)
    held, shared = assembly.data.split("validation"), assembly.data.contaminated_validation
    result = evaluate(model, held, 1024, assembly.data.words, contaminated=shared)
    speed = {"perf/tokens_per_s": len(train.ids_N) / max(seconds, 1e-9)}
    values = {**speed, **as_numbers("val", result.scores)}
    recorder.metrics(1, len(train.ids_N), seconds, values)
    recorder.summary({"model/parameters": model.model.parameter_count()})
    tokenizer = assembly.data.prepared.tokenizer
    ids = generate(model, tokenizer, "\n", 200, Sampling(temperature=0.8))
    recorder.sample(1, "\n", tokenizer.decode(ids))
    return result
