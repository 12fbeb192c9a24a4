"""Output layers: each against its definition in float64, and torch's module where there is one."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lm_research.data.batches import Batch
from lm_research.tasks.head_loss import NO_TARGET
from lm_research.tasks.output_layers.adaptive import Adaptive
from lm_research.tasks.output_layers.candidates import inclusion
from lm_research.tasks.output_layers.cutoffs import cheapest_cutoffs, outputs
from lm_research.tasks.output_layers.full import Full
from lm_research.tasks.output_layers.output_layer import OutputSpec
from lm_research.tasks.output_layers.sampled import NoiseContrastive, Sampled
from lm_research.tasks.transfer import TransferError, take_weights
from lm_research.vectorizers.embedding import Embedding

H, V, N = 8, 23, 40
SAMPLED = [Sampled, NoiseContrastive]


def counts(seed=0):
    """Of ids in no order of frequency; the last one never occurs."""
    drawn_V = torch.randint(1, 50, (V,), generator=torch.Generator().manual_seed(seed)) ** 2
    drawn_V[-1] = 0
    return drawn_V


def built(kind, seed=0, spec=None, **options):
    torch.manual_seed(seed)
    return kind(spec or OutputSpec(H, V, counts_V=counts()), **options).double()


def rows(seed=1, n=N):
    generator = torch.Generator().manual_seed(seed)
    y_NH = torch.randn(n, H, generator=generator, dtype=torch.float64, requires_grad=True)
    return y_NH, torch.randint(V, (n,), generator=generator)


def with_gradients(layer, y_NH, targets_N, loss=None):
    loss = layer.loss(y_NH, targets_N) if loss is None else loss
    return [loss, *torch.autograd.grad(loss, [y_NH, *layer.parameters()])]


# --- adaptive


def torchs(layer):
    """torch's module with the weights of ours, over ranks."""
    cutoffs = layer.cutoffs.tolist()
    other = nn.AdaptiveLogSoftmaxWithLoss(H, V, cutoffs, layer.factor, head_bias=True).double()
    other.head.load_state_dict(layer.shortlist.state_dict())
    for own, mine in zip(other.tail, layer.clusters, strict=True):
        own.load_state_dict(mine.state_dict())
    return other


@pytest.mark.parametrize("cutoffs", [None, [5], [3, 9], [4, 5, 22]])
def test_adaptive_is_torchs_on_the_same_weights(cutoffs):
    layer = built(Adaptive, cutoffs=cutoffs, factor=2)
    other, (y_NH, targets_N) = torchs(layer), rows()
    order_V = sorted(range(V), key=lambda v: (-counts()[v], v))
    rank_V = torch.tensor([order_V.index(v) for v in range(V)])
    assert torch.equal(layer.rank_V, rank_V)
    expected = other(y_NH, rank_V[targets_N])
    torch.testing.assert_close(
        layer.log_probs(y_NH), other.log_prob(y_NH)[:, rank_V], rtol=1e-12, atol=1e-13
    )
    wanted = torch.autograd.grad(expected.loss, [y_NH, *other.parameters()], allow_unused=True)
    found = with_gradients(layer, y_NH, targets_N)
    torch.testing.assert_close(found[0], expected.loss, rtol=1e-12, atol=0)
    for mine, theirs in zip(found[1:], wanted, strict=True):
        torch.testing.assert_close(
            mine, torch.zeros_like(mine) if theirs is None else theirs, rtol=1e-10, atol=1e-14
        )


def test_adaptive_sums_to_one_and_its_loss_is_what_it_says():
    layer, (y_NH, targets_N) = built(Adaptive), rows()
    log_p_NV = layer.log_probs(y_NH)
    torch.testing.assert_close(log_p_NV.exp().sum(1), torch.ones(N, dtype=torch.float64))
    picked_N = log_p_NV.gather(1, targets_N[:, None])
    torch.testing.assert_close(layer.loss(y_NH, targets_N), -picked_N.mean(), rtol=1e-12, atol=0)
    assert built(Adaptive).float().log_probs(y_NH.float().bfloat16().float()).dtype == torch.float32


def test_a_cluster_without_a_target_has_gradients_of_zero():
    layer, (y_NH, _) = built(Adaptive, cutoffs=[3, 9]), rows()
    often = counts().argmax().repeat(N)
    gradients = with_gradients(layer, y_NH, often)[1:]
    assert all(g is not None for g in gradients)
    assert not any(g.any() for g in gradients[-4:])


