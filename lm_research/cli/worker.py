"""One process of a data-parallel run; see launch.py, which starts it."""

import os
import sys
from pathlib import Path
from typing import Any

from lm_research.callbacks.processes import LateProcessError
from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli.launch import reason_file
from lm_research.config.problems import is_ours
from lm_research.tracking.json_files import write_json


def work(
    rank: int, config: dict[str, Any], output: str, processes: int, port: int, place: str
) -> None:
    """This process's part of the run ``config``; word of an error of ours is left in ``place``."""
    os.environ.update(_environment(rank, processes, port))
    import torch

    from lm_research.cli.job import run

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(torch.get_num_threads() // processes, 1))
    try:
        run(config, output, rank)
    except Stopped as stopped:
        said = {"error": str(stopped), "code": stopped.code, "by_time": stopped.by_time}
        write_json(reason_file(Path(place), rank), said)
        raise
    except KeyboardInterrupt:
        sys.exit(130)  # an interrupted process is not a finished one
    except Exception as error:
        if is_ours(error):
            late = isinstance(error, LateProcessError)
            said = {"error": str(error), "code": getattr(error, "exit_code", 1), "late": late}
            write_json(reason_file(Path(place), rank), said)
        raise


def _environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """The variables of torchrun, which Lightning puts before those of any cluster."""
    place = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "GROUP_RANK": 0,
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": f"lm-research-{port}",
    }
    return {name: str(value) for name, value in place.items()}
