"""What `benchmarks/mutation.py` is told to mutate is there, and it counts what mutmut says."""

import tomllib
from collections import Counter
from pathlib import Path

import mutation

ROOT = Path(__file__).parents[2]
VERDICTS = {
    "lm_research.data.batches.xǁTrainingBatchesǁ__init____mutmut_1": "killed",
    "lm_research.data.batches.x_f__mutmut_2": "survived",
    "lm_research.data.splits.x_split_of__mutmut_1": "timeout",
    "lm_research.metrics.flops.x_f__mutmut_1": "no tests",
}


def test_no_module_or_test_file_has_been_renamed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "mutmut"
    ]
    for pattern in settings["only_mutate"]:
        files = list(ROOT.glob(pattern))
        assert files, pattern
        for file in files:
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            assert mutation.group_of(f"{name}.x") in mutation.GROUPS
    for path in settings["pytest_add_cli_args_test_selection"]:
        assert (ROOT / path).exists(), path


def test_verdicts_are_counted_by_module_and_by_group():
    by_module = mutation.counts_by(VERDICTS, mutation.module_of)
    by_group = mutation.counts_by(VERDICTS, mutation.group_of)
    assert by_module["data.batches"] == {"killed": 1, "survived": 1}
    assert mutation.noticed_share(by_group["batching"]) == 2 / 3
    assert mutation.noticed_share(by_group["batching"] + Counter({"not checked": 9})) == 2 / 3
    assert mutation.noticed_share(by_group["metrics"]) == 0
    assert mutation.survivors(VERDICTS) == [
        "lm_research.data.batches.x_f__mutmut_2",
        "lm_research.metrics.flops.x_f__mutmut_1",
    ]
