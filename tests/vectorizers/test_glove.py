from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lm_research.vectorizers.glove import GloVe
from lm_research.vectorizers.vectorizer import NOTHING

GROUPS, MEMBERS = 4, 5


def planted_documents() -> list[np.ndarray]:
    """Sentences of a topic's own context words around one of its interchangeable members.

    Members never meet each other: ids 1..20 are the members of 4 groups, 21..40 the contexts.
    """
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(1500):
        group = rng.integers(GROUPS)
        contexts = 1 + GROUPS * MEMBERS + MEMBERS * group + rng.permutation(MEMBERS)
        member = 1 + MEMBERS * group + rng.integers(MEMBERS)
        documents.append(np.array([*contexts[:2], member, *contexts[2:4]]))
    return documents


def planted(**arguments: Any) -> GloVe:
    glove = GloVe(2 * GROUPS * MEMBERS + 1, dim=8, window=4, **arguments)
    glove.fit(planted_documents())
    return glove


def test_tokens_of_the_same_contexts_end_up_close() -> None:
    glove = planted(epochs=30)
    member_MD = F.normalize(glove.weight.detach()[1 : 1 + GROUPS * MEMBERS], dim=1)
    similarity = member_MD @ member_MD.T
    group = torch.arange(GROUPS * MEMBERS) // MEMBERS
    same = (group[:, None] == group) & ~torch.eye(len(group), dtype=torch.bool)
    other = group[:, None] != group
    assert similarity[same].min() > similarity[other].max()


def test_fitting_lowers_the_objective_and_repeats_by_seed() -> None:
    one, two, other = (
        planted(epochs=4, seed=1),
        planted(epochs=4, seed=1),
        planted(epochs=4, seed=2),
    )
    assert one.objectives == sorted(one.objectives, reverse=True)
    assert one.objectives[-1] < 0.5 * one.objectives[0]
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)


def test_tokens_never_seen_are_drawn_like_the_others() -> None:
    glove = GloVe(3000, dim=8, epochs=5)
    glove.fit(planted_documents())
    assert glove.coverage.item() == pytest.approx(40 / 3000)
    seen, drawn = glove.weight.detach()[1:41], glove.weight.detach()[41:]
    assert drawn.std().item() == pytest.approx(seen.std(correction=0).item(), rel=0.03)
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)


def test_nothing_is_known_before_fitting() -> None:
    glove = GloVe(2, dim=2)
    assert glove.needs_fit is True
    assert glove.objectives == []
    assert glove.coverage == 0


def test_trainable_or_not() -> None:
    assert planted(epochs=1).weight.requires_grad
    frozen = planted(epochs=1, trainable=False)
    assert not frozen.weight.requires_grad
    assert not frozen(torch.tensor([[1]])).requires_grad
    assert frozen.output_weight() is frozen.weight


def test_look_up_and_document() -> None:
    glove = planted(epochs=1)
    x_TD = glove(torch.tensor([[3, NOTHING]]))[0]
    assert torch.equal(x_TD, torch.stack([glove.weight[3], torch.zeros(8)]))
    x_D = glove.document(torch.tensor([3, 4, 4]))
    torch.testing.assert_close(x_D, glove.weight[[3, 4, 4]].mean(0))
    assert torch.equal(glove.document(torch.tensor([3, NOTHING])), glove.weight[3])
    torch.testing.assert_close(glove.document(torch.tensor([0, 1])), glove.weight[:2].mean(0))


TOKENS = ["<end>", "the", " the", " The", " US", " us", "  ", " zebra"]


def file_of(tmp_path: Path) -> str:
    path = tmp_path / "vectors.txt"
    path.write_text("the 1 2\nus 3 4\nUS 5 6\nunused 100 100\n")
    return str(path)


