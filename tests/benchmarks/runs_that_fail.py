"""What processes of the benchmark are given in its tests: found by name in a new process."""

import os
import signal
import time
from functools import partial

from kernel_suite.contenders import torch_nn
from kernel_suite.gpu import DeviceLostError


def failing(problem, fail, after):
    """torch.nn, which calls ``fail`` from its call number ``after`` on."""
    contender, calls = torch_nn(problem), iter(range(10**9))
    run = contender.run

    def counted(x):
        if next(calls) >= after:
            fail()
        return run(x)

    contender.run = counted
    return contender


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(1e6)


def complain():
    raise ValueError("no more\nof this")


def found():
    """Those that fail, fail while they are timed: a first call and the gate are behind them."""
    return {
        "nn": torch_nn,
        "dies": partial(failing, fail=die, after=4),
        "raises": partial(failing, fail=complain, after=4),
        "hangs": partial(failing, fail=hang, after=6),
        "last": torch_nn,
    }


class Server:
    """Answers with its process, or comes to the end that is asked for."""

    def __init__(self, settings, tell):
        self.tell = tell
        if settings == "stillborn":
            raise RuntimeError("no device\nat all")

    def process(self):
        return os.getpid()

    def turn(self, name, end):
        self.tell(name)
        ends = {"die": die, "hang": hang, "complain": complain}
        {**ends, "lose": self.lose, "exit": self.leave}[end]()

    def lose(self):
        raise DeviceLostError("an illegal access")

    def leave(self):
        os._exit(7)


def compile_or_not(case):
    """Stands for a compiler: some kernels are too much for it."""
    if case.cell == "lstm":
        die()
    if case.cell == "rnn_relu":
        hang()
    if case.cell == "gru":
        raise CannotBePickledError("registers", lambda: None)


class CannotBePickledError(Exception):
    """As Triton's own, which take other arguments than they are given."""
