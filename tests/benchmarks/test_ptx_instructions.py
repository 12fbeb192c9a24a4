"""The PTX interpreter's instructions against what the PTX ISA says of them."""

import math

import numpy as np
import pytest
import torch
from kernel_suite.ptx import arithmetic
from kernel_suite.ptx.errors import UnsupportedError
from kernel_suite.ptx.run import run_ptx
from ptx_kernels import kernel, lanes

LANE = np.arange(32)
GROUP, MEMBER = LANE >> 2, LANE % 4  # the ISA's groupID and threadID_in_group


@pytest.fixture
def random():
    return np.random.default_rng(0)


# --- arithmetic


def integers(random):
    return random.integers(-(2**31), 2**31, 32).astype(np.int32)


def floats(random):
    return (random.standard_normal(32) * 10.0 ** random.integers(-6, 6, 32)).astype(np.float32)


def _name(value):
    """A function's own name holds its address, by which two processes would differ."""
    return value.split()[0] if isinstance(value, str) else "expected"


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("add.s32 %r30, %r10, %r11;", lambda a, b: (a + b) % 2**32),
        ("sub.s32 %r30, %r10, %r11;", lambda a, b: (a - b) % 2**32),
        ("mul.lo.s32 %r30, %r10, %r11;", lambda a, b: a * b % 2**32),
        ("mul.hi.s32 %r30, %r10, %r11;", lambda a, b: (a * b >> 32) % 2**32),
        ("mad.lo.s32 %r30, %r10, %r11, -7;", lambda a, b: (a * b - 7) % 2**32),
        ("div.s32 %r30, %r10, %r11;", lambda a, b: math.trunc(a / b) % 2**32),
        ("rem.s32 %r30, %r10, 1000;", lambda a, b: int(math.fmod(a, 1000)) % 2**32),
        ("min.s32 %r30, %r10, %r11;", lambda a, b: min(a, b) % 2**32),
        ("xor.b32 %r30, %r10, %r11;", lambda a, b: (a ^ b) % 2**32),
        ("not.b32 %r30, %r10;", lambda a, b: ~a % 2**32),
        ("shl.b32 %r30, %r10, 5;", lambda a, b: (a << 5) % 2**32),
        ("shl.b32 %r30, %r10, 32;", lambda a, b: 0),
        ("shr.s32 %r30, %r10, 40;", lambda a, b: (a >> 31) % 2**32),
        ("shr.u32 %r30, %r10, 9;", lambda a, b: (a % 2**32) >> 9),
        ("bfe.u32 %r30, %r10, 27, 8;", lambda a, b: (a % 2**32) >> 27),
        ("bfe.s32 %r30, %r10, 3, 1;", lambda a, b: -(a >> 3 & 1) % 2**32),
        ("lop3.b32 %r30, %r10, %r11, 255, 0x6A;", lambda a, b: (a & b ^ 255) % 2**32),
        ("prmt.b32 %r30, %r10, %r11, 0x5410;", lambda a, b: a % 2**16 | b % 2**16 << 16),
        ("prmt.b32 %r30, %r10, %r11, 0x000B;",
         lambda a, b: (255 if a >> 31 & 1 else 0) | (a & 255) * 0x01010100),
    ],
    ids=_name,
)  # fmt: skip
def test_integers(instruction, expected, random):
    a, b = integers(random), integers(random)
    found = lanes(instruction, a, b).numpy().view(np.uint32).tolist()
    assert found == [expected(int(x), int(y)) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("add.f32 %r30, %r10, %r11;", lambda a, b: a + b),
        ("mul.f32 %r30, %r10, 0f40490FDB;", lambda a, b: a * np.float32(np.pi)),
        ("fma.rn.f32 %r30, %r10, %r11, %r10;", lambda a, b: np.float32(np.float64(a) * b + a)),
        ("div.full.f32 %r30, %r10, %r11;", lambda a, b: a / b),
        ("neg.f32 %r30, %r10;", lambda a, b: -a),
        ("abs.f32 %r30, %r10;", lambda a, b: abs(a)),
        ("max.f32 %r30, %r10, 0f7FC00000;", lambda a, b: a),
        ("cvt.rna.tf32.f32 %r30, %r10;", lambda a, b: np.float32(round_away(a, 11))),
        ("setp.lt.f32 %p1, %r10, %r11;\nselp.f32 %r30, %r10, %r11, %p1;", min),
    ],
    ids=_name,
)
def test_floats(instruction, expected, random):
    a, b = floats(random), floats(random)
    found = lanes(instruction, a, b, dtype=torch.float32).numpy()
    assert found.tolist() == [float(expected(x, y)) for x, y in zip(a, b, strict=True)]


def round_away(value, bits):
    mantissa, exponent = math.frexp(float(value))
    whole = math.floor(abs(mantissa) * 2**bits + 0.5)
    return math.copysign(math.ldexp(whole, exponent - bits), value)


