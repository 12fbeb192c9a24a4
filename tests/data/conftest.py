"""A file server on loopback, for downloads."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from file_server import serve  # beside this file


@pytest.fixture
def file_server():
    """A server with nothing to serve yet."""
    with serve() as server:
        yield server
