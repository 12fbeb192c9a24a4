"""Which backend is taken, and why: by the limits, and by times measured on the very device.

No device has been timed yet. The times here are made up, on a GPU that there is not.
"""

import json
from types import SimpleNamespace

import pytest
import torch

from lm_research.kernels import (
    FusedGRU,
    FusedLSTM,
    dispatch,
    explain,
    functional,
    measured,
    obstacles,
)
from lm_research.kernels.measured import COLUMNS

GPU = "Made-up GPU 1"
FAST, SLOW = ("lstm", "bf16"), ("gru", "bf16")


def rows():
    """An LSTM that is twice as fast fused (1.5 times at 64 rows), a GRU that is not."""
    for hidden, batch, steps in [(h, b, t) for h in (64, 128) for b in (16, 64) for t in (64, 512)]:
        ms = hidden * steps / 1000
        for mode in ("forward", "both"):
            yield [
                *FAST,
                mode,
                1,
                1,
                hidden,
                batch,
                steps,
                2 * ms,
                ms * (4 / 3) ** (batch > 16),
                "a",
            ]
            yield [*SLOW, mode, 1, 1, hidden, batch, steps, ms, 1.01 * ms, "a"]
    yield ["lstm", "fp32", "both", 1, 1, 64, 16, 512, 9.0, 6.0, "single"]
    yield ["lstm", "tf32", "both", 1, 1, 64, 16, 512, 3.0, 2.0, "single"]
    yield ["lstm", "bf16", "both", 1, 12, 768, 16, 512, None, 1.0, "single"]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A machine with the made-up GPU and the times of it."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(obstacles, "INSTALLED", True)
    monkeypatch.setattr(obstacles, "target_of", lambda device: "sm_90")
    monkeypatch.setattr(dispatch, "device_name", lambda device: GPU)
    monkeypatch.setattr(obstacles, "sees_gpu", lambda: True)
    h100 = SimpleNamespace(multi_processor_count=132, shared_memory_per_block_optin=232_448)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: h100)
    monkeypatch.setattr(measured, "FOLDER", tmp_path)
    found = {"device": GPU, "date": "2026-01-02", "columns": COLUMNS, "rows": list(rows())}
    (tmp_path / "made-up-gpu-1.json").write_text(json.dumps(found))
    return tmp_path / "made-up-gpu-1.json"


@pytest.fixture(autouse=True)
def _forget():
    """What is chosen here is not for other tests."""
    yield
    for cached in (measured.of_device, dispatch._known_form, dispatch._timed, dispatch._fastest):
        cached.cache_clear()


def asked(cell="lstm", dtype=torch.bfloat16, **more):
    given = {"hidden_size": 64, "batch": 16, "steps": 512, **more}
    return explain(cell, device="cuda", dtype=dtype, **given)


def test_the_faster_one_is_taken_and_the_figures_are_told(gpu):
    faster, slower = asked("lstm"), asked("gru")
    assert (faster.backend, faster.form) == ("triton", "a")
    assert "2.00 times as fast as torch.nn" in faster.reason
    assert "at H=64, B=16, T=512 on Made-up GPU 1, 2026-01-02" in faster.reason
    assert "made-up-gpu-1.json" in faster.reason
    assert slower.backend == "torch"
    assert "0.99 times as fast" in slower.reason


def test_a_gain_within_the_timings_error_is_none(gpu):
    found = json.loads(gpu.read_text())
    found["rows"] = [["lstm", "bf16", "both", 1, 1, 64, 16, 512, 1.01, 1.0, "single"]]
    gpu.write_text(json.dumps(found))
    assert asked().backend == "torch"


def test_between_timed_sizes_torch_is_taken_at_the_smaller_and_ours_at_the_larger(gpu):
    wide = asked(hidden_size=96)  # torch.nn's 64 units, our 128: 2 times / 2
    assert (wide.backend, "1.00 times" in wide.reason) == ("torch", True)
    assert "H=64 to 128, B=16, T=512" in wide.reason
    many = asked(batch=17)  # twice as fast at 16 rows, 1.5 times at 64, whose time counts
    assert (many.backend, "1.50 times" in many.reason) == ("triton", True)
    assert "T=64 to 512" in asked(steps=100).reason