@pytest.mark.parametrize(
    ("comparison", "holds"),
    [("eq", False), ("ne", False), ("lt", False), ("ltu", True), ("neu", True), ("num", False),
     ("nan", True)],
)  # fmt: skip
def test_comparisons_with_nan(comparison, holds):
    code = f"setp.{comparison}.f32 %p1, %r10, 0f3F800000;\nselp.b32 %r30, 1, 0, %p1;"
    assert lanes(code, np.full(32, np.nan, np.float32)).tolist() == [int(holds)] * 32


@pytest.mark.parametrize(("kind", "dtype"), [("f16x2", torch.float16), ("bf16x2", torch.bfloat16)])
def test_pairs_are_compared_half_by_half(kind, dtype):
    a = torch.tensor([1, 2, -0.5, math.nan], dtype=dtype).repeat(16)
    b = torch.tensor([1, 3, -1, 0], dtype=dtype).repeat(16)
    code = f"setp.lt.{kind} %p1|%p2, %r10, %r11;\nselp.b32 %r30, 1, 0, %p1;\n"
    low, high = lanes(
        code + "selp.b32 %r31, 1, 0, %p2;", a.view(torch.int32), b.view(torch.int32), out=2
    )
    assert torch.stack([low, high], 1).flatten().tolist() == (a < b).int().tolist()


def test_conversions_are_torchs(random):
    a, b = floats(random), floats(random)
    for name, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16)):
        packed = lanes(f"cvt.rn.{name}x2.f32 %r30, %r10, %r11;", a, b)
        low, high = torch.from_numpy(b).to(dtype), torch.from_numpy(a).to(dtype)
        assert torch.equal(packed.view(dtype), torch.stack([low, high], 1).flatten())
        wide = lanes(
            f"mov.b32 {{%rs1, %rs2}}, %r10;\ncvt.f32.{name} %r30, %rs2;",
            packed,
            dtype=torch.float32,
        )
        assert torch.equal(wide, high.float())
    nan = arithmetic.to_bfloat16(np.array([np.nan, np.inf], np.float32))
    assert np.isnan(arithmetic.from_bfloat16(nan)).tolist() == [True, False]


def test_shuffles_and_guards():
    a = np.arange(32, dtype=np.int32)
    up = lanes("shfl.sync.up.b32 %r30, %r10, 1, 0, -1;", a)
    assert up.tolist() == [0, *range(31)]
    assert lanes("shfl.sync.bfly.b32 %r30, %r10, 16, 31, -1;", a).tolist() == (a ^ 16).tolist()
    rotated = lanes("add.s32 %r12, %r10, 1;\nshfl.sync.idx.b32 %r30, %r10, %r12, 31, -1;", a)
    assert rotated.tolist() == [*range(1, 32), 0]
    code = "mov.b32 %r30, 7;\nsetp.gt.s32 %p1, %r10, 3;\n@!%p1 mov.b32 %r30, %r10;"
    assert lanes(code, a).tolist() == [0, 1, 2, 3] + [7] * 28


def test_sums_over_a_warp_and_bits_counted():
    a = np.arange(-3, 29, dtype=np.int32)
    total = "mov.b32 %r12, -1;\nredux.sync.add.s32 %r30, %r10, %r12;"
    assert lanes(total, a).tolist() == [int(a.sum())] * 32
    with pytest.raises(UnsupportedError, match="redux"):
        lanes("redux.sync.min.s32 %r30, %r10, -1;", a)
    bits = [int(value).bit_count() for value in a.view(np.uint32)]
    assert lanes("popc.b32 %r30, %r10;", a).tolist() == bits


def test_unknown_instructions_are_refused_by_name():
    for instruction in ("sin.approx.f32 %r30, %r10;", "add.rz.f32 %r30, %r10, %r10;"):
        with pytest.raises(UnsupportedError, match=instruction.split()[0]):
            lanes(instruction, np.zeros(32, np.float32))


# --- tensor cores: element by element as PTX ISA 9.7.14 places them


