"""The typed shape of a run's configuration: everything that is not a ``_target_`` node.

A node with ``_target_`` is checked against its class's constructor instead (``signatures.py``),
so that a new model, source or vectorizer needs no schema of its own.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from lm_research.config.signatures import InstanceOf
from lm_research.config.types import (
    DropProbability,
    Fraction,
    Interval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

Node = Annotated[object, InstanceOf("an object")]


@dataclass
class Splits:
    """Held-out fractions, by document."""

    validation: Annotated[float, Interval(low=0, high=1, open_low=True, open_high=True)]
    test: Fraction
    seed: int


@dataclass
class Text:
    """Cleaning rules, tokenizer, and an optional part-of-speech tagger."""

    cleaning: list[Node]
    tokenizer: Node
    tagger: Node | None


@dataclass
class Budget:
    """How much: a frozen recipe of tokens and width."""

    train_tokens: PositiveInt
    """tokens that training reads (with repetition where the corpus is smaller)"""
    batch_size: PositiveInt
    window: PositiveInt
    hidden_size: PositiveInt
    num_layers: PositiveInt
    train_bytes: PositiveInt
    """cap on the training split, in UTF-8 bytes"""
    eval_bytes: PositiveInt
    """cap on each held-out split, in UTF-8 bytes"""


@dataclass
class Trainer:
    """Hardware and the loop: what Lightning's Trainer is built with."""

    accelerator: Literal["auto", "cpu", "gpu"]
    devices: PositiveInt
    strategy: Literal["auto", "ddp", "fsdp"]
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"]
    """``auto``: the fastest of the first two; a run keeps the one that it began with"""
    gradient_clip: NonNegativeFloat
    """largest gradient norm, or entry; 0 leaves gradients alone"""
    accumulate: PositiveInt
    find_batch_size: Literal["largest", "keep_tokens"] | None
    """try out which budget.batch_size fits; ``keep_tokens``: with as many tokens a step"""
    threads: PositiveInt | None
    """CPU threads of this run; null leaves torch's choice"""
    deterministic: bool
    compile: bool = False
    """``torch.compile`` of the model while it trains; runs of before have no such field"""
    gradient_clip_by: Literal["norm", "value"] = "norm"
    """the whole gradient by its norm, or each entry by itself; runs of before have no such field"""


@dataclass
class Debug:
    """Shortcuts for looking at a run that misbehaves."""

    overfit_batches: NonNegativeInt
    max_steps: PositiveInt | None
    profile: bool
    replay: bool


@dataclass
class TransferSource:
    """What weights a run started from; filled in by the composition, a part of the identity."""

    data: str
    """name of the source that the language model was trained on"""
    recipe: str
    """digest of how it was trained, but for the seed"""
    seed: NonNegativeInt
    step: NonNegativeInt
    sha256: str
    """of the checkpoint's file"""


@dataclass
class Transfer:
    """What becomes of the weights that ``init_from`` brings."""

    checkpoint: Literal["last", "best"]
    freeze: Literal["none", "vectorizer", "encoder"] | PositiveInt
    """a number: the vectorizer and so many layers of the model, from below"""
    discriminative: Annotated[float, Interval(low=1, high=1000)]
    """a layer's learning rate over that of the layer below it"""
    gradual_unfreezing: Literal["epoch"] | PositiveInt | None
    """steps after which one more layer from above is trained; epoch: after every pass"""
    source: TransferSource | None = None


@dataclass
class Tune:
    """A search over settings, for `lm-research tune`."""

    space: dict[str, Any]
    """a list of values, or {low, high} with log: true or a step"""
    trials: PositiveInt = 20
    jobs: PositiveInt = 1
    """runs at a time"""
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "none"] = "median"
    """median: a run that is behind half of those before it, at the same step, is cut"""
    startup_trials: NonNegativeInt = 5
    """that are drawn at random and never cut"""


@dataclass
class Mixtures:
    """A design over the shares of sources: a case for each mixture."""

    sources: list[str]
    """data options"""
    runs: Annotated[int, Interval(low=1, high=10_000)] = 16
    """different mixtures"""
    design: Literal["dirichlet", "lattice"] = "dirichlet"
    concentration: PositiveFloat = 1.0
    """of the Dirichlet distribution: 1 is uniform, less is nearer to single sources"""
    seed: NonNegativeInt = 0
    """of the design; the runs have their own"""


