"""What the compiler needs to make these kernels for a GPU that is not there."""

from types import ModuleType
from typing import Any

from triton.experimental.gluon._runtime import GluonASTSource

from lm_research.kernels.fused.launch import block_of
from lm_research.kernels.fused.registers import elman, gru, lstm
from lm_research.kernels.fused.registers.launch import options_of

MODULES: dict[str, ModuleType] = {"rnn": elman, "lstm": lstm, "gru": gru}
MASKS = {"lengths_ptr": "*i64", "reset_ptr": "*i1"}


def source(
    cell: str, kernel: str, kind: str, head_size: int, aligned: bool = True, masks: bool = True
) -> tuple[GluonASTSource, dict[str, int]]:
    """Source and options for ``triton.compile``, gates being saved.

    Args:
        cell: ``rnn``, ``lstm`` or ``gru``.
        kernel: ``forward`` or ``backward``.
        kind: ``fp16`` or ``bf16``.
        head_size: D.
        aligned: whether hidden and head size are multiples of 16, which Triton compiles for.
        masks: with lengths and resets.
    """
    function: Any = getattr(MODULES[cell], f"{kernel}_kernel")
    block = block_of(head_size)
    constants: dict[str, Any] = {"RELU": False, "BLOCK_D": block}
    constants |= {} if masks else dict.fromkeys(MASKS)
    constants = {name: constants[name] for name in function.arg_names if name in constants}
    float32 = {"before_ptr"} if cell == "lstm" else set()

    def type_of(name: str) -> str:
        if name in constants:
            return "constexpr"
        if not name.endswith("_ptr"):
            return "i32"
        return MASKS.get(name, "*fp32" if name in float32 else f"*{kind}")

    signature = {name: type_of(name) for name in function.arg_names}
    even = {"H", "D"} if aligned else set()
    divisible = {
        (i,): [["tt.divisibility", 16]]
        for i, (name, type) in enumerate(signature.items())
        if type.startswith("*") or name in even
    }
    return GluonASTSource(function, signature, constants, divisible), options_of(block)