def places_of_a(k, packed):
    """(row, column) of lane's i-th element of A."""
    for i in range(16 * k // 32):
        if packed:
            row = GROUP + 8 * (i // 2 % 2)
            column = MEMBER * 2 + i % 2 + 8 * (i // 4)
        else:
            row, column = GROUP + 8 * (i % 2), MEMBER + 4 * (i // 2)
        yield row, column


def places_of_b(k, packed):
    for i in range(8 * k // 32):
        row = MEMBER * 2 + i % 2 + 8 * (i // 2) if packed else MEMBER + 4 * i
        yield row, GROUP


def registers(matrix, places, packed):
    """A lane's elements as 32-bit registers."""
    elements = torch.stack([matrix[row, column] for row, column in places], 1)
    words = elements.contiguous().view(torch.int32) if packed else elements.view(torch.int32)
    return [word.contiguous() for word in words.unbind(1)]


@pytest.mark.parametrize(
    ("shape", "kind", "k", "dtype"),
    [
        ("m16n8k16", "bf16", 16, torch.bfloat16),
        ("m16n8k16", "f16", 16, torch.float16),
        ("m16n8k8", "bf16", 8, torch.bfloat16),
        ("m16n8k8", "f16", 8, torch.float16),
        ("m16n8k8", "tf32", 8, torch.float32),
        ("m16n8k4", "tf32", 4, torch.float32),
    ],
)
def test_products(shape, kind, k, dtype):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(*s, generator=generator).to(dtype) for s in ((16, k), (k, 8)))
    c = torch.randn(16, 8, generator=generator)
    if dtype == torch.float32:  # the low bits must not count
        a, b = (x.view(torch.int32).bitwise_and(~0x1FFF).view(torch.float32) for x in (a, b))
    packed = dtype != torch.float32
    of_c = [(GROUP + 8 * (i // 2), MEMBER * 2 + i % 2) for i in range(4)]
    words_a = registers(a, places_of_a(k, packed), packed)
    words_b = registers(b, places_of_b(k, packed), packed)
    if not packed:
        words_a, words_b = ([w | 0x1ABC for w in words] for words in (words_a, words_b))
    words_c = registers(c, of_c, False)
    names = iter(f"%r{i}" for i in range(10, 30))
    groups = [", ".join(next(names) for _ in words) for words in (words_a, words_b, words_c)]
    code = (
        f"mma.sync.aligned.{shape}.row.col.f32.{kind}.{kind}.f32 {{%r30, %r31, %r32, %r33}}, "
        + ", ".join(f"{{{group}}}" for group in groups)
        + ";"
    )
    found = lanes(code, *words_a, *words_b, *words_c, dtype=torch.float32, out=4)
    expected = (a.double() @ b.double() + c.double()).float()
    for word, (row, column) in zip(found, of_c, strict=True):
        torch.testing.assert_close(word, expected[row, column], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("trans", [False, True])
def test_tiles_to_and_from_shared_memory(count, trans):
    """Row r of tile i lies where lane 8 i + r points; lane l holds row l / 4, columns 2 (l % 4)."""
    halves = torch.arange(32 * 8, dtype=torch.int16).view(32, 8)  # a row of 16 bytes a lane
    result, back = torch.zeros(32, 4, dtype=torch.int32), torch.zeros(32, 8, dtype=torch.int16)
    t = ".trans" if trans else ""
    names = ", ".join(f"%r{30 + i}" for i in range(count))
    body = f"""
mad.wide.u32 %rd20, %r0, 16, %rd0;
ld.global.v4.b32 {{%r10, %r11, %r12, %r13}}, [%rd20];
mov.b32 %r2, global_smem;
mad.lo.s32 %r3, %r0, 16, %r2;
st.shared.v4.b32 [%r3], {{%r10, %r11, %r12, %r13}};
bar.sync 0;
ldmatrix.sync.aligned.m8n8.x{count}{t}.shared.b16 {{{names}}}, [%r3];
mad.wide.u32 %rd20, %r0, 16, %rd1;
st.global.v4.b32 [%rd20], {{%r30, %r31, %r32, %r33}};
stmatrix.sync.aligned.m8n8.x{count}{t}.shared.b16 [%r3+512], {{{names}}};
ld.shared.v4.b32 {{%r10, %r11, %r12, %r13}}, [%r3+512];
mad.wide.u32 %rd20, %r0, 16, %rd2;
st.global.v4.b32 [%rd20], {{%r10, %r11, %r12, %r13}};
"""
    run_ptx(kernel(body, 3), [halves, result, back], (1,), 1, shared=1024)
    for i in range(count):
        tile = halves[8 * i : 8 * i + 8]
        tile = tile.t() if trans else tile
        found = result[:, i].contiguous().view(torch.int16).view(32, 2)
        for j in range(2):
            assert torch.equal(found[:, j], tile[GROUP, MEMBER * 2 + j])
    assert torch.equal(back[: 8 * count], halves[: 8 * count])
    assert (back[8 * count :] == -1).all()  # nobody wrote there


def test_a_tile_is_transposed_between_lanes():
    words = torch.arange(64, dtype=torch.int16).view(torch.int32)
    found = lanes("movmatrix.sync.aligned.m8n8.trans.b16 %r30, %r10;", words)
    expected = torch.arange(64, dtype=torch.int16).view(8, 8).t().contiguous()
    assert torch.equal(found.view(torch.int16), expected.flatten())


def test_labels_and_registers_of_a_scope_are_its_own():
    count = "{{\n.reg .b32 %k;\nmov.b32 %k, {};\n$loop:\nadd.s32 %r30, %r30, 1;\n" \
        "sub.s32 %k, %k, 1;\nsetp.ne.s32 %p1, %k, 0;\n@%p1 bra $loop;\n}}\n"  # fmt: skip
    code = "mov.b32 %r30, 0;\n" + count.format(3) + count.format(4)
    assert lanes(code, np.zeros(32, np.int32)).tolist() == [7] * 32
