import math
import zipfile

import numpy as np
import pytest
from scipy import stats

from lm_research.analysis.comparisons import by_documents, main_effect, winners
from lm_research.analysis.documents import document_difference, documents_of
from lm_research.analysis.metric import Metric
from lm_research.analysis.questions import own_question, transfer_question
from lm_research.analysis.runs import find_runs, load_run
from lm_research.analysis.settings import group_settings

BITS = Metric.named("val/bits_per_byte")
BYTES = np.random.default_rng(9).integers(50, 3000, 120)


@pytest.fixture
def scored(make_run):
    """A run with documents; its recorded bits per byte are what its documents add up to."""

    def make(name, nats_D, bytes_D=BYTES, digest="d1", group="val", **keywords):
        bits = float(nats_D.sum() / math.log(2) / bytes_D.sum())
        data = {"splits": {"validation": {"text_sha256": digest}}, "evaluated": {}}
        summary = {"val/bits_per_byte": bits}
        if group != "val":
            data["evaluated"][group.removeprefix("eval/")] = {"text_sha256": digest}
            summary[f"{group}/bits_per_byte"] = bits
        folder = make_run(name, summary=summary, data=data, **keywords)
        (folder / "evaluations").mkdir()
        np.savez(
            folder / "evaluations" / f"{group.replace('/', '-')}.npz",
            document_nats=nats_D, document_bytes=bytes_D,
        )  # fmt: skip
        return load_run(folder)

    return make


def nats(seed: int, better: float = 0.0) -> np.ndarray:
    """Documents of differing difficulty, which two models share."""
    difficulty_D = np.random.default_rng(1).normal(1.5, 0.3, len(BYTES))
    noise_D = np.random.default_rng(100 + seed).normal(0, 0.05, len(BYTES))
    return (difficulty_D + noise_D - better) * BYTES


def test_the_interval_is_scipys_and_the_centre_the_difference_of_the_scores(scored) -> None:
    first, second = scored("a", nats(1)), scored("b", nats(2, 0.02))
    found = document_difference([(first, second, "val", "val")])
    key = "val/bits_per_byte"
    assert found.estimate.mean == pytest.approx(first.summary[key] - second.summary[key])
    assert found.estimate.n == 120
    expected = stats.bootstrap(
        ((nats(1) - nats(2, 0.02)) / math.log(2), BYTES),
        lambda bits, size, axis: bits.sum(axis) / size.sum(axis),
        paired=True, method="percentile", n_resamples=20_000, rng=3,
    )  # fmt: skip
    interval = expected.confidence_interval
    width = interval.high - interval.low
    assert found.estimate.low == pytest.approx(interval.low, abs=width / 20)
    assert found.estimate.high == pytest.approx(interval.high, abs=width / 20)
    assert found == document_difference([(first, second, "val", "val")])


def test_pairing_finds_what_the_spread_of_documents_would_hide(scored) -> None:
    first, second = scored("a", nats(1)), scored("b", nats(2, 0.03))
    found = document_difference([(first, second, "val", "val")])
    assert found.estimate.excludes_zero()
    assert found.p < 0.01
    alone = [np.std(n / BYTES) / math.log(2) / len(BYTES) ** 0.5 for n in (nats(1), nats(2))]
    assert 1.96 * math.hypot(*alone) > found.estimate.mean  # the unpaired interval holds 0


def test_two_documents_can_be_enumerated(scored) -> None:
    """Both drawn alike half the time: the mean is d1, d2 (a quarter each) or their average."""
    size = np.array([100, 100])
    first, second = (
        scored(name, np.array(values) * 100 * math.log(2), size)
        for name, values in (("a", [2.0, 4.0]), ("b", [1.0, 1.0]))
    )
    found = document_difference([(first, second, "val", "val")])
    assert (found.estimate.low, found.estimate.mean, found.estimate.high) == pytest.approx(
        (1, 2, 3)
    )
    assert found.p == pytest.approx(2 / 10_000)


def test_without_a_difference_five_per_cent_are_below_five_per_cent(scored) -> None:
    base = scored("a", nats(0))
    alarms = 0
    for seed in range(100):
        rival = scored(f"b{seed}", nats(0) + np.random.default_rng(seed).normal(0, 1, 120) * BYTES)
        alarms += document_difference([(base, rival, "val", "val")], resamples=299).p < 0.05
    assert alarms / 100 == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 100) ** 0.5)


def test_pairs_of_one_text_are_averaged_and_texts_weighted_by_their_pairs(scored) -> None:
    runs = {name: scored(name, nats(i), digest="d1") for i, name in enumerate("abcd")}
    short = BYTES[:7]
    far = {n: scored(f"far{n}", nats(i)[:7], short, digest="d2") for i, n in enumerate("ab")}
    pairs = [(runs["a"], runs["b"], "val", "val"), (runs["c"], runs["d"], "val", "val"),
             (far["a"], far["b"], "val", "val")]  # fmt: skip
    found = document_difference(pairs)
    key = "val/bits_per_byte"
    each = [a.summary[key] - b.summary[key] for a, b, _, _ in pairs]
    assert found.estimate.mean == pytest.approx(sum(each) / 3)
    assert found.estimate.n == 127


def test_other_texts_lost_files_and_undefined_scores_are_not_compared(scored) -> None:
    first, other = scored("a", nats(1)), scored("b", nats(2), digest="d2")
    assert document_difference([(first, other, "val", "val")]) is None
    infinite = scored("c", np.where(np.arange(120) == 3, np.inf, nats(1)))
    assert documents_of(infinite, "val") is None
    assert documents_of(first, "eval/x") is None
    (other.folder / "evaluations" / "val.npz").write_bytes(b"PK damaged")
    assert documents_of(other, "val") is None
    assert document_difference([]) is None


def test_a_file_that_swells_or_holds_code_is_not_read(scored) -> None:
    run = scored("a", nats(1))
    path = run.folder / "evaluations" / "val.npz"
    np.savez_compressed(path, document_nats=np.zeros(10**6), document_bytes=np.ones(10**6, int))
    assert documents_of(run, "val") is None
    np.savez(path, document_nats=np.array([print], dtype=object), document_bytes=np.ones(1, int))
    assert documents_of(run, "val") is None
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.npy", b"")
    assert documents_of(run, "val") is None


def grid_of(scored, **keywords):
    for model, better in (("rnn", 0.0), ("lstm", 0.03)):
        for seed in (1, 2):
            choices = {"data": "a", "vectorizer": "v", "model": model}
            run = scored(
                f"{model}{seed}", nats(seed, better), choices=choices, seed=seed, **keywords
            )
    runs = find_runs(run.folder.parent)
    return group_settings(runs, ("data", "model"))


def test_effects_and_winners_are_told_over_documents_too(scored) -> None:
    settings = grid_of(scored)
    behind = main_effect(settings, "model", own_question(BITS)).levels[1]
    assert behind.documents.estimate.mean == pytest.approx(behind.behind.estimate.mean)
    assert behind.documents.estimate.mean == pytest.approx(0.03 / math.log(2))
    (winner,) = winners(settings, BITS)
    assert winner.documents == behind.documents
    accuracy = own_question(Metric.named("val/accuracy"))
    assert by_documents(settings[:1], settings[1:], ("model",), accuracy) is None


def test_common_texts_are_those_of_the_evaluations(scored) -> None:
    settings = grid_of(scored, group="eval/far/away")
    question = transfer_question(BITS, ("far/away",))
    found = by_documents(settings[:1], settings[1:], ("model",), question)
    assert abs(found.estimate.mean) == pytest.approx(0.03 / math.log(2))
