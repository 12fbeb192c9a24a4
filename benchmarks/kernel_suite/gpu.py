"""What has to be known of a GPU besides its results: is it there, can it still be used."""

from importlib.util import find_spec

import torch


class DeviceLostError(Exception):
    """After an error nothing more can be run on the GPU in this process; the message says why."""


def needs_gpu() -> str | None:
    """Why nothing can run, or None."""
    if torch.cuda.is_available():
        return None
    return (
        f"no GPU: torch {torch.__version__} sees none (torch.cuda.is_available() is False). "
        "Run this on a machine with one and a CUDA or ROCm build of torch, or "
        "`check --device cpu` here"
    )


def settle(device: str) -> None:
    """Wait for all that was launched, so that its error is raised here and not at the next call.

    Raises:
        RuntimeError: a kernel failed, or a scan over several processors waited in vain.
    """
    if device != "cuda":
        return
    torch.cuda.synchronize()
    if find_spec("triton"):
        from lm_research.kernels.fused.spread.launch import raise_failure

        raise_failure(torch.device("cuda", torch.cuda.current_device()))


def still_alive(device: str, said: str) -> None:
    """An illegal access ends all that a process can do on a GPU: let it be seen.

    Raises:
        DeviceLostError: it has, after an error that ``said`` so.
    """
    if device != "cuda":
        return
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except Exception as error:
        raise DeviceLostError(f"{said} (the GPU is lost to this process)") from error


def first_line(error: BaseException, width: int = 200) -> str:
    """Its kind and first line; and the last where that only says where, as Triton's compiler."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    text = f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return f"{type(error).__name__}: {text}"[:width]
