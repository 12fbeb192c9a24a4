"""PTX written by hand, for the interpreter's tests."""

import torch
from kernel_suite.ptx.run import run_ptx


def kernel(body, pointers=2):
    """PTX of a kernel with so many pointers, in %rd0 and on; %r0 is the thread, %r1 the block."""
    names = [f"p{i}" for i in range(pointers)]
    loads = "\n".join(f"ld.param.b64 %rd{i}, [{name}];" for i, name in enumerate(names))
    given = ",\n".join(f".param .u64 .ptr .global .align 1 {name}" for name in names)
    return f"""
.version 8.8
.target sm_90
.extern .shared .align 16 .b8 global_smem[];
.visible .entry tested({given})
{{
.reg .pred %p<20>;
.reg .b16 %rs<20>;
.reg .b32 %r<60>;
.reg .b64 %rd<40>;
{loads}
mov.u32 %r0, %tid.x;
mov.u32 %r1, %ctaid.x;
{body}
ret;
}}
"""


def lanes(instructions, *inputs, dtype=torch.int32, out=1):
    """Each lane's %r10, %r11 ... are its elements of the inputs; returns its %r30, %r31 ..."""
    loads, stores = [], []
    for i in range(len(inputs)):
        loads += [f"mad.wide.u32 %rd20, %r0, 4, %rd{i};", f"ld.global.b32 %r{10 + i}, [%rd20];"]
    for i in range(out):
        stores += [
            f"mad.wide.u32 %rd20, %r0, 4, %rd{len(inputs) + i};",
            f"st.global.b32 [%rd20], %r{30 + i};",
        ]
    results = [torch.zeros(32, dtype=dtype) for _ in range(out)]
    text = kernel("\n".join([*loads, instructions, *stores]), len(inputs) + out)
    run_ptx(text, [torch.as_tensor(x) for x in inputs] + results, (1,), 1)
    return results if out > 1 else results[0]
