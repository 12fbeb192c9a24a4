"""Generated text beside the numbers."""

from typing import Any

import pytorch_lightning as pl

from lm_research.callbacks.averaging import averaged
from lm_research.callbacks.pause import pause
from lm_research.config.types import NonNegativeFloat, PositiveInt
from lm_research.data.module import TextDataModule
from lm_research.tasks.evaluation import evaluating
from lm_research.tasks.generation import generate
from lm_research.tasks.sampling import Sampling
from lm_research.tracking.recorder import Recorder


class Samples(pl.Callback):
    """After every evaluation, ``length`` tokens that continue each of ``prompts``."""

    def __init__(
        self,
        recorder: Recorder,
        data: TextDataModule,
        prompts: list[str],
        length: PositiveInt = 200,
        temperature: NonNegativeFloat = 0.8,
    ) -> None:
        self.recorder, self.data = recorder, data
        self.prompts, self.length = prompts, length
        self.sampling = Sampling(temperature=temperature)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Generate, with a seed of its own: samples must not disturb training."""
        step = batch_idx + 1
        if not hasattr(pl_module, "advance"):
            return  # a classifier writes nothing
        if getattr(pl_module, "last_evaluation", (None, None))[0] != step:
            return
        tokenizer = self.data.prepared.tokenizer
        with pause(pl_module), averaged(trainer, pl_module), evaluating(pl_module):
            for prompt in self.prompts:
                ids = list(generate(pl_module, tokenizer, prompt, self.length, self.sampling))
                self.recorder.sample(step, prompt, tokenizer.decode(ids))
