"""Cases of a scan, and its results beside those of the float64 reference."""

import torch

from lm_research.kernels import gru_scan, lstm_scan, rnn_scan

GATES = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def run(cell, tensors, options, backend):
    """(outputs), from (gates, weight, states..., bias)."""
    gates, weight, *states = tensors
    options = {**options, "backend": backend}
    if cell == "lstm":
        y, state = lstm_scan(gates, weight, (states[0], states[1]), **options)
        return [y, *state]
    if cell == "gru":
        return list(gru_scan(gates, weight, states[0], bias_n=states[1], **options))
    kind = "relu" if cell == "rnn_relu" else "tanh"
    return list(rnn_scan(gates, weight, states[0], nonlinearity=kind, **options))


def names_of(cell):
    if cell == "lstm":
        return ["y", "h", "c", "d gates", "d weight", "d h0", "d c0"]
    if cell == "gru":
        return ["y", "h", "d gates", "d weight", "d h0", "d bias"]
    return ["y", "h", "d gates", "d weight", "d h0"]


def case(
    cell,
    dtype,
    device,
    batch,
    steps,
    hidden,
    heads=1,
    lengths=None,
    resets=None,
    seed=0,
    *,
    dropout=None,
    zoneout=None,
    bidirectional=False,
    reverse=False,
):
    """Inputs in ``dtype`` and options.

    Lengths in every row; resets, dropout and (``mask``) zoneout with a probability, or zoneout's
    share.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = 2 if bidirectional else 1
    width = directions * hidden

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).to(device)

    size = hidden // heads
    gates = draw(batch, steps, GATES[cell] * width)
    tensors = [gates, draw(GATES[cell] * width, size) / size**0.5, draw(batch, width)]
    if cell == "lstm":
        tensors.append(draw(batch, width))
    if cell == "gru":
        tensors.append(draw(width))
    options = {"bidirectional": bidirectional, "reverse": reverse}
    if lengths is not None:
        options["lengths"] = torch.tensor(lengths, device=device)
    if resets is not None:
        shape = (2, batch, steps) if bidirectional else (batch, steps)
        options["reset_mask"] = (torch.rand(shape, generator=generator) < resets).to(device)
    if dropout is not None:
        kept = torch.rand(batch, width, generator=generator) >= dropout
        options["dropout_mask"] = (kept / (1 - dropout)).to(dtype).to(device)
    for name in ("zoneout_h", "zoneout_c") if cell == "lstm" else ("zoneout_h",):
        mask = torch.rand(batch, steps, width, generator=generator) < 0.4
        options[name] = mask.to(device) if zoneout == "mask" else zoneout
    return tensors, options


def both(cell, tensors, options, backend="triton", positive=False):
    """(found, expected): outputs and gradients of the fused scan, and of the float64 reference.

    The outputs' gradients are drawn, of both signs or ``positive``.
    """
    results = []
    for name, double in ((backend, False), ("reference", True)):
        given = [(t.double() if double else t).detach().requires_grad_() for t in tensors]
        outputs = run(cell, given, options, name)
        generator = torch.Generator().manual_seed(1)
        weights = [
            torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o) for o in outputs
        ]
        weights = [w.abs() for w in weights] if positive else weights
        gradients = torch.autograd.grad(outputs, given, weights)
        results.append([*outputs, *gradients])
    return results
