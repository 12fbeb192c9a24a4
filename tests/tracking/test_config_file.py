import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lm_research.tracking.config_file import read_config, write_config
from lm_research.tracking.errors import RunFolderError

TRICKY = ["1e-4", "1_0", ".5", "-.inf", "no", "null", "2026-01-01", "0x1", "12:30", " a", "字", "'"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False)
    | st.sampled_from(TRICKY)
    | st.text("ab0.e-+_:# \n", max_size=8)
)
NAMES = st.text("abcxyz_", min_size=2, max_size=6)
CONFIGS = st.dictionaries(
    NAMES, SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(NAMES, SCALARS, max_size=3)
)


@settings(max_examples=50, deadline=None)
@given(CONFIGS)
def test_read_back_equal_by_us_and_by_omegaconf(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    write_config(path, config)
    assert repr(read_config(path)) == repr(config)
    omega = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert repr(omega) == repr(config)


def test_numbers_that_people_write(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("lr: 1e-4\nclip: .5\nlimit: .inf\nname: '1e-4'\n")
    assert read_config(path) == {"lr": 1e-4, "clip": 0.5, "limit": math.inf, "name": "1e-4"}


def test_only_plain_values_are_written(tmp_path):
    with pytest.raises(RunFolderError, match="only plain values"):
        write_config(tmp_path / "config.yaml", {"path": tmp_path})
    assert not (tmp_path / "config.yaml").exists()


BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{previous}'] * 9)}]\n"
    for previous, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "content",
    ["[1]", "a: [", "1: 2", "", "a: &a [*a]", "!!python/object/apply:os.system [ls]", BOMB, "\0"],
)
def test_anything_else_is_refused(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(RunFolderError, match=r"config\.yaml"):
        read_config(path)
