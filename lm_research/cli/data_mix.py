"""``lm-research data mix``: from the runs of a study of mixtures to the next mixture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lm_research.cli.options import help_text, option, parse
from lm_research.config.problems import ConfigError, Problem
from lm_research.config.types import NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    from lm_research.analysis.mixing import MixingFit, MixtureRuns, Proposal

SUMMARY = (
    "Fit the losses of finished runs to the shares of their sources; propose the next mixture.\n"
    "A run counts if it is a mixture, or one of the mixtures' sources alone (docs/mixtures.md)."
)


@dataclass(frozen=True)
class Options:
    """Options of the action."""

    runs: str | None = option(None, "folder of a sweep, or of several runs")
    sweep: str | None = option(None, "or the name of a study in sweeps/")
    metric: str = option("bits_per_byte", "score to minimise, as evaluate_on has it")
    evaluations: str | None = option(
        None, "SOURCE,SOURCE of evaluate_on; null: all that runs share"
    )
    law: Literal["auto", "linear", "quadratic", "exponential", "boosted"] = option(
        "auto", "auto: linear, quadratic or exponential, whichever predicts left-out runs best"
    )
    more: PositiveInt = option(4, "mixtures to run next")
    resamples: PositiveInt | None = option(None, "refits for intervals; null: 100 (boosted: 10)")
    seed: NonNegativeInt = option(0, "of folds, refits and candidates")
    output: str | None = option(None, "a new JSON file with all of it")


class MixError(Exception):
    """Runs from which no mixture can be learned; says why."""


def run(arguments: list[str]) -> int:
    """Fit, print, and write the file."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("data mix", Options, SUMMARY))
        return 0
    options, _ = parse(Options, arguments)
    _check_output(options.output)
    from lm_research.analysis.mixing import fit_mixing, propose

    mixtures = recorded_mixtures(_folder(options), options.metric, _names(options.evaluations))
    try:
        fit = fit_mixing(mixtures, options.law, options.seed, options.resamples)
    except (ValueError, ImportError) as error:
        raise MixError(str(error)) from error
    proposal = propose(mixtures, fit, options.more, options.seed)
    _print(mixtures, fit, proposal, options.metric)
    if options.output:
        content = as_json(mixtures, fit, proposal)
        Path(options.output).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"written: {options.output}")
    return 0


def _check_output(output: str | None) -> None:
    if output and Path(output).exists():
        raise ConfigError([Problem("output", "is there already", output, "a new file")])


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name for name in text.split(",") if name]


def _folder(options: Options) -> str:
    if (options.runs is None) == (options.sweep is None):
        message = "give one of the two" if options.runs is None else "give only one of the two"
        raise ConfigError([Problem("runs", message, None, "runs=FOLDER or sweep=NAME")])
    if options.runs is not None:
        return options.runs
    from lm_research.config.compose import compose

    return str(compose([f"sweep={options.sweep}"]).config["output"])


def recorded_mixtures(
    folder: str, metric: str, evaluations: Sequence[str] | None = None
) -> "MixtureRuns":
    """Shares and losses of the finished runs below ``folder``, averaged over seeds.

    Raises:
        MixError: no run there is a mixture, or none has the evaluations.
    """
    import numpy as np

    from lm_research.analysis.mixing import MixtureRuns
    from lm_research.analysis.runs import find_runs

    try:
        done = [one for one in find_runs(folder) if one.done]
    except FileNotFoundError as error:
        raise MixError(str(error)) from error
    shares = {one.folder: shares_of(one) for one in done}
    mixed = [s for s in shares.values() if len(s) > 1]
    sources = tuple(dict.fromkeys(name for found in mixed for name in found))
    if not sources:
        raise MixError(f"{folder}: none of {len(done)} finished runs is a mixture of sources")
    kept = [one for one in done if set(shares[one.folder]) <= set(sources)]
    names = _evaluations(kept, metric, evaluations, folder)
    by_mixture: dict[tuple[float, ...], list[list[float]]] = {}
    for one in kept:
        key = tuple(round(shares[one.folder].get(name, 0.0), 4) for name in sources)
        values = [one.summary[f"eval/{name}/{metric}"] for name in names]
        by_mixture.setdefault(key, []).append([float(v) for v in values if v is not None])
    weights_RM = np.array(list(by_mixture))
    losses_RE = np.array([np.mean(losses, axis=0) for losses in by_mixture.values()])
    return MixtureRuns(
        sources, tuple(names), weights_RM / weights_RM.sum(1, keepdims=True), losses_RE
    )


