"""A disk that is full for real: whatever file meets it, it is told, and the run goes on later."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("small_disk.py")
PLENTY = 60_000
NAMESPACE = ["unshare", "-Urm"]


def mounts() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(
            [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
        ).returncode
        == 0
    )


pytestmark = pytest.mark.skipif(not mounts(), reason="no mount namespaces for this user here")


@pytest.fixture
def on_disks_of(tmp_path, tiny):
    """Tries of a run on disks with so many KiB free; the last of plenty, as an undisturbed one."""

    def tries(sizes: list[int], *overrides: str) -> tuple[list[dict], dict]:
        place = tmp_path / "disk"
        place.mkdir()
        listed = ",".join(map(str, [*sizes, PLENTY]))
        options = [*tiny, "callbacks.metrics.every=1", *overrides]
        command = [*NAMESPACE, sys.executable, str(SCRIPT), str(place), listed, *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        *found, whole = map(json.loads, done.stdout.splitlines())
        assert whole["tries"][0]["code"] == 0, whole["tries"][0]["said"]
        return found, whole["tries"][0]

    return tries


def check(found: list[dict], whole: dict, most: int) -> None:
    for disk in found:
        first, second = disk["tries"]
        where = f"{disk['size']} KiB: {first['said']}"
        assert first["code"] == 1, where
        assert first["said"].splitlines()[-1].startswith("lm-research train: "), where
        assert "the disk is full" in first["said"].splitlines()[-1], where
        assert "Traceback" not in first["said"] + second["said"], where
        assert first["state"] in (None, "queued", "running", "failed"), where
        assert first["rows"] == whole["rows"][: len(first["rows"])], where
        assert first["samples"] == whole["samples"][: len(first["samples"])], where
        assert all(fault is None for _, fault in first["checkpoints"]), where
        assert len(first["checkpoints"]) <= most, where
        assert not first["parts"], where
        assert second["code"] == 0, second["said"]
        for part in ("state", "rows", "samples", "weights", "checkpoints"):
            assert second[part] == whole[part], f"{where}: {part}"


@pytest.mark.slow
def test_whatever_meets_it_is_told_and_the_run_goes_on_later(on_disks_of):
    """Among the first files, and in the second checkpoint; in every other place: the slow test."""
    found, whole = on_disks_of([12, 170])
    check(found, whole, most=2)
    assert [step for step, _ in found[-1]["tries"][0]["checkpoints"]] == [4]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["continue", "stop"])
def test_every_page_where_it_may_happen(on_disks_of, policy):
    overrides = (f"callbacks.checkpoint.on_error={policy}",)
    found, whole = on_disks_of([*range(8, 200, 4), *range(200, 300, 12)], *overrides)
    check(found, whole, most=2)


@pytest.mark.slow
def test_a_cache_on_a_full_disk_is_told(on_disks_of, tmp_path):
    cache = f"cache={tmp_path / 'disk' / 'cache'}"
    found, whole = on_disks_of([72], cache)
    check(found, whole, most=2)
    assert not found[0]["tries"][0]["rows"]
