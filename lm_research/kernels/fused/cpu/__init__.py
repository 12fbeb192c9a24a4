"""Scans on a CPU, as machine code that numba makes of Python: no compiler on the user's machine.

A thread takes some of the rows and walks all steps with them, waiting for nobody: a step is one
product with the recurrent weight, which lies packed for the processor's vectors (:mod:`.product`),
and one pass over the gates (:mod:`.vectors`). How many threads there are changes no bit.

float32, one head, neither state dropout nor zoneout; see :mod:`lm_research.kernels.reference` for
what is computed.
"""