def shares_of(one: Any) -> dict[str, float]:
    """Shares of bytes by source, as read where that was recorded, else as asked for."""
    sampled = one.data.get("mixture")
    if isinstance(sampled, Mapping):
        return {str(name): float(card["share"]) for name, card in sampled.items()}
    data = one.config.get("data")
    weights = data.get("weights") if isinstance(data, Mapping) else None
    if not isinstance(weights, Mapping):
        return {one.source: 1.0}
    found = one.data.get("achieved") or weights
    total = sum(found.values()) or 1.0
    return {str(name): share / total for name, share in found.items()}


def _evaluations(
    runs: Sequence[Any], metric: str, asked: Sequence[str] | None, folder: str
) -> list[str]:
    """Names that every run was scored on."""
    suffix = f"/{metric}"
    each = [
        {k[5 : -len(suffix)] for k, v in one.summary.items()
         if k.startswith("eval/") and k.endswith(suffix) and v is not None}
        for one in runs
    ]  # fmt: skip
    shared = sorted(set.intersection(*each)) if each else []
    missing = [name for name in asked or [] if name not in shared]
    if missing or not shared:
        raise MixError(
            f"{folder}: {', '.join(missing) or 'no source'} has eval/SOURCE/{metric} in every run; "
            f"all have: {', '.join(shared) or 'none'}\n"
            "  fix: run the study with evaluate_on=[SOURCE, ...]: the held-out text of a mixture "
            "changes with its weights"
        )
    return list(asked or shared)


def override(sources: Sequence[str], weights_M: Sequence[float]) -> str:
    """Weights as the command line takes them."""
    pairs = [f"{name}: {w:.3f}" for name, w in zip(sources, weights_M, strict=True)]
    return "data.weights={" + ", ".join(pairs) + "}"


def as_json(runs: "MixtureRuns", fit: "MixingFit", proposal: "Proposal") -> dict[str, Any]:
    """All of it as JSON values."""
    from dataclasses import asdict

    best = [one.mean for one in proposal.weights]
    by_name = dict(zip(runs.evaluations, fit.worth_by_evaluation, strict=True))
    return {
        "law": fit.law,
        "mixtures": len(runs.weights_RM),
        "cross_validation": {
            "mean": asdict(fit.worth),
            **{name: asdict(w) for name, w in by_name.items()},
        },
        "weights": {
            name: {"share": one.mean, "low": one.low, "high": one.high}
            for name, one in zip(runs.sources, proposal.weights, strict=True)
        },
        "loss": _range(proposal.loss),
        "gain": _range(proposal.gain),
        "override": override(runs.sources, best),
        "next": [
            {
                "weights": dict(zip(runs.sources, map(float, row), strict=True)),
                "expected_improvement": float(value),
                "override": override(runs.sources, row.tolist()),
            }
            for row, value in zip(proposal.next_NM, proposal.improvement_N, strict=True)
        ],
    }


def _range(one: Any) -> dict[str, float | None]:
    return {"value": one.mean, "low": one.low, "high": one.high}


def _print(runs: "MixtureRuns", fit: "MixingFit", proposal: "Proposal", metric: str) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lm_research.cli.tell import safe

    console = Console(width=None if sys.stdout.isatty() else 140)

    def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        shown = Table(title=title, title_justify="left")
        for place, name in enumerate(head):
            shown.add_column(Text(safe(name)), justify="right" if place else "left")
        for row in rows:
            shown.add_row(*(Text(safe(text)) for text in row))
        console.print(shown)

    every = [("mean", fit.worth), *zip(runs.evaluations, fit.worth_by_evaluation, strict=True)]
    table(
        f"{fit.law} law, {len(runs.weights_RM)} mixtures: predictions of left-out mixtures",
        (metric, "Spearman", "R²", "mean absolute error"),
        [(name, f"{w.spearman:.3f}", f"{w.r2:.3f}", f"{w.mae:.4f}") for name, w in every],
    )
    table(
        "the mixture of least predicted mean loss",
        ("source", "share", "95 % interval"),
        [
            (name, f"{one.mean:.3f}", f"{one.low:.3f} to {one.high:.3f}")
            for name, one in zip(runs.sources, proposal.weights, strict=True)
        ],
    )
    loss, gain = proposal.loss, proposal.gain
    lines = [
        f"predicted mean {metric}: {loss.mean:.4f} ({loss.low:.4f} to {loss.high:.4f})",
        f"below the best of the runs by {gain.mean:.4f} ({gain.low:.4f} to {gain.high:.4f})",
        f"paste: '{override(runs.sources, [one.mean for one in proposal.weights])}'",
        "next to run, with the expected improvement that each adds:",
        *(
            f"  '{override(runs.sources, row.tolist())}'  {value:.4f}"
            for row, value in zip(proposal.next_NM, proposal.improvement_N, strict=True)
        ),
    ]
    console.print(Text(safe("\n".join(lines))), soft_wrap=True)
