"""``lm-research generate run=FOLDER prompt="..."``: sample from a finished run."""

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from lm_research.cli.options import help_text, option, parse
from lm_research.config.types import Interval, NonNegativeFloat, NonNegativeInt, PositiveInt
from lm_research.config.visible import visible

AT_ONCE = 64
"""Samples that are generated together."""


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    run: str = option(help="folder of a finished run")
    prompt: str = option("", "the text to continue, read as the beginning of a document")
    length: PositiveInt = option(300, "tokens at most")
    temperature: NonNegativeFloat = option(0.8, "0: always the most probable token")
    top_k: PositiveInt | None = option(None, "draw among the k most probable tokens")
    top_p: Annotated[float, Interval(0, 1, open_low=True)] | None = option(
        None, "draw among the fewest tokens that hold this probability"
    )
    seed: NonNegativeInt = option(0, "of the draws")
    samples: PositiveInt = option(1, "how many texts")
    checkpoint: Literal["last", "best"] = option("last", "which weights")


def run(arguments: list[str]) -> int:
    """Print prompt and continuation."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("generate", Options, "Sample from a finished run."))
        return 0
    options, _ = parse(Options, arguments)
    from lm_research.cli.saved import SavedRunError, load
    from lm_research.tasks.classification import Classification
    from lm_research.tasks.generation import generate, generate_several
    from lm_research.tasks.language_modeling import LanguageModeling
    from lm_research.tasks.sampling import Sampling
    from lm_research.tasks.sequence_to_sequence import SequenceToSequence
    from lm_research.tasks.tagging import Tagging

    saved = load(options.run, options.checkpoint)
    if isinstance(saved.model, Classification | SequenceToSequence | Tagging):
        task = saved.config["choices"]["task"]
        raise SavedRunError(f"run={options.run}: task={task}; it can `lm-research predict`")
    how = options.temperature, options.top_k, options.top_p
    samplings = [Sampling(*how, options.seed + number) for number in range(options.samples)]
    asked = saved.tokenizer, options.prompt, options.length
    for first in range(0, len(samplings), AT_ONCE):
        some = samplings[first : first + AT_ONCE]
        if isinstance(saved.model, LanguageModeling):
            texts = generate_several(saved.model, *asked, some)
        else:
            texts = [list(generate(saved.model, *asked, sampling)) for sampling in some]
        for ids in texts:
            text = options.prompt + saved.tokenizer.decode(ids)
            print(visible(text, keep="\n\t") if sys.stdout.isatty() else text)
    return 0
