"""One process of a data-parallel run: ``python -m lm_research.cli.worker FILE`` under torchrun."""

import json
import sys
from pathlib import Path

from lm_research.cli.job import train


def main() -> None:
    """Read [config, output] from the file and train."""
    config, output = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    train(config, output)


if __name__ == "__main__":
    main()
