"""``lm-research export run=FOLDER output=FOLDER``: a finished run, for others to use."""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from lm_research.cli.options import help_text, option, parse
from lm_research.config.problems import ConfigError, Problem

SUMMARY = (
    "Write a finished run to a new folder. hugging_face: safetensors with a model card;\n"
    "safetensors: weights, configuration and tokenizer; both load with lm_research.hub.AutoModel.\n"
    "torchscript, onnx: the model as a graph, compared with the model before it counts as written."
)
Format = Literal["hugging_face", "safetensors", "torchscript", "onnx"]
PACKAGES: dict[Format, tuple[str, ...]] = {
    "hugging_face": ("safetensors",),
    "safetensors": ("safetensors",),
    "torchscript": ("safetensors",),
    "onnx": ("safetensors", "onnx", "onnxruntime"),
}
LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    run: str = option(help="folder of a finished run")
    output: str = option(help="a new folder")
    format: Literal["hugging_face", "safetensors", "torchscript", "onnx"] = option(
        "hugging_face", "or safetensors, torchscript, onnx"
    )
    checkpoint: Literal["last", "best"] = option("best", "which weights")
    license: str | None = option(None, "of the weights, for the card: apache-2.0, cc-by-4.0, ...")


def run(arguments: list[str]) -> int:
    """Write the folder whole, or not at all."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("export", Options, SUMMARY))
        return 0
    options, _ = parse(Options, arguments)
    output = Path(options.output).expanduser().absolute()
    _check(options, output)
    from lm_research.cli.job import quiet
    from lm_research.cli.saved import load

    quiet()
    saved = load(options.run, options.checkpoint)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        said = _write(saved, options, temporary)
        os.rename(temporary, output)  # fails where somebody has put files there in the meantime
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    print(output)
    if said:
        print(said)
    return 0


def _check(options: Options, output: Path) -> None:
    problems = []
    if os.path.lexists(output):
        problems.append(Problem("output", "is there already", options.output, "a new folder"))
    missing = [name for name in PACKAGES[options.format] if find_spec(name) is None]
    if missing:
        others = ", ".join(f for f in get_args(Format) if all(map(find_spec, PACKAGES[f])))
        fix = f"pip install 'lm-research[export]' ({', '.join(missing)}); here: {others}"
        problems.append(Problem("format", "is not installed", options.format, fix))
    if options.license is not None and not LICENCE.fullmatch(options.license):
        allowed = "an SPDX identifier: apache-2.0, cc-by-4.0, mit, other, ..."
        problems.append(Problem("license", "is no identifier", options.license, allowed))
    if options.license is not None and options.format != "hugging_face":
        problems.append(Problem("license", "goes to the card", None, "with format=hugging_face"))
    if problems:
        raise ConfigError(problems)


def _write(saved: Any, options: Options, folder: Path) -> str:
    """The files; returns what is to be said of them."""
    from lm_research.hub.folder import save_config, save_weights
    from lm_research.tracking.json_files import read_json, write_text
    from lm_research.tracking.run_folder import RunFolder

    run = RunFolder(options.run)
    vocabulary = read_json(run.tokenizer)
    if options.format in ("torchscript", "onnx"):
        return _write_graph(saved, vocabulary, options, folder)
    save_config(saved, vocabulary, folder)
    save_weights(saved.model, folder)
    if options.format == "hugging_face":
        from lm_research.hub.card import card

        names = ("summary", "data", "environment")
        paths = {name: run.path / f"{name}.json" for name in names}
        files = {name: read_json(path) if path.exists() else {} for name, path in paths.items()}
        text = card(saved, files, options.license, options.checkpoint)
        write_text(folder / "README.md", text)
    return _of_tokenizer(folder)


def _write_graph(saved: Any, vocabulary: Any, options: Options, folder: Path) -> str:
    from lm_research.hub.folder import save_config
    from lm_research.hub.graph_files import write_graph

    kind: Any = options.format
    print("writing the graph, and comparing it with the model ...", file=sys.stderr)
    graph = write_graph(saved.model, folder, kind)
    save_config(saved, vocabulary, folder, graph=graph)
    largest, tolerance = graph["largest_difference"], graph["tolerance"]
    sizes = ", ".join(f"{rows} x {tokens}" for rows, tokens in graph["compared_at"])
    said = f"largest difference from the model: {largest:.2g} nats at {sizes} tokens"
    return f"{said} (allowed: {tolerance:g})\n{_of_tokenizer(folder)}".rstrip()


def _of_tokenizer(folder: Path) -> str:
    if (folder / "tokenizer.json").exists():
        return ""
    return "no tokenizer.json: `tokenizers` cannot express this tokenizer (vocabulary.json has it)"
