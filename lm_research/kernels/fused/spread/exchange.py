"""What a program of a spread scan does beside its cell's arithmetic: U, products, exchange.

How the exchange keeps its order (PTX's memory model; release and acquire at the GPU's scope): the
threads of a program store their share, meet at a barrier, and one of them adds 1 to the group's
counter with release. The barrier puts every thread's stores before it, and release is cumulative.
Of a reader one thread loads the counter with acquire until all have arrived, then all its threads
meet at a barrier: what they load from there on is what was stored. Those loads pass by the first
level of the cache (``.cg``), which is not coherent. Two slots are enough: whoever stores step t + 2
into the slot of step t has seen all arrive after step t + 1, and they read step t before that.

Shapes: W warps, each with its own share of the sum over k; B rows of a tile; K units that a warp
takes at once; S units that a program owns.
"""

import triton
import triton.language as tl

LIMIT = tl.constexpr(1 << 22)
"""Looks at a counter, of about a microsecond each, before a program gives up."""


@triton.jit
def arrive(counter_ptr):
    """All that this program has stored becomes visible to whoever waits."""
    tl.debug_barrier()
    tl.atomic_add(counter_ptr, 1, sem="release", scope="gpu")


@triton.jit
def wait(counter_ptr, target, alive):
    """Until ``target`` arrivals; returns whether they came. Who has given up waits no more."""
    looks = 0
    while alive & (tl.atomic_add(counter_ptr, 0, sem="acquire", scope="gpu") < target):
        looks += 1
        alive = looks < LIMIT
    tl.debug_barrier()
    return alive


@triton.jit
def inner(W: tl.constexpr, K: tl.constexpr):
    """(W, K): units of the head whose products each warp sums, counted from the chunk's first."""
    return tl.arange(0, W)[:, None] * K + tl.arange(0, K)[None, :]


@triton.jit
def part(u_ptr, own, k_stride, own_stride, D, chunk, W: tl.constexpr, K: tl.constexpr):
    """(W, K, S): one gate's weights from a chunk of the head's units to this program's own."""
    k = inner(W, K)[:, :, None] + chunk * W * K
    n = own[None, None, :]
    return tl.load(u_ptr + k * k_stride + n * own_stride, mask=(k < D) & (n < D), other=0.0)


@triton.jit
def resident(
    u_ptr,
    stride,
    own,
    k_stride,
    own_stride,
    D,
    GATES: tl.constexpr,
    W: tl.constexpr,
    K: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """Each gate's :func:`part` of all chunks, loaded once; gates lie ``stride`` apart."""
    u = ()
    for _ in tl.static_range(GATES):
        parts = ()
        for chunk in tl.static_range(CHUNKS):
            loaded = part(u_ptr, own, k_stride, own_stride, D, chunk, W, K)
            parts += (loaded,)  # type: ignore[assignment]
        u += (parts,)  # type: ignore[assignment]
        u_ptr += stride
    return u


@triton.jit
def nothing(u, ROWS: tl.constexpr, ACC: tl.constexpr):
    """A sum (W, B, S) for each gate of ``u``, to begin with."""
    W: tl.constexpr = u[0][0].shape[0]
    S: tl.constexpr = u[0][0].shape[2]
    totals = ()
    for _ in tl.static_range(len(u)):
        totals += (tl.zeros((W, ROWS, S), ACC),)  # type: ignore[assignment]
    return totals


@triton.jit
def products(
    totals,
    source_ptr,
    rows,
    there,
    u,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """totals + U h, a (W, B, S) for each gate: what all programs stored times the gate's ``u``.

    Offsets from the pointer, ``rows``, serve all chunks, so that a thread keeps one set of them;
    masks cost registers too, so the exchange is padded with zeros instead.

    Args:
        there: rows that are read, those whose state has not been cleared; None for all.
    """
    W: tl.constexpr = u[0][0].shape[0]
    K: tl.constexpr = u[0][0].shape[1]
    offsets = rows[None, :, None] + inner(W, K)[:, None, :]
    for chunk in tl.static_range(len(u[0])):
        if there is None:
            h = tl.load(source_ptr + offsets, cache_modifier=".cg")
        else:
            read = there[None, :, None]
            h = tl.load(source_ptr + offsets, mask=read, other=0.0, cache_modifier=".cg")
        sums = ()
        for gate in tl.static_range(len(u)):
            total = multiplied(h, u[gate][chunk], totals[gate], ACC, PRECISION, UPCAST)
            sums += (total,)  # type: ignore[assignment]
        totals = sums
        source_ptr += W * K
    return totals


@triton.jit
def gradient(
    source_ptr,
    stride,
    rows,
    there,
    u,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """(B, S): h's gradient through U, summed over gates, which lie ``stride`` apart."""
    total = nothing(u, rows.shape[0], ACC)[0]
    for gate in tl.static_range(len(u)):  # each its own sum: shorter chains of products
        mine = (u[gate],)
        sums = nothing(mine, rows.shape[0], ACC)
        total += products(sums, source_ptr, rows, there, mine, ACC, PRECISION, UPCAST)[0]
        source_ptr += stride
    return folded(total)


@triton.jit
def multiplied(
    operand, weight, total, ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr
):
    """total + operand @ weight, each warp's own. UPCAST: see ``arithmetic.product``."""
    if UPCAST:
        operand = operand.to(tl.float32)
        weight = weight.to(tl.float32)
    return tl.dot(operand, weight, total, input_precision=PRECISION, out_dtype=ACC)


@triton.jit
def poison(alive, ACC: tl.constexpr):
    """0, or NaN for who waited in vain: from there on every value says so."""
    return tl.where(alive, 0.0, float("nan")).to(ACC)


@triton.jit
def halved(x):
    """(N, W) to (N, 1), summed. As permutation and splits this costs two barriers in all, where
    tl.sum over warps costs two for every four bytes that a thread holds."""
    if x.shape[1] > 1:
        left, right = tl.split(tl.reshape(x, (x.shape[0], x.shape[1] // 2, 2)))
        x = halved(left + right)
    return x


@triton.jit
def folded(total):
    """(W, B, S) to (B, S): the sum over warps."""
    x = tl.permute(total, (1, 2, 0))
    x = tl.reshape(x, (total.shape[1] * total.shape[2], total.shape[0]))
    return tl.reshape(halved(x), (total.shape[1], total.shape[2]))


@triton.jit
def folded4(a, b, c, d):
    """:func:`folded` of four, in one go."""
    x = tl.join(tl.join(a, b), tl.join(c, d))
    x = tl.permute(x, (1, 2, 3, 4, 0))
    x = halved(tl.reshape(x, (a.shape[1] * a.shape[2] * 4, a.shape[0])))
    left, right = tl.split(tl.reshape(x, (a.shape[1], a.shape[2], 2, 2)))
    a, b = tl.split(left)
    c, d = tl.split(right)
    return a, b, c, d
