"""What one run had to import, the next one finds imported."""

import os
import signal
import subprocess
import sys

THREE_RUNS = """
import sys, types
from lm_research.cli.own_process import in_own_process

def imports_late():
    print("there", "sndhdr_like" in sys.modules, "mailcap" in sys.modules, "this" in sys.modules)
    import warnings
    warnings.simplefilter("ignore")
    import mailcap
    sys.modules["sndhdr_like"] = types.ModuleType("sndhdr_like")  # not to be imported

def fails_late():
    import this
    raise SystemExit(3)

print("status", in_own_process(fails_late, {}), flush=True)
print("status", in_own_process(imports_late, {}), flush=True)
print("status", in_own_process(imports_late, {}), flush=True)
print("status", in_own_process(lambda: sys.exit(4), {}), flush=True)
"""


def test_a_runs_late_imports_are_made_where_the_next_is_forked():
    command = [sys.executable, "-c", THREE_RUNS]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = [line for line in found.stdout.splitlines() if line.startswith(("there", "status"))]
    assert said == [
        "status 3",
        "there False False False",
        "status 0",
        "there False True False",
        "status 0",
        "status 4",
    ], found.stderr


MANY = """
import sys
from lm_research.cli.own_process import in_own_process

def many():
    sys.modules |= {f"no_module_with_a_name_of_some_length_{n}": None for n in range(5000)}

print("status", in_own_process(many, {}))
"""


def test_more_names_than_a_pipe_holds_keep_no_run_waiting():
    command = [sys.executable, "-c", MANY]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.stdout.split() == ["status", "0"], found.stderr


LEFT_BEHIND = """
import os, signal, time
from lm_research.cli.own_process import in_own_process

def killed():
    left = os.fork()
    if left == 0:
        os.close(1), os.close(2)
        time.sleep(600)
        os._exit(0)
    print(left, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

print("status", in_own_process(killed, {}))
"""


def test_a_process_that_a_run_leaves_behind_is_not_waited_for():
    command = [sys.executable, "-c", LEFT_BEHIND]
    found = subprocess.run(command, capture_output=True, text=True, timeout=240)
    left, *said = found.stdout.split()
    os.kill(int(left), signal.SIGKILL)
    assert said == ["status", "-9"], found.stderr
