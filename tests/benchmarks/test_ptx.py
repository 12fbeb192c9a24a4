"""The PTX interpreter: faults that it sees, and compiled kernels that it runs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kernel_suite.ptx.errors import (
    DeadlockError,
    DivergenceError,
    KernelError,
    OutOfBoundsError,
    RaceError,
)
from kernel_suite.ptx.run import run_ptx
from ptx_kernels import kernel

# --- faults


BETWEEN_WARPS = """
mov.b32 %r2, global_smem;
mad.lo.s32 %r3, %r0, 4, %r2;
xor.b32 %r4, %r3, {other};
st.shared.b32 [%r3], %r0;
{barrier}
ld.shared.b32 %r5, [%r4];
mad.wide.u32 %rd20, %r0, 4, %rd0;
st.global.b32 [%rd20], %r5;
"""


def exchange(other, barrier):
    out = torch.zeros(64, dtype=torch.int32)
    text = kernel(BETWEEN_WARPS.format(other=4 * other, barrier=barrier), 1)
    # shared memory begins at a multiple of 256 bytes, so that xor stays inside
    run_ptx(text, [out], (1,), 2, shared=256)
    return out.tolist()


def test_a_warp_that_reads_what_another_wrote_without_a_barrier_is_a_race():
    assert exchange(32, "bar.sync 0;") == [i ^ 32 for i in range(64)]
    with pytest.raises(RaceError, match=r"shared.*block \(0, 0, 0\)"):
        exchange(32, "")
    assert exchange(1, "") == [i ^ 1 for i in range(64)]  # within a warp


def test_a_warp_that_writes_over_what_another_may_still_read_is_a_race():
    again = "bar.sync 0;\nld.shared.b32 %r6, [%r4];\n{}\nst.shared.b32 [%r3], %r6;\nbar.sync 0;"
    assert exchange(32, again.format("bar.sync 0;")) == list(range(64))
    with pytest.raises(RaceError, match=r"shared.*block \(0, 0, 0\)"):
        exchange(32, again.format(""))


def test_warps_may_store_the_same_value_but_not_different_ones():
    body = "mov.b32 %r2, global_smem;\nst.shared.b32 [%r2], {};"
    run_ptx(kernel(body.format(5), 0), [], (1,), 2, shared=4)
    with pytest.raises(KernelError, match="lanes of a warp store different values"):
        run_ptx(kernel(body.format("%r0"), 0), [], (1,), 2, shared=4)
    with pytest.raises(RaceError, match="writes over what warp 0 wrote"):
        run_ptx(kernel("shr.u32 %r0, %r0, 5;" + body.format("%r0"), 0), [], (1,), 2, shared=4)


MESSAGE = """
setp.ne.s32 %p1, %r1, 0;
@%p1 bra $receive;
mad.wide.u32 %rd20, %r0, 4, %rd0;
add.s32 %r2, %r0, 100;
st.global.b32 [%rd20], %r2;
bar.sync 0;
setp.eq.s32 %p2, %r0, 0;
{arrive}
ret;
$receive:
setp.eq.s32 %p2, %r0, 0;
mov.b32 %r3, global_smem;
$again:
bar.sync 0;
{look}
@%p2 st.shared.b32 [%r3], %r4;
bar.sync 0;
ld.shared.b32 %r5, [%r3];
setp.eq.s32 %p3, %r5, 0;
@%p3 bra $again;
{more}
mad.wide.u32 %rd20, %r0, 4, %rd0;
ld.global.b32 %r6, [%rd20];
mad.wide.u32 %rd20, %r0, 4, %rd1;
st.global.b32 [%rd20], %r6;
"""
RELEASE = "@%p2 red.global.gpu.release.add.u32 [%rd2], 1;"
ACQUIRE = "@%p2 ld.global.gpu.acquire.b32 %r4, [%rd2];"
RELAXED_ADD, RELAXED_LOAD = (
    RELEASE.replace("release", "relaxed"),
    ACQUIRE.replace("acquire", "relaxed"),
)
FENCE = "fence.acq_rel.gpu;"


def send(arrive, look, seed=None, more="", limit=20_000):
    data, out = torch.zeros(64, dtype=torch.int32), torch.zeros(64, dtype=torch.int32)
    counter = torch.zeros(1, dtype=torch.int32)
    text = kernel(MESSAGE.format(arrive=arrive, look=look, more=more), 3)
    run_ptx(text, [data, out, counter], (2,), 2, shared=4, seed=seed, limit=limit)
    assert out.tolist() == list(range(100, 164))


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_a_block_may_read_what_it_acquired(seed):
    send(RELEASE, ACQUIRE, seed)
    send(FENCE + RELAXED_ADD, RELAXED_LOAD, seed, more=FENCE + "bar.sync 0;")
    send(RELEASE, "@%p2 atom.global.gpu.acquire.add.u32 %r4, [%rd2], 0;", seed)


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_a_missing_acquire_or_release_is_a_race_even_where_the_value_is_right(seed):
    for arrive, look in (
        (RELEASE, RELAXED_LOAD),
        (RELAXED_ADD, ACQUIRE),
        (RELEASE, "@%p2 ld.volatile.global.b32 %r4, [%rd2];"),
    ):
        with pytest.raises(RaceError, match=r"ld\.global\.b32 %r6.*block \(1, 0, 0\)"):
            send(arrive, look, seed)
    with pytest.raises(RaceError, match=r"ld\.global\.b32 %r4"):  # a plain look at the counter
        send(RELEASE, "@%p2 ld.global.b32 %r4, [%rd2];", seed)


VOTE = """
setp.eq.u32 %p1, %r0, 5;
vote.sync.any.pred %p2, %p1, -1;
vote.sync.all.pred %p3, %p1, -1;
selp.b32 %r2, 1, 0, %p2;
selp.b32 %r3, 2, 0, %p3;
add.u32 %r2, %r2, %r3;
mov.b32 %r4, 0xFFFF0001;
add.s16x2 %r4, %r4, %r4;
xor.b32 %r2, %r2, %r4;
mad.wide.u32 %rd20, %r0, 4, %rd0;
st.global.b32 [%rd20], %r2;
"""


def test_a_vote_of_all_lanes_and_a_sum_of_halves():
    out = torch.zeros(32, dtype=torch.int32)
    run_ptx(kernel(VOTE, 1), [out], (1,), 1)
    assert out.tolist() == [(0xFFFE0002 - 2**32) ^ 1] * 32  # no half carries into the other


def test_waiting_for_nobody_ends():
    with pytest.raises(DeadlockError, match="warps cannot end"):
        send("", ACQUIRE)
    half = "setp.lt.s32 %p1, %r0, 32;\n@%p1 bra $end;\nbar.sync 0;\n$end:\n"
    with pytest.raises(DeadlockError, match=r"bar\.sync"):
        run_ptx(kernel(half, 0), [], (1,), 2)


def test_addresses_of_no_tensor():
    x, y = torch.zeros(40, dtype=torch.int32), torch.zeros(40, dtype=torch.int32)
    body = "mad.wide.u32 %rd20, %r0, {}, %rd0;\nst.global.b32 [%rd20{}], %r0;"
    run_ptx(kernel(body.format(4, "+32")), [x, y], (1,), 1)
    assert x[8:].tolist() == list(range(32))
    for stride, offset in ((4, "+36"), (4, "-4"), (8, "")):
        with pytest.raises(OutOfBoundsError, match=r"st\.global\.b32.*no memory"):
            run_ptx(kernel(body.format(stride, offset)), [x, y], (1,), 1)
    with pytest.raises(OutOfBoundsError, match="not aligned"):
        run_ptx(kernel(body.format(4, "+2")), [x, y], (1,), 1)
    guarded = "setp.lt.s32 %p1, %r0, 10;\nmad.wide.u32 %rd20, %r0, 16, %rd0;\n"
    run_ptx(kernel(guarded + "@%p1 st.global.b32 [%rd20], %r0;"), [x, y], (1,), 1)
    with pytest.raises(OutOfBoundsError, match="shared"):
        run_ptx(
            kernel("mov.b32 %r2, global_smem;\nst.shared.b32 [%r2+64], 1;"), [x, y], (1,), 1, 64
        )


COPY = """
mov.b32 %r2, global_smem;
mad.lo.s32 %r3, %r0, 16, %r2;
mad.wide.u32 %rd20, %r0, 16, %rd0;
{mask}
cp.async.cg.shared.global [%r3], [%rd20], 16{size};
cp.async.commit_group;
{wait}
ld.shared.v4.b32 {{%r10, %r11, %r12, %r13}}, [%r3];
mad.wide.u32 %rd20, %r0, 16, %rd1;
st.global.v4.b32 [%rd20], {{%r10, %r11, %r12, %r13}};
"""


def test_asynchronous_copies_arrive_when_they_are_waited_for():
    x = torch.arange(128, dtype=torch.int32).view(32, 4)

    def copied(wait, size="", mask="", source=x):
        out = torch.zeros(32, 4, dtype=torch.int32)
        text = kernel(COPY.format(wait=wait, size=size, mask=mask))
        run_ptx(text, [source, out], (1,), 1, shared=512)
        return out

    assert torch.equal(copied("cp.async.wait_group 0;"), x)
    assert torch.equal(copied("cp.async.wait_all;"), x)
    assert (copied("") == -1).all()
    assert (copied("cp.async.wait_group 1;") == -1).all()  # the one group may still be under way
    mask = "setp.lt.s32 %p1, %r0, 8;\nselp.b32 %r4, 16, 0, %p1;"
    some = copied("cp.async.wait_all;", ", %r4", mask, x[:8].clone())  # the others touch nothing
    assert torch.equal(some, torch.cat([x[:8], torch.zeros(24, 4, dtype=torch.int32)]))


def test_lanes_that_part_are_refused():
    body = "setp.lt.s32 %p1, %r0, 10;\n@%p1 bra $end;\nmov.b32 %r2, 1;\n$end:\n"
    with pytest.raises(DivergenceError, match="10 of 32 lanes"):
        run_ptx(kernel(body, 0), [], (1,), 1)


# --- compiled kernels

COMMAND = Path(__file__).parents[2] / "benchmarks/kernels.py"


def compiled(*options):
    """In a process of its own: in this one kernels are interpreted."""
    done = subprocess.run(
        [sys.executable, COMMAND, "ptx", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_compiled_scans_agree_with_float64(target):
    assert "15 of 15 cases hold" in compiled("--target", target)


@pytest.mark.slow
def test_a_race_is_seen_for_each_barrier_that_a_compiled_scan_is_left_without():
    assert "missing orders are seen on sm_90" in compiled("--weakened", "--target", "sm_90")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_compiled_scans_of_odd_shapes_agree_with_float64(target):
    assert "cases hold" in compiled("--target", target, "--whole")
