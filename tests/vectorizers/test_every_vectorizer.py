"""What holds for every vectorizer: found through conf/vectorizer, so a new YAML is covered.

Each is built as its YAML says, and again with one setting changed at a time: every other choice of
a ``Literal``, the opposite of every bool, and None where None is allowed.
"""

import copy
import importlib
import inspect
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.tables import row_reads
from lm_research.vectorizers.vectorizer import NOTHING, Vectorizer

CONF = Path(__file__).parents[2] / "conf" / "vectorizer"
V = 11
WIDTH = 5


def arguments_of(stem: str) -> tuple[type[Vectorizer], dict[str, Any]]:
    root = {
        "seed": 3,
        "budget": {"hidden_size": WIDTH},
        "it": OmegaConf.load(CONF / f"{stem}.yaml"),
    }
    arguments = OmegaConf.to_container(OmegaConf.create(root), resolve=True)["it"]
    module, _, name = arguments.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), name), arguments


def other_values(annotation: Any, value: Any) -> list[Any]:
    options = get_args(annotation) if get_origin(annotation) is not Literal else (annotation,)
    values: list[Any] = [not value] if annotation is bool else []
    for option in options:
        if get_origin(option) is Literal:
            values += get_args(option)
        elif option is NoneType:
            values.append(None)
    return [other for other in values if other != value]


def cases() -> list[Any]:
    found = []
    for path in sorted(CONF.glob("*.yaml")):
        kind, arguments = arguments_of(path.stem)
        hints = get_type_hints(kind.__init__)
        found.append(pytest.param(path.stem, "", None, id=path.stem))
        for field, value in arguments.items():
            for other in other_values(hints[field], value):
                found.append(
                    pytest.param(path.stem, field, other, id=f"{path.stem}-{field}={other}")
                )
    return found


def build(stem: str, field: str, value: Any, *, size: int = V, seed: int = 0) -> Vectorizer:
    torch.manual_seed(seed)
    kind, arguments = arguments_of(stem)
    if field:
        arguments[field] = value
    return kind(size, **arguments).eval()


@cache
def fitted(stem: str, field: str, value: Any) -> Vectorizer:
    """Fitted on a few documents; in evaluation mode. Shared: do not change it."""
    vectorizer = build(stem, field, value)
    rng = np.random.default_rng(0)
    vectorizer.fit([rng.integers(1, V - 1, size) for size in (9, 1, 30, 12)])
    return vectorizer


every = pytest.mark.parametrize(("stem", "field", "value"), cases())
tokens = st.integers(0, V - 1)
streams = st.lists(st.sampled_from([NOTHING, *range(V)]), min_size=1, max_size=40)


def test_there_are_yamls() -> None:
    stems = {path.stem for path in CONF.glob("*.yaml")}
    assert {"one_hot", "bag_of_words", "tfidf", "embedding", "glove", "word2vec"} <= stems


