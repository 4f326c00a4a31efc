"""A test of the tests: kernels that are broken on purpose, each in a way that a GPU would not say a word about."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from nn1d.backend import to_numpy
from nn1d.conv import bias_gradient, convolve, filter_gradient
from nn1d.cuda import convolution, kernel, loss, pool
from tests.gpu import harness, standin
from tests.gpu.harness import KernelError, RawModule

pytestmark = pytest.mark.skipif(harness.compiler() is None, reason="needs g++ with AddressSanitizer, on Linux")

SCALE = """
template <typename T>
__global__ void scale(const T* x, T* y, int count, T factor) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = factor * x[i];
}
"""
REVERSE = """
extern "C" __global__ void reverse(const float* x, float* y, int count) {
    __shared__ float tile[32];
    const int i = threadIdx.x;
    tile[i] = x[i];
    __syncthreads();
    y[i] = tile[count - 1 - i];
}
"""


@pytest.fixture
def cp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    kernel._function.cache_clear()
    yield standin.install(monkeypatch)
    kernel._function.cache_clear()


def scaled(code: str, *arguments: Any, blocks: int = 2, names: tuple[str, ...] = ("scale<float>",)) -> None:
    RawModule(code, ("-std=c++17",), names).get_function(names[0])((blocks,), (32,), arguments)


def test_a_kernel_runs() -> None:
    x, y = np.arange(40, dtype="f"), np.full(40, np.nan, "f")
    scaled(SCALE, x, y, np.int32(40), np.float32(2))
    np.testing.assert_array_equal(y, 2 * x)
    back = np.full(32, np.nan, "f")
    RawModule(REVERSE).get_function("reverse")((1,), (32,), (x[:32], back, np.int32(32)))
    np.testing.assert_array_equal(back, x[31::-1])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="this processor cannot flush subnormals")
def test_subnormals_are_zero_as_in_kernels_that_cupy_compiles() -> None:
    """CuPy adds -ftz=true to the options of every kernel."""
    x, y = np.array([1e-40, -1e-40, 1.5e-38], "f"), np.full(3, np.nan, "f")
    scaled(SCALE, x, y, np.int32(3), np.float32(1))
    np.testing.assert_array_equal(y, np.array([0, 0, 1.5e-38], "f"))  # what goes in
    scaled(SCALE, x, y, np.int32(3), np.float32(0.5))
    np.testing.assert_array_equal(y, np.zeros(3, "f"))  # and what comes out


@pytest.mark.parametrize("old", ["i < count", "y[i]", "x[i]"])
def test_an_index_out_of_range(old: str) -> None:
    """One past the end, one before the start, read or written."""
    wrong = {"i < count": "i <= count", "y[i]": "y[i - 1]", "x[i]": "x[i + 1]"}[old]
    x, y = np.zeros(40, "f"), np.zeros(40, "f")
    with pytest.raises(KernelError, match="AddressSanitizer: heap-buffer-overflow"):
        scaled(SCALE.replace(old, wrong), x, y, np.int32(40), np.float32(2))
    scaled(SCALE, x, y, np.int32(40), np.float32(2))  # the next launch finds all as it should be


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (REVERSE.replace("__syncthreads();", ""), "argument 1 hangs on the order of threads: a barrier is missing"),
        (REVERSE.replace("tile[i] =", "tile[i + 1] ="), "kernel.cu:4|buffer-overflow|out of bounds"),
        (REVERSE.replace("count - 1 - i", "count - i"), "kernel.cu:6|buffer-overflow|out of bounds"),
        (REVERSE.replace("__syncthreads();", "if (i < 9) __syncthreads();"), "have ended while others wait"),
        (
            REVERSE.replace("__syncthreads();", "if (i < 9) __syncthreads();\n else __syncthreads();"),
            "wait at different barriers",
        ),
        (
            REVERSE.replace("y[i] =", "y[i] = const_cast<float*>(x)[i] = -"),
            "reverse writes into argument 0, which is const",
        ),
        (REVERSE.replace("y[i] =", "y[i] = -"), None),
    ],
)
def test_what_threads_do_to_each_other(code: str, message: str | None) -> None:
    x, y = np.arange(32, dtype="f"), np.zeros(32, "f")
    reverse = RawModule(code).get_function("reverse")
    if message is None:
        reverse((1,), (32,), (x, y, np.int32(32)))
        return
    with pytest.raises(KernelError, match=message):
        reverse((1,), (32,), (x, y, np.int32(32)))


PRODUCT = """
__global__ void product(const float* a, const float* b, float* d) {
    const int group = threadIdx.x % 32 / 4, member = threadIdx.x % 4, warp = threadIdx.x / 32;
    unsigned left[4], right[2];
    for (int i = 0; i < 4; ++i) left[i] = tf32_bits(a[(group + i % 2 * 8) * 8 + member + i / 2 * 4]);
    for (int i = 0; i < 2; ++i) right[i] = tf32_bits(b[(member + i * 4) * 8 + group]);
    float sum[4] = {};
    multiply(sum, left, right);
    multiply(sum, left, right);
    for (int i = 0; i < 4; ++i) d[warp * 128 + (group + i / 2 * 8) * 8 + member * 2 + i % 2] = sum[i];
}
"""


def product(code: str, threads: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    d = np.zeros((2, 16, 8), "f")
    RawModule(code, ("-std=c++17",), ("product",)).get_function("product")((1,), (threads,), (a, b, d))
    return d


def test_a_product_of_a_warp() -> None:
    """Each warp by itself, of numbers that are rounded to eleven binary digits."""
    code = kernel.with_headers("tensor.cuh", set()) + PRODUCT
    a, b = np.round(4 * numbers(16, 8)), np.round(4 * numbers(8, 8))
    a[3, 4] = 2049  # is 2050
    c = product(code, 64, a, b)
    a[3, 4] = 2050
    np.testing.assert_array_equal(c, np.stack([2 * a @ b] * 2))
    with pytest.raises(KernelError, match="a product of a warp of which threads are missing"):
        product(code.replace("{};\n    multiply", "{};\n    if (member) multiply"), 32, a, b)
    with pytest.raises(KernelError, match="a product of a warp of which threads are missing"):
        product(code, 24, a, b)
    with pytest.raises(KernelError, match="a factor of a product in TF32 has more bits than that"):
        product(code.replace("tf32_bits(b", "1 + tf32_bits(b"), 32, a, b)


def test_numbers_of_16_bits_are_those_of_numpy() -> None:
    """Every one of them as a float, and floats at, between and beside them as the nearest."""
    code = (
        kernel.with_headers("element.cuh", set())
        + """
