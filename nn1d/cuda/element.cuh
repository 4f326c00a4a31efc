// What all kernels share: numbers of 16 bits, neighbouring numbers that move together, and the ELU.
//
// Arrays are (clips, samples, channels) without gaps. A number in an array is T: float16, float or double. Sums and
// parameters are Sum<T>, which is float for float16 and T else.

#ifdef __CUDACC__  // elsewhere the harness of the tests has these and the next two
__device__ __forceinline__ unsigned short half_bits(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

__device__ __forceinline__ float half_value(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
#endif

// A copy into shared memory that goes on while the thread does, and the wait for all that the thread has begun. Before
// sm_80 it is a plain one.
#ifdef __CUDACC__
template <int BYTES>
__device__ __forceinline__ void copy_async(void* to, const void* from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(unsigned(__cvta_generic_to_shared(to))), "l"(from),
                 "n"(BYTES) : "memory");
#else
    struct __align__(BYTES) Bytes { char v[BYTES]; };
    *static_cast<Bytes*>(to) = *static_cast<const Bytes*>(from);
#endif
}

__device__ __forceinline__ void arrive() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}
#endif

// A number of 16 bits in memory; it is computed with as a float, and rounded to the nearest when it is stored.
struct float16 {
    unsigned short bits;
    float16() = default;
    __device__ __forceinline__ float16(float x) : bits(half_bits(x)) {}
    __device__ __forceinline__ operator float() const { return half_value(bits); }
};

template <typename T>
struct Wide {
    using type = T;
};

template <>
struct Wide<float16> {
    using type = float;
};

template <typename T>
using Sum = typename Wide<T>::type;

// N neighbours, aligned so that one instruction moves them; 16 bytes are the most that one can move.
template <typename T, int N>
struct __align__(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
    T v[N];
};

// The first `count` of N neighbours and zeros for the rest; `wide` promises that all are there, and aligned.
template <int N, typename T>
__device__ __forceinline__ Pack<T, N> read(const T* from, int count, bool wide) {
    if (wide) return *reinterpret_cast<const Pack<T, N>*>(from);
    Pack<T, N> pack;
    for (int i = 0; i < N; ++i) pack.v[i] = i < count ? from[i] : T(0);
    return pack;
}

template <int N, typename T>
__device__ __forceinline__ void write(T* to, const Pack<T, N>& pack, int count, bool wide) {
    if (wide) {
        *reinterpret_cast<Pack<T, N>*>(to) = pack;
    } else {
        for (int i = 0; i < N; ++i)
            if (i < count) to[i] = pack.v[i];
    }
}

// exp(x) and, for x <= 0, exp(x) - 1. Those of float go by __expf, which is off by up to 2 + 1.173·|x| units in the
// last place (CUDA C++ Programming Guide). That is too much for exp(x) - 1 near 0: from -1/2 on a polynomial of x takes
// over, whose factors are those of the least relative error, 9e-8 (minimax, by linear programming). So exp(x) - 1 is
// within 5e-7 of itself, and exp(x) within 3e-7·(1 + |x|) of itself. NaN stays NaN. In PTX the ELU has 13 instructions,
// where with expm1f it had 39, and its slope 6 for 22. Both sides are computed before one is chosen: written as
// one expression, they became a branch.
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ double exponential_less_one(double x) { return expm1(x); }
__device__ __forceinline__ float exponential(float x) { return __expf(x); }
__device__ __forceinline__ float exponential_less_one(float x) {
    const float near = x * x * (((0.00680758f * x + 0.04104246f) * x + 0.1665636f) * x + 0.49999463f) + x;
    return x > -0.5f ? near : __expf(x) - 1;
}

// ELU(alpha).forward: y = x where x > 0, else α·(exp(x) - 1)
template <typename S>
__device__ __forceinline__ S elu(S x, S alpha) {
    const S below = alpha * exponential_less_one(x);
    return x > 0 ? x : below;
}

// The slope of ELU(alpha) at x: 1 where x > 0, else α·exp(x)
template <typename S>
__device__ __forceinline__ S elu_slope(S x, S alpha) {
    const S below = alpha * exponential(x);
    return x > 0 ? S(1) : below;
}