def test_cutoffs_are_the_cheapest_of_all():
    sizes = np.array(sorted(counts().tolist(), reverse=True), dtype=float)
    every = [c for k in (1, 2, 3) for c in itertools.combinations(range(1, V), k)]
    best = min(every, key=lambda c: outputs(sizes, c))
    assert outputs(sizes, cheapest_cutoffs(sizes, 3)) == pytest.approx(outputs(sizes, best))
    p = sizes / sizes.sum()  # the formula written out
    assert outputs(sizes, [4, 9]) == pytest.approx(6 + p[4:9].sum() * 5 + p[9:].sum() * (V - 9))


def test_a_layer_takes_the_order_and_the_cutoffs_that_are_loaded_into_it():
    trained = built(Adaptive, cutoffs=[3, 9])
    new = built(Adaptive, seed=5, spec=OutputSpec(H, V))  # nothing is known of the training tokens
    new.load_state_dict(trained.state_dict())
    y_NH, _ = rows()
    assert torch.equal(new.log_probs(y_NH), trained.log_probs(y_NH))


@pytest.mark.parametrize("cutoffs", [[], [5, 5], [9, 3], [V], [0, 5]])
def test_cutoffs_that_part_nothing_are_refused(cutoffs):
    with pytest.raises(ValueError, match=rf"output_layer\.cutoffs=.*1 to {V - 1}"):
        built(Adaptive, cutoffs=cutoffs)


# --- sampled


@pytest.mark.parametrize("samples", [1, 3.5, 12, V - 1, V, 10 * V])
def test_inclusion_adds_up_to_the_samples(samples):
    q_V = (counts() + 1).double()
    pi_V = inclusion(q_V, samples)
    assert pi_V.sum().item() == pytest.approx(min(samples, V), rel=1e-12)
    assert (pi_V > 0).all()
    below = pi_V < 1
    ratio = pi_V[below] / q_V[below]
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio))
    if below.any() and not below.all():
        assert q_V[~below].min() >= q_V[below].max()


@pytest.mark.parametrize("proposal", ["unigram", "log_uniform"])
@pytest.mark.parametrize("kind", SAMPLED)
def test_tokens_are_drawn_as_often_as_is_said(kind, proposal):
    layer = built(kind, samples=7, proposal=proposal)
    draws = 4000
    drawn_V = torch.zeros(V)
    for _ in range(draws):
        ids_S = layer.candidates.draw()
        assert len(ids_S.unique()) == len(ids_S)
        drawn_V[ids_S] += 1
    pi_V = layer.candidates.pi_V
    deviation_V = (pi_V * (1 - pi_V) / draws).sqrt()
    assert ((drawn_V / draws - pi_V).abs() <= 4.5 * deviation_V + 1e-12).all()
    q_V = (counts() + 1).double() ** 0.75
    if proposal == "log_uniform":
        rank_V = counts().argsort(descending=True, stable=True).argsort().double()
        q_V = torch.log((rank_V + 2) / (rank_V + 1))
    torch.testing.assert_close(pi_V, inclusion(q_V, 7))


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"shared": True}])
def test_with_all_tokens_sampled_softmax_is_the_full_one(options):
    shared = nn.Parameter(torch.randn(V, 5)) if options.pop("shared", False) else None
    spec = OutputSpec(H, V, shared_VD=shared, counts_V=counts(), **options)
    layer, full = built(Sampled, spec=spec, samples=V), built(Full, spec=spec)
    full.load_state_dict(layer.state_dict())
    y_NH, targets_N = rows()
    targets_N[3] = NO_TARGET
    found = with_gradients(layer, y_NH, targets_N)
    expected = with_gradients(full, y_NH, targets_N)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-14)


def test_sampled_gradients_come_closer_with_more_samples():
    full, (y_NH, targets_N) = built(Full), rows()
    exact = torch.cat([g.flatten() for g in with_gradients(full, y_NH, targets_N)[1:]])
    apart = []
    for samples in (4, 10, 18, V):
        layer = built(Sampled, samples=samples)
        layer.load_state_dict(full.state_dict())
        errors = []
        for _ in range(100):
            found = with_gradients(layer, y_NH, targets_N)[1:]
            errors.append((torch.cat([g.flatten() for g in found]) - exact).norm() / exact.norm())
        apart.append(float(torch.stack(errors).mean()))
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 1e-12


def by_hand(kind, layer, y_NH, targets_N, ids_S):
    """The loss as the papers have it, term by term."""
    total, pi = 0.0, layer.candidates.pi_V.tolist()
    for o, t in zip(layer(y_NH).tolist(), targets_N.tolist(), strict=True):
        if kind is Sampled:
            among = [o[v] - math.log(pi[v]) for v in {*ids_S, t}]
            total -= o[t] - math.log(pi[t]) - math.log(sum(map(math.exp, among)))
            continue
        odds = [math.exp(o[v]) / V / pi[v] for v in range(V)]  # model over noise
        total -= math.log(odds[t] / (1 + odds[t]))
        total -= sum(math.log(1 / (1 + odds[v])) for v in ids_S)
    return total / len(targets_N)