__global__ void widened(const float16* x, float* y, int count) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) y[i] = x[i];
}
__global__ void narrowed(const float* x, float16* y, int count) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) y[i] = float16(x[i]);
}
"""
    )
    module = RawModule(code, ("-std=c++17",), ("widened", "narrowed"))
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    floats = np.zeros(65536, "f")
    module.get_function("widened")((1,), (32,), (halves, floats, np.int32(65536)))
    np.testing.assert_array_equal(floats, halves.astype("f"))
    finite = halves[np.isfinite(halves)].astype("f")
    between = (finite[1:] + finite[:-1]) / 2
    edges = np.array([65519.99, 65520, 1e30, np.inf, -np.inf, 1e-30, -0.0, 2**-25, np.nan], "f")
    x = np.concatenate([finite, between, np.nextafter(between, np.float32(9e4)), np.nextafter(between, 0), edges])
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    y = np.zeros(len(x), np.float16)
    module.get_function("narrowed")((1,), (32,), (x, y, np.int32(len(x))))
    np.testing.assert_array_equal(y, expected)


def test_shared_memory_holds_nothing_at_first() -> None:
    y = np.zeros(32, "f")
    code = REVERSE.replace("tile[i] = x[i];", "if (x[i] > 0) tile[i] = x[i];")
    RawModule(code).get_function("reverse")((2,), (32,), (y, y, np.int32(32)))
    assert np.isnan(y).all()


def test_blocks_that_write_to_one_place() -> None:
    code = SCALE.replace("blockIdx.x * blockDim.x + threadIdx.x", "threadIdx.x").replace(
        "factor * x[i]", "factor * blockIdx.x + x[i]"
    )
    with pytest.raises(KernelError, match="argument 1 hangs on the order of threads"):
        scaled(code, np.zeros(40, "f"), np.zeros(40, "f"), np.int32(8), np.float32(2))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({2: 40}, "argument 2: a number must say its type, as np.int32 does; got 40"),
        ({2: np.int64(40)}, "argument 2 is i4; got i8"),
        ({3: np.float64(2)}, "argument 3 is f4; got f8"),
        ({0: np.zeros(40)}, "argument 0 is pf4; got an array of f8"),
        ({0: np.int32(0)}, r"argument 0 is a pointer; got np.int32\(0\)"),
        ({1: np.zeros(80, "f")[::2]}, r"argument 1: a kernel knows no strides; got \(8,\) for \(40,\)"),
        ({3: None}, "takes 4 arguments; got 3"),
    ],
)
def test_arguments_that_are_not_the_kernels(changed: dict[int, Any], message: str) -> None:
    arguments: dict[int, Any] = {
        0: np.zeros(40, "f"),
        1: np.zeros(40, "f"),
        2: np.int32(40),
        3: np.float32(2),
    } | changed
    passed = [each for each in arguments.values() if each is not None]
    with pytest.raises(KernelError, match=message):
        scaled(SCALE, *passed)


def test_what_cannot_be_launched() -> None:
    with pytest.raises(ValueError, match=r"need to specify C\+\+ standard"):
        RawModule(SCALE, (), ("scale<float>",))
    with pytest.raises(KernelError, match="no kernel other"):
        RawModule(REVERSE).get_function("other")
    with pytest.raises(KernelError, match="refuses the kernel"):
        RawModule(REVERSE.replace("y[i] =", "atomicAdd(y + i,"))
    for grid, block in (((0,), (32,)), ((1, 70_000), (32,)), ((1,), (2048,)), ((1,), (64, 32))):
        with pytest.raises(KernelError, match=r"out of range|at most 1024"):
            RawModule(REVERSE).get_function("reverse")(grid, block, (np.zeros(1, "f"), np.zeros(1, "f"), np.int32(1)))


# Each function runs some kernels with a geometry where every part of them has work, and compares with NumPy.


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("f")


def check_convolution(cp: Any) -> None:
    x, w, b = numbers(2, 259, 20), numbers(3, 20, 36), numbers(36)  # a tile ends where its clip does
    plus = numbers(2, 259, 36)
    y = convolution.convolve(cp.asarray(x), cp.asarray(w), 1, 259, b=cp.asarray(b), plus=cp.asarray(plus))
    np.testing.assert_allclose(to_numpy(y), convolve(x, w, 1, 1, 259) + b + plus, atol=1e-4)


@contextmanager
def odd_stretches() -> Iterator[None]:
    """Two blocks, each with stretches of 160, 10 and 160 samples: five tiles of 128 samples, the last one not full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "SPAN", 160)
        patch.setattr(convolution, "PARTIAL_SUMS", dict.fromkeys(convolution.PARTIAL_SUMS, 2500))
        yield