@pytest.mark.parametrize(
    "size",
    [
        {"hidden_size": 32},
        {"hidden_size": 256},
        {"hidden_size": 100},  # padded, and compiled for any size
        {"batch": 8},
        {"batch": 65},
        {"steps": 63},
        {"num_layers": 2},
        {"dtype": torch.float16},
        {"dtype": torch.float32, "precision": "ieee"},
    ],
    ids=str,
)
def test_what_was_not_timed_is_left_to_torch(gpu, size):
    choice = asked(**size)
    assert choice.backend == "torch"
    assert "not timed on" in choice.reason or "do not fit" in choice.reason


def test_more_steps_than_timed_are_as_the_most(gpu):
    assert "2.00 times" in asked(steps=100_000).reason
    assert asked(steps=100_000).backend == "triton"


def test_a_missing_corner_is_not_guessed(gpu):
    found = json.loads(gpu.read_text())
    found["rows"] = [row for row in found["rows"] if row[5:8] != [64, 16, 64]]
    gpu.write_text(json.dumps(found))
    assert asked(steps=512).backend == "triton"
    assert asked(steps=64).backend == asked(steps=100).backend == "torch"


def test_float32_is_compared_with_what_torch_would_do(gpu, monkeypatch):
    rnn = torch.backends.cudnn.rnn
    given = {"dtype": torch.float32, "hidden_size": 64}
    monkeypatch.setattr(rnn, "fp32_precision", "tf32")
    assert "0.50 times" in asked(**given).reason  # three products against one
    assert "1.50 times" in asked(**given, precision="tf32").reason
    monkeypatch.setattr(rnn, "fp32_precision", "ieee")
    assert "1.50 times" in asked(**given).reason
    assert "4.50 times" in asked(**given, precision="tf32").reason


def test_a_device_that_was_not_timed_is_named(gpu, monkeypatch):
    monkeypatch.setattr(dispatch, "device_name", lambda device: "Another GPU")
    choice = asked()
    assert (choice.backend, choice.form) == ("torch", None)
    assert choice.reason == "torch.nn serves it; no timing on Another GPU"


def test_only_the_exact_name_counts(gpu, monkeypatch):
    monkeypatch.setattr(dispatch, "device_name", lambda device: "made-up gpu-1")  # the same slug
    assert "no timing on made-up gpu-1" in asked().reason


def test_other_columns_are_refused(gpu):
    gpu.write_text(json.dumps({"columns": ["cell"], "rows": []}))
    with pytest.raises(RuntimeError, match="other columns"):
        asked()


def test_two_directions_are_not_timed(gpu):
    assert "not timed" in asked(timed=False).reason
    assert asked(timed=False).backend == "torch"


def test_what_torch_cannot_serve_needs_no_timing(gpu):
    choice = asked(num_heads=4)
    assert (choice.backend, choice.form) == ("triton", "single")


@pytest.mark.parametrize("dynamic", [None, True])
def test_torch_compile_asks_without_a_graph_break(gpu, dynamic):
    def twice(x):
        choice = explain(
            "lstm", device="cuda", dtype=torch.bfloat16, hidden_size=64, batch=x.shape[0],
            steps=x.shape[1], training=torch.is_grad_enabled(),
        )  # fmt: skip
        return x * 2 if choice.backend == "triton" else x

    torch._dynamo.reset()
    compiled = torch.compile(twice, backend="eager", fullgraph=True, dynamic=dynamic)
    for batch, steps, factor in [(16, 64, 2), (20, 65, 2), (8, 64, 1), (9, 70, 1), (16, 512, 2)]:
        assert compiled(torch.ones(batch, steps)).mean() == factor