@pytest.mark.parametrize("kind", SAMPLED)
def test_a_sampled_loss_is_the_papers(kind):
    layer, (y_NH, targets_N) = built(kind, samples=9), rows()
    for seed in range(5):
        torch.manual_seed(seed)
        ids_S = layer.candidates.draw().tolist()
        assert set(ids_S) & set(targets_N.tolist())  # with accidental hits
        torch.manual_seed(seed)
        found = layer.loss(y_NH, targets_N).item()
        assert found == pytest.approx(by_hand(kind, layer, y_NH, targets_N, ids_S), rel=1e-12)


@pytest.mark.parametrize("samples", [3, 8])
@pytest.mark.parametrize("kind", SAMPLED)
def test_the_optimum_is_the_distribution_of_the_data_for_few_samples(kind, samples):
    """The expected loss, over all targets and all 2^V sets, is minimised."""
    size = 6
    p_V = torch.tensor([0.4, 0.25, 0.15, 0.1, 0.07, 0.03], dtype=torch.float64)
    spec = OutputSpec(1, size, counts_V=(p_V * 100).long().flip(0))
    layer = built(kind, spec=spec, samples=samples)
    y_NH, targets_N = torch.zeros(size, 1, dtype=torch.float64), torch.arange(size)
    sets, pi_V = list(itertools.product([False, True], repeat=size)), layer.candidates.pi_V
    optimizer = torch.optim.LBFGS([layer.bias], max_iter=500, line_search_fn="strong_wolfe")

    def expected():
        total = 0.0
        for drawn in map(torch.tensor, sets):
            chance = torch.where(drawn, pi_V, 1 - pi_V).prod()
            if chance > 0:
                total = total + chance * _of_set(layer, y_NH, targets_N, p_V, drawn)
        return total

    def closure():
        optimizer.zero_grad()
        loss = expected()
        loss.backward()
        return loss

    optimizer.step(closure)
    found_V = layer.log_probs(y_NH[:1])[0].exp()
    torch.testing.assert_close(found_V, p_V, rtol=1e-4, atol=0)
    if kind is NoiseContrastive:  # it learns to be normalised, too
        assert layer.bias.exp().sum().item() / size == pytest.approx(1, rel=1e-4)


def _of_set(layer, y_NH, targets_N, p_V, drawn_V):
    layer.candidates.draw = lambda: drawn_V.nonzero()[:, 0]
    losses = [layer.loss(y_NH[t : t + 1], targets_N[t : t + 1]) for t in range(len(p_V))]
    return (torch.stack(losses) * p_V).sum()


# --- all of them, as the output layer of the task


def batch(seed, last=False):
    ids = torch.randint(11, (3, 7), generator=torch.Generator().manual_seed(seed))
    return Batch(ids[:, :-1], ids[:, 1:], True)


def small(kind, **options):
    return lambda spec: kind(spec, **options)


LAYERS = {
    "full": small(Full),
    "adaptive": small(Adaptive, factor=2),
    "sampled": small(Sampled, samples=5),
    "nce": small(NoiseContrastive, samples=5),
}


@pytest.mark.parametrize("name", LAYERS)
def test_evaluation_is_normalised_and_how_a_stream_is_cut_changes_nothing(make_task, name):
    task = make_task(output_layer=LAYERS[name]).eval()
    ids_BT = batch(0).ids_BT
    whole, _ = task.advance(ids_BT, task.start(3))
    assert torch.allclose(whole.exp().sum(-1), torch.ones(3, 6, dtype=torch.float64))
    one, stream = task.advance(ids_BT[:, :2], task.start(3))
    two, _ = task.advance(ids_BT[:, 2:], stream)
    torch.testing.assert_close(torch.cat([one, two], 1), whole, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"shared": True}], ids=str)
def test_scores_are_log_probabilities_up_to_a_constant_of_each_row(name, options):
    if name == "adaptive" and "shared" in options:
        options = {}
    shared_VD = nn.Parameter(torch.randn(V, H - 3)) if options.get("shared") else None
    spec = OutputSpec(H, V, options.get("bias", True), shared_VD, counts_V=counts())
    for dtype, near in ((torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 5e-2)):
        layer, y_NH = LAYERS[name](spec).to(dtype), rows()[0].detach().to(dtype)
        with torch.no_grad():
            scores_NV, log_p_NV = layer.scorer()(y_NH), layer.log_probs(y_NH)
        assert scores_NV.dtype == log_p_NV.dtype
        torch.testing.assert_close(scores_NV.log_softmax(-1), log_p_NV, rtol=near, atol=near)