def test_load_matches_exactly_then_in_lower_case(tmp_path: Path) -> None:
    glove = GloVe(len(TOKENS), dim=2, path=file_of(tmp_path), seed=7)
    assert not glove.needs_fit
    glove.fit([np.array([1, 2, 3])])
    with pytest.raises(RuntimeError, match=r"GloVe has not been fitted: call load_vectors"):
        glove(torch.tensor([[1]]))
    glove.load_vectors(TOKENS)
    assert glove.weight[[1, 2, 3, 4, 5]].tolist() == [[1, 2], [1, 2], [1, 2], [5, 6], [3, 4]]
    assert glove.coverage.item() == pytest.approx(5 / 8)
    assert glove.state_dict()["coverage"].item() == pytest.approx(5 / 8)
    drawn = glove.weight[[0, 6, 7]].detach()
    assert drawn.unique().numel() == 6
    again = GloVe(len(TOKENS), dim=2, path=file_of(tmp_path), seed=7)
    again.load_vectors(TOKENS)
    assert torch.equal(glove.weight, again.weight)
    other = GloVe(len(TOKENS), dim=2, path=file_of(tmp_path), seed=8)
    other.load_vectors(TOKENS)
    assert not torch.isclose(glove.weight, other.weight)[[0, 6, 7]].any()


@pytest.mark.parametrize("lines", ["us 3 4\nUS 5 6\n", "US 5 6\nus 3 4\n"])
def test_exact_spellings_win_wherever_they_stand_in_the_file(tmp_path: Path, lines: str) -> None:
    (tmp_path / "v").write_text(lines + "nasa 7 8\n")
    glove = GloVe(4, dim=2, path=str(tmp_path / "v"))
    glove.load_vectors(["US", "us", "Us", "NASA"])
    assert glove.weight.tolist() == [[5, 6], [3, 4], [3, 4], [7, 8]]


def test_printable_names_of_tokens_are_understood(tmp_path: Path) -> None:
    glove = GloVe(3, dim=2, path=file_of(tmp_path))
    glove.load_vectors(["\N{OPEN BOX}the", "\N{LOWER ONE EIGHTH BLOCK}us", "\N{OPEN BOX}"])
    assert glove.weight[:2].tolist() == [[1, 2], [3, 4]]
    assert glove.coverage.item() == pytest.approx(2 / 3)


def test_tokens_not_found_are_drawn_with_the_deviation_of_the_found(tmp_path: Path) -> None:
    tokens = ["the", "us", *(f"missing{i}" for i in range(5000))]
    glove = GloVe(len(tokens), dim=2, path=file_of(tmp_path))
    glove.load_vectors(tokens)
    assert glove.weight[2:].std().item() == pytest.approx(np.std([1, 2, 3, 4]), rel=0.03)


def test_a_saved_state_needs_no_file(tmp_path: Path) -> None:
    glove = GloVe(len(TOKENS), dim=2, path=file_of(tmp_path))
    glove.load_vectors(TOKENS)
    (tmp_path / "vectors.txt").unlink()
    fresh = GloVe(len(TOKENS), dim=2, path=glove.path)
    fresh.load_state_dict(glove.state_dict())
    assert torch.equal(fresh(torch.arange(8)[None]), glove(torch.arange(8)[None]))
    assert fresh.coverage == glove.coverage


def test_words_that_are_not_utf8_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"the 1 2\n\xff 1 2\n")
    with pytest.warns(UserWarning, match=r"left out 1 words that are not UTF-8"):
        GloVe(1, dim=2, path=str(tmp_path / "v")).load_vectors(["the"])


def test_bad_uses_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds none of the 2 tokens: word vectors need"):
        GloVe(2, dim=2, path=file_of(tmp_path)).load_vectors(
            ["x", "\N{CJK UNIFIED IDEOGRAPH-732B}"]
        )
    with pytest.raises(ValueError, match=r"has vectors of 2 numbers, but dim is 3: set dim=2"):
        GloVe(1, dim=3, path=file_of(tmp_path)).load_vectors(["the"])
    with pytest.raises(ValueError, match=r"got 1 tokens for a vocabulary of 2"):
        GloVe(2, dim=2, path=file_of(tmp_path)).load_vectors(["the"])
    with pytest.raises(ValueError, match=r"path is None"):
        GloVe(2, dim=2).load_vectors(["the", "us"])
    with pytest.raises(RuntimeError, match=r"not been fitted: call fit\(documents\), or load its"):
        GloVe(2, dim=2)(torch.tensor([[1]]))
    with pytest.raises(ValueError, match=r"no training document of two tokens or more"):
        GloVe(2, dim=2).fit([np.array([1]), np.array([], dtype=np.int64)])
    with pytest.raises(ValueError, match=r"x_max is 0; it must be greater than 0"):
        GloVe(2, dim=2, x_max=0)
    with pytest.raises(ValueError, match=r"alpha is 2; it must be within \[0, 1\]"):
        GloVe(2, dim=2, alpha=2)