def on_the_gpu(layer, x, **more):
    """The layer's choice, if the input were there."""

    class There(torch.Tensor):
        is_cpu = False
        device = torch.device("cuda")

    return layer.choice(x.as_subclass(There), **more)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_layer_asks_for_its_input(gpu, batch_first):
    x = torch.zeros(512, 16, 3, dtype=torch.bfloat16)
    x = x.transpose(0, 1) if batch_first else x
    layer = FusedLSTM(3, 64, batch_first=batch_first)
    assert "at H=64, B=16, T=512" in on_the_gpu(layer, x).reason
    assert on_the_gpu(layer, x).backend == "triton"
    assert on_the_gpu(layer, x[:, :0]).backend == "torch"  # empty
    assert on_the_gpu(layer, x[0]).backend == "torch"  # without a batch
    assert on_the_gpu(layer, x[0], packed=True).backend == "torch"
    assert on_the_gpu(layer, x[0, 0, :0]).backend == "triton"  # of no certain size
    for other in ({"bidirectional": True}, {"proj_size": 2}, {"recompute": True}):
        layer = FusedLSTM(3, 64, batch_first=batch_first, **other)
        assert on_the_gpu(layer, x).backend == "torch"
    assert on_the_gpu(FusedGRU(3, 64, batch_first=batch_first), x).backend == "torch"


def test_on_a_cpu_nothing_is_looked_up(monkeypatch):
    monkeypatch.setattr(dispatch, "device_name", None)
    choice = FusedLSTM(3, 64).choice(torch.zeros(2, 2, 3))
    assert choice == explain("lstm", hidden_size=64)
    assert choice.backend == "torch"
    assert "one operator on a CPU" in choice.reason


def test_no_file_is_shipped_that_was_not_measured():
    """Every file is readable, named after its device, and dispatch reads it."""
    for path in measured.FOLDER.glob("*.json"):
        found = measured.Measured(path)
        assert path.stem == measured.slug(found.device)
        assert "made-up" not in path.stem


@pytest.mark.parametrize(
    ("wanted", "pair"), [(15, None), (16, (16, 16)), (17, (16, 64)), (64, (64, 64)), (65, None)]
)
def test_neighbours(wanted, pair):
    assert measured.around((16, 64), wanted) == pair
    assert measured.around((), wanted) is None


FORMS = [
    # cell, type, hidden, heads -> form
    ("lstm", torch.bfloat16, 128, 1, "single"),
    ("lstm", torch.bfloat16, 512, 1, "spread"),
    ("lstm", torch.bfloat16, 768, 12, "single"),
    ("rnn", torch.float16, 1024, 1, "spread"),
    ("gru", torch.float32, 256, 1, "spread"),
    ("lstm", torch.bfloat16, 4096, 1, None),
]


@pytest.mark.parametrize(("cell", "dtype", "hidden", "heads", "form"), FORMS)
def test_a_head_too_large_for_one_processor_is_spread_over_several(
    gpu, cell, dtype, hidden, heads, form
):
    asked = {"device": "cuda", "dtype": dtype, "hidden_size": hidden, "num_heads": heads}
    choice = explain(cell, **asked, beyond_torch=True)
    assert choice.form == form
    assert choice.backend == ("triton" if form else "reference")
    if form is None:
        assert "at most 128" in choice.reason
        assert "at most 1024" in choice.reason


def test_a_form_may_be_asked_for_by_name(gpu):
    asked = {"device": "cuda", "dtype": torch.bfloat16, "hidden_size": 128, "num_layers": 2}
    for form in dispatch.FORMS:
        assert explain("gru", **asked, backend=f"triton:{form}").form == form
    with pytest.raises(RuntimeError, match="holds U in registers in 16 bits"):
        explain("gru", **{**asked, "dtype": torch.float32}, backend="triton:registers")


@pytest.mark.parametrize("form", dispatch.GLUON)
def test_a_scan_of_no_step_reads_none_ahead(form):
    assert functional._form_for_steps(form, 0) == "spread"
    assert functional._form_for_steps(form, 1) == form
    assert functional._form_for_steps("single", 0) == "single"