def check_filter_gradient(cp: Any) -> None:
    x, dy = numbers(2, 330, 20), numbers(2, 330, 20)
    with odd_stretches():
        dw, db = convolution.filter_gradient(cp.asarray(x), cp.asarray(dy), (3, 20, 20), 1)
    np.testing.assert_allclose(to_numpy(dw), filter_gradient(x, dy, 3, 1, 1), atol=1e-3)
    np.testing.assert_allclose(to_numpy(db), bias_gradient(dy), atol=1e-3)


def check_sum(cp: Any) -> None:
    rows, out = numbers(50, 40), cp.empty(40, np.float32)
    convolution.sum_of_rows(cp.asarray(rows), out, 2)
    np.testing.assert_allclose(to_numpy(out), 2 * rows.sum(0), atol=1e-4)


def check_loss(cp: Any) -> None:
    y, target = numbers(5000), np.zeros(5000, "f")
    value, dy = loss.squared_error(cp.asarray(y), cp.asarray(target))
    np.testing.assert_allclose(float(value), (y * y).mean(), rtol=1e-5)
    np.testing.assert_allclose(to_numpy(dy), 2 / 5000 * y, rtol=1e-5)


def check_pool(cp: Any) -> None:
    x = numbers(2, 300, 3)
    y, mask = pool.max_pool(cp.asarray(x), 2)
    np.testing.assert_array_equal(to_numpy(y), x.reshape(2, 150, 2, 3).max(2))
    np.testing.assert_array_equal(to_numpy(pool.select(cp.asarray(x), mask, 2)), to_numpy(y))


