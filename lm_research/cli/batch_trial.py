"""The process that tries batch sizes; see batch_size.py, which starts it."""

import contextlib
import gc
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lm_research.cli.memory import available_bytes, is_memory

STEPS = 2
"""The optimizer's own tensors are made in the first step and stay in the second."""
SHARE = 0.9
"""Of the memory that is available or allowed; the rest is for checkpoints and for others."""


def serve(config: dict[str, Any], line: Connection) -> None:
    """Answer each batch size with True or False, or with the text of another error."""
    from lm_research.cli.job import quiet

    quiet()
    _bound()
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            line.send(answer(config, line.recv()))


def answer(config: dict[str, Any], batch_size: int) -> bool | str:
    """Whether a few steps with ``batch_size`` lanes over all processes fit here."""
    import torch

    try:
        steps(config, batch_size)
        return True
    except (RuntimeError, MemoryError) as error:
        return False if is_memory(error) else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def steps(config: dict[str, Any], batch_size: int) -> None:
    """This process's share of a few steps, and an evaluation's largest window."""
    import torch

    from lm_research.cli.assembly import assemble
    from lm_research.cli.fitting import make_trainer, trainer_options
    from lm_research.tasks.counted import CountedLanguageModel

    trainer = {**config["trainer"], "devices": 1, "strategy": "auto", "accumulate": 1}
    share = {**config["budget"], "batch_size": batch_size // config["trainer"]["devices"]}
    debug = {**(config.get("debug") or {}), "max_steps": STEPS}
    share["train_tokens"] = STEPS * share["batch_size"] * share["window"]
    tried = {**config, "budget": share, "trainer": trainer, "debug": debug}
    assembly = assemble(tried)
    if isinstance(assembly.model, CountedLanguageModel):
        return
    options = trainer_options(tried, Path(tried["output"]))
    make_trainer(options, []).fit(assembly.model, datamodule=assembly.data)
    module: Any = assembly.model.eval()  # a language model: no other task is tried out
    ids_BT = torch.zeros(1, module.eval_window, dtype=torch.long)
    module.advance(ids_BT, module.start(1))


def _bound() -> None:
    """Memory is refused in time, rather than taken to the last byte or from other programs."""
    import torch

    for device in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(SHARE, device)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [available_bytes(), None if soft == resource.RLIM_INFINITY else soft]
    if known := [limit for limit in limits if limit is not None]:
        resource.setrlimit(resource.RLIMIT_DATA, (int(SHARE * min(known)), hard))
