"""Composing in a working folder of the test's own."""

import pytest

from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(here):
    """Write a file below the working folder: write("my_conf/model/mine.yaml", text)."""

    def write(name: str, text: str):
        file = here / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def problems(here):
    """What is wrong with overrides, by field; my_conf/ is the --config-dir if it is there."""

    def problems(*overrides: str):
        folder = str(here / "my_conf") if (here / "my_conf").is_dir() else None
        with pytest.raises(ConfigError) as caught:
            compose(overrides, folder)
        found = caught.value.problems
        assert len({p.field for p in found}) == len(found), "a field is told once"
        return {p.field: p for p in found}

    return problems
