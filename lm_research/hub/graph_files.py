"""Write a model's graph, and compare what the file says with what the model says."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lm_research.hub.folder import READABLE
from lm_research.hub.graphs import Graph, GraphError, LanguageModelGraph, graphs_of
from lm_research.tasks.language_modeling import default_dtype
from lm_research.tasks.models import RunModel

GraphFormat = Literal["torchscript", "onnx"]
NAMES: dict[GraphFormat, str] = {"torchscript": "model.pt", "onnx": "model.onnx"}
START = "start.safetensors"
TOLERANCE = 1e-4
"""Largest difference, in nats (of states: absolute, or relative where they are greater than 1)."""
OPSET = 18
Call = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def write_graph(model: RunModel, folder: Path, kind: GraphFormat) -> dict[str, Any]:
    """Write ``model`` (in evaluation mode, on the CPU) to ``folder``, compared with the model.

    Returns:
        File, inputs, outputs, tolerance and the largest difference found, as JSON values; and, of a
        language model, ``start``: the file with the state before the first token, of one row.

    Raises:
        GraphError: there is no graph of it, or none that says the same as the model.
    """
    reasons = []
    for graph in graphs_of(model):
        graph.eval()
        try:
            return _written(graph, folder, kind)
        except Exception as error:  # whatever stops a tracer, a converter or a runtime
            (folder / NAMES[kind]).unlink(missing_ok=True)
            reasons.append(next(iter(str(error).splitlines()), type(error).__name__)[:200])
    other = "torchscript, " if kind == "onnx" else ""
    raise GraphError(
        f"format={kind}: this model has none ({'; '.join(dict.fromkeys(reasons))})\n"
        f"  the table in docs/use.md shows which do; others: format={other}safetensors, "
        "hugging_face"
    )


def _written(graph: Graph, folder: Path, kind: GraphFormat) -> dict[str, Any]:
    path, generator = folder / NAMES[kind], torch.Generator().manual_seed(0)
    arguments = graph.example(*graph.sizes[0], generator)
    dtype = next((p.dtype for p in graph.parameters()), torch.float32)
    with _quiet(), torch.no_grad(), default_dtype(dtype):
        if kind == "torchscript":
            torch.jit.trace(graph, arguments, check_trace=False).save(str(path))
        else:
            _write_onnx(graph, arguments, path)
    difference = _largest_difference(graph, _opened(path, kind), generator)
    return {
        "file": path.name,
        "start": _save_start(graph, folder),
        "inputs": _described(graph.inputs, arguments),
        "outputs": _described(graph.outputs, graph.expected(*arguments)),
        "compared_at": [list(size) for size in graph.sizes],
        "largest_difference": difference,
        "tolerance": TOLERANCE,
    }


def _save_start(graph: Graph, folder: Path) -> str | None:
    """Write the state before the first token, of one row; returns the file's name."""
    if not isinstance(graph, LanguageModelGraph):
        return None
    from safetensors.torch import save_file

    state = zip(graph.names, graph.start(1), strict=True)
    save_file({name: value.detach().contiguous() for name, value in state}, str(folder / START))
    (folder / START).chmod(READABLE)
    return START


def _write_onnx(graph: Graph, arguments: tuple[Tensor, ...], path: Path) -> None:
    import onnx

    # The exporter by tracing keeps recurrent layers whole, for any number of steps; the one by
    # torch.export unrolls them to the example's.
    torch.onnx.export(
        graph,
        arguments,
        str(path),
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        dynamic_axes={n: a for n, a in (graph.inputs | graph.outputs).items() if a},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(str(path), full_check=True)


def _opened(path: Path, kind: GraphFormat) -> Call:
    if kind == "torchscript":
        module = torch.jit.load(str(path))
        return lambda arguments: module(*arguments)
    return _onnx_session(path)


def _onnx_session(path: Path) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def call(arguments: Sequence[Tensor]) -> list[Tensor]:
        fed = {name: value.numpy() for name, value in zip(names, arguments, strict=True)}
        return [torch.from_numpy(found) for found in session.run(None, fed)]

    return call


def _largest_difference(graph: Graph, call: Call, generator: torch.Generator) -> float:
    """Over calls of several sizes.

    Raises:
        GraphError: it is greater than :data:`TOLERANCE`.
    """
    largest = 0.0
    for rows, tokens in graph.sizes:
        arguments = graph.example(rows, tokens, generator)
        for want, got in zip(graph.expected(*arguments), call(arguments), strict=True):
            want, got = want.detach().double(), got.detach().double()
            if want.shape != got.shape:
                raise GraphError(f"outputs of {tuple(got.shape)} for {tuple(want.shape)}")
            off = (want - got).abs() / want.abs().clamp(min=1.0)
            largest = max(largest, float(off.max()) if off.numel() else 0.0)
            if not largest <= TOLERANCE:
                told = f"{largest:.2g} at {rows} x {tokens} tokens"
                raise GraphError(f"outputs differ from the model's by {told}")
    return largest


def _described(axes: dict[str, dict[int, str]], values: Sequence[Tensor]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "dtype": str(value.dtype).removeprefix("torch."),
            "shape": [free.get(axis, size) for axis, size in enumerate(value.shape)],
        }
        for (name, free), value in zip(axes.items(), values, strict=True)
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's warnings: what they are about is what the comparison finds out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