def check_tensor_convolution(cp: Any) -> None:
    """Numbers of TF32, of which sums are exact."""
    x, w = (np.round(4 * numbers(*shape)) for shape in ((2, 300, 20), (3, 20, 36)))
    x[0, 0, 0] = 1.0001  # is rounded
    y = convolution.convolve(cp.asarray(x), cp.asarray(w), 1, 300)
    x[0, 0, 0] = 1
    np.testing.assert_array_equal(to_numpy(y), convolve(x, w, 1, 1, 300))


def check_tensor_filter_gradient(cp: Any) -> None:
    x, dy = np.round(4 * numbers(2, 330, 20)), np.round(4 * numbers(2, 330, 20))
    with odd_stretches():
        dw, db = convolution.filter_gradient(cp.asarray(x), cp.asarray(dy), (3, 20, 20), 1)
    np.testing.assert_array_equal(to_numpy(dw), filter_gradient(x, dy, 3, 1, 1))
    np.testing.assert_array_equal(to_numpy(db), bias_gradient(dy))


CHECKS: dict[str, Callable[[Any], None]] = {
    "tensor_convolution": check_tensor_convolution,
    "tensor_filter_gradient": check_tensor_filter_gradient,
    "convolution": check_convolution,
    "filter_gradient": check_filter_gradient,
    "sum": check_sum,
    "loss": check_loss,
    "pool": check_pool,
}
WRONG = {
    "one sample too many": ("convolution", "l >= 0 && l < length", "l >= 0 && l <= length"),
    "one sample too early": ("convolution", "l >= 0 && l < length", "l >= -1 && l < length"),
    "one sample too many, by load": ("tensor_convolution", "l < 0 || l >= length", "l < 0 || l > length"),
    "one sample too early, by load": ("tensor_convolution", "l < 0 || l >= length", "l < -1 || l >= length"),
    "channels beyond the last, copied": ("convolution", "&& c + channel() < end", ""),
    "samples before the first, taken for whole": ("convolution", "first >= 0 && ", ""),
    "samples beyond the last, taken for whole": ("convolution", "first + ROWS <= length", "first < length"),
    "channels beyond the last, taken for whole": ("convolution", "c + WIDTH <= end", "c < end"),
    "a sample of a thread that is left out": ("convolution", "t < TIMES", "t < TIMES - 1"),
    "outputs beyond the end, taken for whole": ("convolution", "l + SAMPLES <= outputs", "l < outputs"),
    "an output beyond the end": ("convolution", "first + i < rows", "first + i <= rows"),
    "channels beyond the end": ("convolution", "if (o >= outs) continue;", "if (o > outs) continue;"),
    "filters beyond the end": ("convolution", "in < channels && out < outs", "in < channels"),
    "taps in the other order": ("convolution", "seen[j + k]", "seen[j + K - 1 - k]"),
    "a tap that is left out": ("convolution", "for (int k = 0; k < K; ++k) {", "for (int k = 1; k < K; ++k) {"),
    "a clip that is another": ("convolution", "x += clip * length", "x += 0 * clip * length"),
    "rows of x too short": ("convolution", "(L_TILE - SAMPLES + SEEN) | 4", "L_TILE"),
    "filters of another stage": ("convolution", "&ws[stage]", "&ws[1 - stage]"),
    "channels that are not waited for": ("convolution", "arrive();", ""),
    "a tile that is not waited for": ("filter_gradient", "arrive();", ""),
    "a tile in the place of another": ("filter_gradient", "fetch(tiles[!second])", "fetch(tile)"),
    "a stretch that is left out": ("filter_gradient", "stretch += gridDim.x", "stretch += gridDim.x + 1"),
    "samples beyond the stretch": ("filter_gradient", "first, end, outs", "first, outputs, outs"),
    "a tap too far": ("filter_gradient", "seen[i + k].v[c]", "seen[i + K - 1 - k].v[c]"),
    "a team that is left out": ("filter_gradient", "int half = TEAMS / 2; half > 0", "int half = TEAMS / 2; half > 1"),
    "bias of a tile too many": ("filter_gradient", "if (first_c == 0 && thread_c == 0)", ""),
    "a wrong half of a tile": ("tensor_convolution", "o % 4 / 2 * 8", "o % 4 / 2 * 4"),
    "outs in another order": ("tensor_convolution", "[p][j / 2]", "[p][j % 2]"),
    "filters beyond the last channel": ("tensor_convolution", "in < channels && ", ""),
    "a tile of samples beyond the end": ("tensor_convolution", "(outputs - l + 7) / 8", "(outputs - l + 8) / 8"),
    "a tap too far on tensor cores": ("tensor_filter_gradient", "* 4 + k + member]", "* 4 + K - 1 - k + member]"),
    "channels in the place of others": ("tensor_filter_gradient", "Tile::swizzle(k + member)", "Tile::swizzle(member)"),
    "bias without a member": ("tensor_filter_gradient", "i < 4; ++i) bias", "i < 3; ++i) bias"),
    "samples of another warp": ("tensor_filter_gradient", "l < (warp + 1) * SHARE", "l < (warp + 2) * SHARE"),
    "a row too many": ("sum", "i < count", "i <= count"),
    "a column too many": ("sum", "row == 0 && j < width", "row == 0"),
    "a window too many": ("pool", "if (i >= windows", "if (i > windows"),
    "the last of equals": ("pool", "where[j] == s", "where[j] != s"),
    "a stretch too long": ("loss", "i < end", "i <= end"),
}


