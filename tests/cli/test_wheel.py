"""An installed wheel runs from any folder, with the checkout out of sight."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = ("conf/config.yaml", "sweeps/demo.yaml", "experiments/keras_lstm/config.yaml")
BESIDE = ("analysis/page.css", "analysis/page.js", "cli/serve.html", "py.typed")
CODE = """
import sys
sys.path[:] = [p for p in sys.path if p != {checkout!r}]
sys.path.insert(0, {site!r})
import lm_research
assert lm_research.__file__.startswith({site!r}), lm_research.__file__
from lm_research.cli.main import main
main(sys.argv[1:])
"""


def test_the_wheel_trains_from_another_folder(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {f"lm_research/{name}" for name in (*SHIPPED, *BESIDE)} <= names
    assert "hydra_plugins/lm_research_ray.py" in names
    code = CODE.format(site=str(tmp_path / "site"), checkout=str(ROOT))
    tiny = ["budget=smoke", "budget.train_tokens=1024", "budget.train_bytes=20000", "trainer=cpu"]
    command = [sys.executable, "-c", code, "train", *tiny, "tracking=disabled", "output=out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/summary.json").exists()
