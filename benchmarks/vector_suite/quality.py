"""How well vectors answer the questions of ``questions.py``; PPMI and SVD to compare with.

Shapes: V vocabulary, D vector size.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from vector_suite.questions import analogies, triples


def unit_rows(vectors_VD: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors_VD, axis=1, keepdims=True)
    return vectors_VD / np.maximum(length, 1e-12)


def answers(id_of: dict[str, int], vectors_VD: np.ndarray) -> dict[str, object]:
    """Shares of right answers, by kind and over all questions, and the questions that were asked.

    An analogy's answer is the word nearest to b - a + c in cosine (Mikolov et al. 2013), other than
    a, b and c, among the whole vocabulary. Questions with an unknown word are not asked.
    """
    unit_VD = unit_rows(vectors_VD.astype(np.float32))
    kinds, right, asked = {}, 0, 0
    for kind, questions in analogies().items():
        ids = np.array([[id_of[w] for w in q] for q in questions if all(w in id_of for w in q)])
        if not len(ids):
            continue
        a, b, c, d = ids.T
        scores = (unit_VD[b] - unit_VD[a] + unit_VD[c]) @ unit_VD.T
        np.put_along_axis(scores, ids[:, :3], -np.inf, 1)
        hits = scores.argmax(1) == d
        kinds[kind] = round(float(hits.mean()), 4)
        right, asked = right + int(hits.sum()), asked + len(hits)
    known = [[id_of[w] for w in t] for t in triples() if all(w in id_of for w in t)]
    word, near, far = unit_VD[np.array(known).T]
    nearer = (word * near).sum(1) > (word * far).sum(1)
    return {
        "analogies": round(right / max(asked, 1), 4),
        "analogies_asked": asked,
        "analogies_by_kind": kinds,
        "nearer_of_two": round(float(nearer.mean()), 4),
        "nearer_asked": len(known),
    }


def ppmi_svd(counts_VV: sparse.csr_array, dim: int) -> np.ndarray:
    """U sqrt(S) of max(0, ln(p(i, j) / p(i) p(j)^0.75)) (Levy, Goldberg and Dagan 2015)."""
    coo = counts_VV.tocoo()
    total = coo.data.sum()
    row_V = np.maximum(counts_VV.sum(1), 1e-12)
    smooth_V = row_V**0.75
    i, j = coo.coords
    pmi = np.log(coo.data / total) - np.log(row_V[i] / total) - np.log(smooth_V[j] / smooth_V.sum())
    keep = pmi > 0
    ppmi = sparse.csr_array((pmi[keep].astype(np.float32), (i[keep], j[keep])), counts_VV.shape)
    left, values, _ = svds(ppmi, k=dim, random_state=0)
    return left * np.sqrt(values)