@pytest.mark.parametrize("stem", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_yaml_is_named_after_the_module_and_states_every_setting(stem: str) -> None:
    kind, arguments = arguments_of(stem)
    assert kind.__module__ == f"lm_research.vectorizers.{stem}"
    hints = get_type_hints(kind.__init__)
    assert list(arguments) == [name for name in hints if name not in ("return", "vocabulary_size")]
    assert (CONF / f"{stem}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("stem", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_the_defaults_in_python_are_those_of_the_yaml(stem: str) -> None:
    kind, _ = arguments_of(stem)
    stated = OmegaConf.to_container(OmegaConf.load(CONF / f"{stem}.yaml"), resolve=False)
    for name, parameter in inspect.signature(kind).parameters.items():
        elsewhere = str(stated.get(name)).startswith("${")
        if parameter.default is not parameter.empty and not elsewhere:
            assert parameter.default == stated[name]


def bounded_settings() -> list[tuple[str, str]]:
    """Settings (with the YAML's name) whose annotation has a range; none allows -1."""
    found = []
    for path in sorted(CONF.glob("*.yaml")):
        hints = get_type_hints(arguments_of(path.stem)[0].__init__, include_extras=True)
        for field, annotation in hints.items():
            options = [annotation, *get_args(annotation)]
            if any(get_origin(option) is Annotated for option in options):
                found.append((path.stem, field))
    return found


@pytest.mark.parametrize(("stem", "field"), bounded_settings())
def test_a_setting_out_of_range_is_named(stem: str, field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field} is -1; it must be (at least|greater|within)"):
        build(stem, field, -1)


@every
def test_shapes(stem: str, field: str, value: Any) -> None:
    vectorizer = fitted(stem, field, value)
    ids_BT = torch.randint(V, (3, 17))
    x_BTD = vectorizer(ids_BT)
    assert x_BTD.shape == (3, 17, vectorizer.dim)
    assert x_BTD.dtype == torch.float32
    assert x_BTD.isfinite().all()
    assert vectorizer(ids_BT[:, :1]).shape == (3, 1, vectorizer.dim)
    assert vectorizer(ids_BT[:, :0]).shape == (3, 0, vectorizer.dim)
    weight = vectorizer.output_weight()
    assert weight is None or weight.shape == (V, vectorizer.dim)


@every
def test_vectors_are_made_where_the_ids_are(stem: str, field: str, value: Any) -> None:
    vectorizer = copy.deepcopy(fitted(stem, field, value))
    vectorizer(torch.zeros(1, 1, dtype=torch.int64))  # a check of what was fitted reads the flag
    vectorizer.to("meta")
    ids_BT = torch.zeros(2, 7, dtype=torch.int64, device="meta")
    assert vectorizer(ids_BT).device.type == "meta"
    assert vectorizer.document(ids_BT[0]).device.type == "meta"
    assert vectorizer.stream(ids_BT, None)[0].device.type == "meta"


@every
def test_no_token_is_a_zero_vector(stem: str, field: str, value: Any) -> None:
    vectorizer = fitted(stem, field, value)
    assert not vectorizer(torch.full((2, 9), NOTHING)).any()


@every
@settings(max_examples=40, deadline=None)
@given(ids=streams, data=st.data())
def test_a_change_at_t_never_moves_what_comes_before(
    stem: str, field: str, value: Any, ids: list[int], data: st.DataObject
) -> None:
    vectorizer = fitted(stem, field, value)
    t = data.draw(st.integers(0, len(ids) - 1))
    changed = [*ids[:t], data.draw(tokens), *ids[t + 1 :]]
    x_2TD = vectorizer(torch.tensor([ids, changed]))
    assert torch.equal(x_2TD[0, :t], x_2TD[1, :t])
    after = t + vectorizer.context + 1
    assert torch.equal(x_2TD[0, after:], x_2TD[1, after:]), "it sees more than `context` tells"
    # In calls of their own, too, and cut off after t: nothing looks at the length either.
    assert torch.equal(vectorizer(torch.tensor([changed[: t + 1]]))[0, :t], x_2TD[0, :t])


@every
@settings(max_examples=40, deadline=None)
@given(ids=streams, data=st.data())
def test_cutting_a_stream_changes_nothing(
    stem: str, field: str, value: Any, ids: list[int], data: st.DataObject
) -> None:
    vectorizer = fitted(stem, field, value)
    ids_BT = torch.tensor([ids, ids[::-1]])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(ids)), max_size=6)) | {len(ids)})
    pieces, history, start = [], None, 0
    for stop in cuts:
        x_BTD, history = vectorizer.stream(ids_BT[:, start:stop], history)
        pieces.append(x_BTD)
        start = stop
    # Stronger than asked: not one bit differs, for no vectorizer sums over the whole stream.
    assert torch.equal(torch.cat(pieces, 1), vectorizer(ids_BT))
    assert vectorizer.context == 0 or history.shape == (2, vectorizer.context)


@every
def test_prepared_steps_are_those_of_the_stream(stem: str, field: str, value: Any) -> None:
    vectorizer = fitted(stem, field, value)
    ids_BT = torch.randint(V, (3, 9), generator=torch.Generator().manual_seed(0))
    expected = vectorizer(ids_BT)
    with torch.inference_mode():
        first, history = vectorizer.stream(ids_BT[:, :4], None)
        step, found = vectorizer.stepper(), [first]
        for t in range(4, 8):
            x_BD, history = step(ids_BT[:, t], history)
            found.append(x_BD[:, None])
        found.append(vectorizer.stream(ids_BT[:, 8:], history)[0])
        assert torch.equal(step(ids_BT[:, 0], None)[0], expected[:, 0])
    assert torch.equal(torch.cat(found, 1), expected)


