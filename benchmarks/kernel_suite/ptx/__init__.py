"""Runs the PTX that Triton compiles, in numpy: compiled kernels are checked without a GPU.

Triton's own interpreter runs a kernel's source; it knows neither the Gluon dialect nor programs
that wait for each other, and says nothing of what the compiler made. Here a kernel is compiled for
a GPU and the result is executed, one warp after another.

What is modelled: registers, integers, floats, predicates, tensor cores' layouts (``matrix``),
global and shared memory with bounds, alignment and poison (unwritten bytes are 0xFF, which is NaN),
asynchronous copies that arrive when they are waited for, barriers, warps in a random order, and
which write happens before which read (``order``): whoever reads what nothing has ordered gets a
:class:`~kernel_suite.ptx.errors.RaceError`, no matter what the value was.

What is not: time; caches; lanes of one warp that take different branches, or that communicate
without a barrier; weak memory's reorderings as values (they are reported as races, not played
through, but for stores that others see ``late``); subnormal numbers that ``.ftz`` flushes;
hardware's approximations (``ex2.approx``, ``div.full`` and the like are numpy's float32 functions);
the rounding inside a tensor core (products are summed in float64 and rounded once); scopes (what is
strong holds for the whole GPU; ``.cta`` and ``.cluster`` are refused); vectors torn apart (a lane's
``.v4`` is one access); wgmma, TMA, mbarrier. An instruction that is not here is refused by name.
Nothing here has been compared with a GPU.
"""
