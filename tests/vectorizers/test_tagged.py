import numpy as np
import pytest
import torch

from lm_research.vectorizers.bag_of_words import BagOfWords
from lm_research.vectorizers.one_hot import OneHot
from lm_research.vectorizers.tagged import TaggedVectorizer
from lm_research.vectorizers.tfidf import TfIdf
from lm_research.vectorizers.vectorizer import NOTHING

V = 5
TAGS = [0, 2, 1, 2, 0]


def test_appends_the_vector_of_the_tag() -> None:
    tagged = TaggedVectorizer(OneHot(V), TAGS, tags=3, dim=4)
    assert (tagged.dim, tagged.context, tagged.vocabulary_size) == (V + 4, 0, V)
    assert tagged.output_weight() is None
    x_TD = tagged(torch.tensor([[1, 3, 2, NOTHING]]))[0]
    assert torch.equal(x_TD[:, :V], OneHot(V)(torch.tensor([[1, 3, 2, NOTHING]]))[0])
    assert torch.equal(x_TD[:3, V:], tagged.tag_embedding.weight[[2, 2, 1]])
    assert not x_TD[3].any()


def test_tags_may_be_of_any_integer_type() -> None:
    ids_BT = torch.tensor([[1, 3, 2, NOTHING]])
    for kind in (np.uint8, np.int16, np.uint64):
        tagged = TaggedVectorizer(OneHot(V), np.array(TAGS, kind), tags=3, dim=4)
        weight = tagged.tag_embedding.weight
        assert torch.equal(tagged(ids_BT)[0, :3, V:], weight[[2, 2, 1]])
        assert not tagged(ids_BT)[0, 3].any()


def test_streams_and_stays_causal_like_the_inner_one() -> None:
    tagged = TaggedVectorizer(BagOfWords(V, 3), np.array(TAGS), tags=3)
    assert tagged.context == 2
    ids_BT = torch.randint(V, (2, 12))
    whole, history, pieces = tagged(ids_BT), None, []
    for piece in ids_BT.split([1, 4, 1, 6], 1):
        x_BTD, history = tagged.stream(piece, history)
        pieces.append(x_BTD)
    assert torch.equal(torch.cat(pieces, 1), whole)
    changed = ids_BT.clone()
    changed[:, 7] = (changed[:, 7] + 1) % V
    assert torch.equal(tagged(changed)[:, :7], whole[:, :7])
    assert not torch.equal(tagged(changed)[:, 7], whole[:, 7])


def test_fits_and_restores_the_inner_one_and_the_tags() -> None:
    tagged = TaggedVectorizer(TfIdf(V), TAGS, tags=3)
    assert tagged.needs_fit
    tagged.fit([np.array([1, 2]), np.array([2, 3])])
    fresh = TaggedVectorizer(TfIdf(V), [0] * V, tags=3)
    fresh.load_state_dict(tagged.state_dict())
    ids_BT = torch.randint(V, (2, 6))
    assert torch.equal(fresh(ids_BT), tagged(ids_BT))
    x_D = tagged.document(ids_BT[0])
    torch.testing.assert_close(x_D[:V], tagged.vectorizer.document(ids_BT[0]))
    torch.testing.assert_close(x_D[V:], tagged(ids_BT)[0, :, V:].mean(0))


def test_gradients_reach_the_tag_vectors() -> None:
    tagged = TaggedVectorizer(OneHot(V), TAGS, tags=3)
    tagged(torch.arange(V)[None]).sum().backward()
    assert tagged.tag_embedding.weight.grad[:, 0].tolist() == [2, 1, 2]


def test_bad_tags_are_named() -> None:
    with pytest.raises(ValueError, match=r"tag_of_token has shape \(2,\); .* each of the 5 tokens"):
        TaggedVectorizer(OneHot(V), [0, 1], tags=3)
    with pytest.raises(ValueError, match=r"tag_of_token holds 0 to 2; .* within \[0, 2\)"):
        TaggedVectorizer(OneHot(V), TAGS, tags=2)
    with pytest.raises(ValueError, match=r"tags is 0; it must be at least 1"):
        TaggedVectorizer(OneHot(V), TAGS, tags=0)