@dataclass
class Sweep:
    """What a study asks, and what its report shows."""

    name: str
    title: str
    question: str
    metric: str
    direction: Literal["minimize", "maximize"]
    report: str
    grid: dict[str, list[Any]] = field(default_factory=dict)
    """every combination of these values"""
    zip: list[dict[str, list[Any]]] = field(default_factory=list)
    """blocks of lists that advance together"""
    cases: list[dict[str, Any]] = field(default_factory=list)
    """settings beside the product"""
    exclude: list[dict[str, Any]] = field(default_factory=list)
    """settings of the product to leave out"""
    mixtures: Mixtures | None = None
    """settings that are mixtures of sources, beside those above"""
    seeds: list[NonNegativeInt] | PositiveInt = 1
    """of every setting: these, or 1 to so many"""
    tune: Tune | None = None
    """a search in place of the grid"""
    hypotheses: list[str] = field(default_factory=list)
    """what the study expects: "model=lstm < model=rnn" says whose metric is the lower"""
    gpus: list[NonNegativeInt] | Literal["all"] | None = None
    """of this machine, one for each run, by a queue"""
    axes: list[str] = field(default_factory=list)
    """what the report compares; by default what varies, in this order"""


@dataclass
class Run:
    """The root."""

    data: Node
    text: Text
    vectorizer: Node
    model: Node
    task: Node
    optimizer: Node
    scheduler: Node
    averaging: Node | None
    output_layer: Node
    trainer: Trainer
    callbacks: dict[str, Node]
    tracking: Node
    budget: Budget
    debug: Debug | None
    protocol: Node | None
    """of `lm-research evaluate`; a run that trains has none"""
    sweep: Sweep | None
    init_from: str | None
    """folder of a language model's run, whose weights this one starts from"""
    transfer: Transfer | None
    seed: NonNegativeInt
    output: str
    splits: Splits
    evaluate_on: list[str] | dict[str, Node]
    cache: str
    downloads: str
    """the folder of public corpora's files"""
    resume: bool
    max_time: str | PositiveFloat | None
    """how long this attempt may take, at most; the same command goes on later"""
    end_margin: NonNegativeFloat
    """seconds before a Slurm job's end at which the run saves and stops"""
    prepare_workers: PositiveInt | None
    """processes that clean and encode text; null: one a processor where there is much"""
    source_timeout: PositiveFloat
    """seconds that a source may take for its next document"""
    process_timeout: PositiveFloat
    """seconds that the processes of a run wait for one another"""
    choices: dict[str, Any] | None


OPTIONAL = {
    *("averaging", "debug", "sweep", "choices", "downloads", "prepare_workers"),
    *("init_from", "transfer", "output_layer", "protocol"),
}
"""Root fields that may be absent."""

RUNTIME = {
    "data": set(),
    "vectorizer": {"vocabulary_size"},
    "model": {"input_size", "vocabulary_size"},
    "task": {
        *("vectorizer", "model", "tokenizer", "optimizer", "scheduler", "steps"),
        *("classes", "class_counts", "make_model", "target_vectorizer"),
        *("output_layer", "token_counts"),
    },
    "optimizer": {"params"},
    "scheduler": {"steps"},
    "averaging": set(),
    "output_layer": {"spec"},
    "callbacks": {"recorder", "data", "signals"},
    "tracking": set(),
    "text": set(),
    "method": set(),
    "protocol": set(),
}
"""Constructor arguments that exist only when a run is put together, by group."""

RANGES: dict[str, Any] = {
    # The largest learning rate in use is SGD's, some tens; beyond 1000 the exponent is mistyped.
    "lr": Annotated[float, Interval(low=0, high=1000, open_low=True)],
    "betas": list[DropProbability],
    "eps": NonNegativeFloat,
    "weight_decay": NonNegativeFloat,
    "momentum": NonNegativeFloat,
    "rho": DropProbability,
    "alpha": NonNegativeFloat,
    "lr_decay": NonNegativeFloat,
    "initial_accumulator_value": NonNegativeFloat,
}
"""Ranges for arguments of optimizers. The annotations of ``torch.optim`` carry none: this is what
its constructors refuse, told before torch is loaded (see ``cross_checks.py``, too)."""