@every
def test_gradients_reach_what_is_trainable(stem: str, field: str, value: Any) -> None:
    vectorizer = copy.deepcopy(fitted(stem, field, value)).train()
    x_BTD = vectorizer(torch.arange(V)[None])
    trainable = [p for p in vectorizer.parameters() if p.requires_grad]
    assert x_BTD.requires_grad == bool(trainable)
    if trainable:
        (x_BTD * torch.randn_like(x_BTD)).sum().backward()
        # Every row of a token's; of a hashed table, some.
        rows = [p.grad.abs().sum(1) for p in trainable]
        assert all(row.all() if len(row) == V else row.any() for row in rows)


@every
def test_state_moves_into_a_fresh_instance(stem: str, field: str, value: Any) -> None:
    vectorizer = fitted(stem, field, value)
    fresh = build(stem, field, value, seed=1)
    ids_BT = torch.randint(V, (2, 13))
    if vectorizer.needs_fit:
        assert not fresh.state_dict()["fitted"]
        with pytest.raises(RuntimeError, match=r"has not been fitted: call"):
            fresh(ids_BT)
    fresh.load_state_dict(vectorizer.state_dict())
    assert torch.equal(fresh(ids_BT), vectorizer(ids_BT))
    if vectorizer.needs_fit:
        fresh.load_state_dict(build(stem, field, value).state_dict())
        with pytest.raises(RuntimeError, match=r"has not been fitted: call"):
            fresh(ids_BT)


@every
def test_documents(stem: str, field: str, value: Any) -> None:
    vectorizer = fitted(stem, field, value)
    x_D = vectorizer.document(torch.tensor([3, 1, 3]))
    assert x_D.shape == (vectorizer.dim,)
    assert x_D.any()
    assert torch.equal(vectorizer.document(torch.tensor([], dtype=torch.int64)), x_D * 0)


@every
def test_documents_together_are_documents_one_by_one(stem: str, field: str, value: Any) -> None:
    vectorizer = fitted(stem, field, value)
    documents = [torch.tensor(ids) for ids in ([3, 1, 3], [5], [2, NOTHING, 2, 9, 3, 2])]
    documents.insert(1, torch.tensor([], dtype=torch.int64))
    x_BD = vectorizer.documents(documents)
    x_BD = x_BD.to_dense() if x_BD.layout is torch.sparse_csr else x_BD
    expected = torch.stack([vectorizer.document(ids) for ids in documents])
    torch.testing.assert_close(x_BD, expected, rtol=1e-5, atol=1e-6)


@every
def test_a_vocabulary_of_one(stem: str, field: str, value: Any) -> None:
    vectorizer = build(stem, field, value, size=1)
    vectorizer.fit([np.zeros(5, dtype=np.uint16)])
    assert vectorizer(torch.zeros(2, 3, dtype=torch.int64)).isfinite().all()


@pytest.mark.parametrize("stem", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_an_empty_vocabulary_is_refused(stem: str) -> None:
    with pytest.raises(ValueError, match=r"vocabulary_size is 0; it must be at least 1"):
        build(stem, "", None, size=0)


@every
def test_rows_of_a_table_are_its_vectors(stem: str, field: str, value: Any) -> None:
    vectorizer = fitted(stem, field, value)
    ids_BT = torch.tensor([[3, 1, 3, 0, 1, 7], [5, 5, 2, 10, 1, 7]])
    for training in (False, True):
        vectorizer.train(training)
        rows = vectorizer.rows(ids_BT)
        if rows is not None:
            assert vectorizer.context == 0
            assert torch.equal(rows.vectors(), vectorizer(ids_BT))


def test_which_vectorizers_give_rows() -> None:
    given = {
        path.stem
        for path in CONF.glob("*.yaml")
        if fitted(path.stem, "", None).rows(torch.ones(1, V, dtype=torch.int64)) is not None
    }
    assert given == {"embedding", "one_hot"}
    assert fitted("one_hot", "", None).rows(torch.ones(1, V - 1, dtype=torch.int64)) is None


def test_an_embedding_that_drops_rows_or_is_sparse_gives_none() -> None:
    ids_BT = torch.tensor([[1]])
    embedding = Embedding(V, WIDTH, dropout=0.5)
    assert embedding.rows(ids_BT) is None
    assert embedding.eval().rows(ids_BT) is not None
    reads = row_reads(embedding.weight)
    assert reads is not None
    reads.sparse = True
    assert embedding.rows(ids_BT) is None