def check_altered(patch: pytest.MonkeyPatch, cp: Any, file: str, altered: str) -> None:
    original = kernel.source(file)
    assert altered != original
    patch.setenv("CUPY_TF32", str(int(file.startswith("tensor"))))
    patch.setattr(kernel, "source", lambda name: altered if name == file else original_source(name))
    with pytest.raises((KernelError, AssertionError)) as caught:
        CHECKS[file](cp)
    assert "g++ refuses" not in str(caught.value)


original_source = kernel.source


@pytest.mark.parametrize("file", CHECKS)
def test_the_kernels_as_they_are_pass(cp: Any, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setenv("CUPY_TF32", str(int(file.startswith("tensor"))))
    CHECKS[file](cp)


@pytest.mark.parametrize("name", WRONG)
def test_a_kernel_that_is_wrong_is_caught(cp: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    file, old, new = WRONG[name]
    assert old in kernel.source(file)
    check_altered(monkeypatch, cp, file, kernel.source(file).replace(old, new))


BARRIERS = [(file, i) for file in CHECKS for i in range(kernel.source(file).count("__syncthreads()"))]


@pytest.mark.parametrize(("file", "which"), BARRIERS)
def test_every_barrier_is_needed(cp: Any, monkeypatch: pytest.MonkeyPatch, file: str, which: int) -> None:
    """Without it the answer is wrong, or hangs on the order of threads."""
    places = [barrier.start() for barrier in re.finditer(r"__syncthreads\(\)", kernel.source(file))]
    code = kernel.source(file)
    check_altered(monkeypatch, cp, file, f"{code[: places[which]]}{code[places[which] + len('__syncthreads()') :]}")


def test_all_barriers_are_among_them() -> None:
    assert len(BARRIERS) == 15
