"""How long a state takes from one processor to another through the second-level cache.

Two programs each post a word and wait for the other's, step by step: what scans over several
processors do at every step, without their arithmetic. Has never run on a GPU.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernel_suite.timing import best_seconds

STEPS = 4096
LOOKS = 1 << 20
"""At a word, before a program goes on without it."""
VOLLEY = tl.constexpr(
    f"""{{
    .reg .pred absent;
    .reg .b32 looks;
    mov.b32 $0, 1;
    st.relaxed.gpu.global.b32 [$1], $0;
    mov.u32 looks, 0;
again:
    ld.relaxed.gpu.global.b32 $0, [$2];
    add.u32 looks, looks, 1;
    setp.eq.u32 absent, $0, 0;
    setp.lt.and.u32 absent, looks, {LOOKS}, absent;
    @absent bra again;
}}"""
)


@triton.jit
def volley_kernel(words_ptr, seen_ptr, T):
    """All of T steps of one of two programs; a program's words are all 0 at first.

    Writes how many of the other's words it has seen.
    """
    mine = words_ptr + tl.program_id(0) * T
    other = words_ptr + (1 - tl.program_id(0)) * T
    seen = 0
    for step in range(T):
        seen += tl.inline_asm_elementwise(
            VOLLEY, "=&r,l,l", [mine + step, other + step], tl.int32, is_pure=False, pack=1
        )
    tl.store(seen_ptr + tl.program_id(0), seen)


def volley(device: str, steps: int) -> Tensor:
    """int32 (2,): how many of the other's words each program has seen, ``steps`` if all is well."""
    words = torch.zeros(2, steps, dtype=torch.int32, device=device)
    seen = torch.zeros(2, dtype=torch.int32, device=device)
    volley_kernel[(2,)](words, seen, steps, num_warps=1, launch_cooperative_grid=True)
    return seen


def measured_exchange(device: str) -> float:
    """Seconds of a step.

    Raises:
        RuntimeError: the two programs did not run side by side.
    """
    if volley(device, STEPS).tolist() != [STEPS, STEPS]:
        raise RuntimeError("two programs do not run side by side: is the GPU shared?")
    return (best_seconds(lambda: volley(device, STEPS), device == "cuda")) / STEPS