@pytest.mark.parametrize("name", LAYERS)
def test_the_last_position_alone_has_a_say(make_task, name):
    task, given = make_task(output_layer=LAYERS[name], predict="last"), batch(0)
    other = Batch(given.ids_BT, given.targets_BT.clone(), True)
    other.targets_BT[:, :-1] = 0
    losses = []
    for one in (given, other):
        torch.manual_seed(3)
        losses.append(task.training_step(one, 0).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", ["sampled", "nce"])
def test_a_shared_matrix_is_trained_through_the_sample(make_task, name):
    options = {"output_layer": LAYERS[name], "tie_weights": True}
    task = make_task(vectorizer=Embedding(11, 5), **options)
    assert task.head.weight is task.vectorizer.weight
    task.training_step(batch(0), 0).backward()
    assert task.head.projection.grad.any()
    assert task.vectorizer.weight.grad.any()


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("adaptive", {"tie_weights": True}, r"task\.tie_weights=true.*allowed: false"),
        ("adaptive", {"label_smoothing": 0.1}, r"task\.label_smoothing=0\.1.*allowed: 0\.0"),
        ("sampled", {"label_smoothing": 0.1}, r"task\.label_smoothing=0\.1.*allowed: 0\.0"),
        ("nce", {"label_smoothing": 0.1}, r"output_layer=nce"),
    ],
)
def test_what_does_not_go_together_is_refused(make_task, name, options, told):
    with pytest.raises(ValueError, match=told):
        make_task(vectorizer=Embedding(11, 5), output_layer=LAYERS[name], **options)


@pytest.mark.parametrize(("how", "biases"), [("keras", 0), ("uniform", 0.01)])
def test_every_matrix_begins_as_is_asked(make_task, how, biases):
    adaptive = small(Adaptive, cutoffs=[3], factor=2)
    task = make_task(output_layer=adaptive, head_init=how, head_init_range=0.01)
    assert task.head.shortlist.bias.abs().max() <= biases
    bound = math.sqrt(6 / (8 + 4)) if how == "keras" else 0.01
    assert 0.5 * bound < task.head.clusters[0][0].weight.abs().max() <= bound


def test_a_checkpoint_of_before_is_read(make_task):
    task = make_task(vectorizer=Embedding(11, 5), tie_weights=True)
    state = task.state_dict()
    old = {"projection": "0.weight", "weight": "1.weight", "bias": "1.bias"}
    for new, name in old.items():
        state[f"head.{name}"] = state.pop(f"head.{new}")
    again = make_task(vectorizer=Embedding(11, 5), tie_weights=True, seed=1)
    again.load_state_dict(state)
    assert all(map(torch.equal, again.parameters(), task.parameters()))


def test_weights_go_over_where_they_mean_the_same(make_task):
    def made(name, seed=0, counted=None):
        return make_task(output_layer=LAYERS[name], seed=seed, token_counts=counted)

    sampled, full = made("sampled"), made("full", 1)
    take_weights(full, sampled)
    assert torch.equal(full.head.weight, sampled.head.weight)
    source = made("adaptive", 0, torch.arange(11))
    taking = made("adaptive", 1, torch.tensor([900, 90, *range(9)]))
    assert source.head.cutoffs.tolist() != taking.head.cutoffs.tolist()
    take_weights(taking, source)
    ids_BT = batch(0).ids_BT
    assert torch.equal(*(t.advance(ids_BT, t.start(3))[0] for t in (source, taking)))
    with pytest.raises(TransferError, match="weights of the head do not go"):
        take_weights(made("full"), source)


def test_the_loss_of_log_probabilities_is_cross_entropy():
    layer, (y_NH, targets_N) = built(Full), rows()
    expected = F.nll_loss(layer.log_probs(y_NH), targets_N)
    torch.testing.assert_close(layer.loss(y_NH, targets_N), expected, rtol=1e-12, atol=0)


def test_a_split_counts_its_ids(make_split):
    documents = [[1, 2, 2], [5], [2]]
    split = make_split(documents, name="train")
    expected_V = np.bincount(np.asarray(split.ids_N), minlength=8)
    assert split.counts(8).tolist() == expected_V.tolist()
    assert split.counts(8)[1:].tolist() == [1, 3, 0, 0, 1, 0, 0]
