// The words of CUDA as C++ for one core: what tests/gpu/harness.py puts before the text of a .cu file. The threads run in
// tests/gpu/fiber.cpp.
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __syncthreads() harness::pause(__LINE__)

struct dim3 {
    unsigned x, y, z;
};

extern dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace harness {

void pause(int line);          // at a barrier, until all threads of the block are there
void fail(const char* words);  // ends the launch with an error

// What a thread brings to a product of its warp, and all that the warp has brought, once it is there.
struct Fragment {
    unsigned a[4], b[2];
};
const Fragment* exchange(const Fragment& fragment);
void copy_later(void* to, const void* from, int bytes);
void copy_now();  // what this thread has begun to copy
int lane();  // the place of this thread in its warp

using Call = void (*)(void**);

struct Kernel {
    const char* name;
    void (*describe)();  // prints the types of its arguments
    Call call;
};

extern const Kernel kernels[];
extern const int kernel_count;

// The type of an argument as NumPy writes it, such as i4 or f8; P before what a pointer points to, p if it is const.
template <class T>
void print() {
    if constexpr (std::is_pointer_v<T>) {
        using Pointee = std::remove_pointer_t<T>;
        putchar(std::is_const_v<Pointee> ? 'p' : 'P');
        print<std::remove_const_t<Pointee>>();
    } else {
        char kind = std::is_same_v<T, bool>                              ? 'b'
                    : std::is_floating_point_v<T> || std::is_class_v<T> ? 'f'  // float16 is a class
                    : std::is_signed_v<T>                               ? 'i'
                                                                        : 'u';
        printf("%c%d ", kind, int(sizeof(T)));
    }
}

template <class... A>
void print_all(void (*)(A...)) {
    (print<A>(), ...);
}

template <class... A, size_t... I>
void apply(void (*function)(A...), void** values, std::index_sequence<I...>) {
    function(*static_cast<A*>(values[I])...);
}

template <class... A>
void apply(void (*function)(A...), void** values) {
    apply(function, values, std::index_sequence_for<A...>());
}

}  // namespace harness

// What element.cuh has in the words of PTX: a copy that is not there before the wait for it.
template <int BYTES>
void copy_async(void* to, const void* from) {
    if (uintptr_t(to) % BYTES || uintptr_t(from) % BYTES) harness::fail("an asynchronous copy that is not aligned");
    harness::copy_later(to, from, BYTES);
}

inline void arrive() { harness::copy_now(); }

inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// As far off as CUDA's may be, upwards or downwards by the digits of x.
inline float __expf(float x) {
    if (!(fabs(x) < 1000)) return expf(x);
    const double units = 2 + floor(1.173 * fabs(x)), sign = llrint(double(x) * 1e6) % 2 ? 1 : -1;
    return float(exp(double(x)) * (1 + sign * units * ldexp(1, -23)));
}

// What element.cuh and tensor.cuh have in the words of PTX.

inline float half_value(unsigned short bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float size = exponent == 0    ? ldexpf(mantissa, -24)
                       : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                        : ldexpf(1024 + mantissa, exponent - 25);
    return bits >> 15 ? -size : size;
}

inline unsigned short half_bits(float x) {
    const unsigned short sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x)) return 0x7fff;
    const float size = fabsf(x);
    if (size >= 65520) return sign | 0x7c00;  // nearer to 2^16 than to the largest
    const int exponent = size < ldexpf(1, -14) ? -14 : ilogbf(size);
    const int steps = int(nearbyintf(ldexpf(size, 10 - exponent)));  // to the nearest, of two to the even one
    return sign | (steps + (exponent + 14) * 1024);                  // a carry goes into the exponent, as it should
}

inline unsigned tf32_bits(float x) {
    const unsigned bits = __float_as_uint(x);
    return isfinite(x) ? (bits + 0x1000) & ~0x1fffu : isnan(x) ? 0x7fffe000u : bits;  // of two nearest the larger
}

inline float tf32_value(unsigned bits) {
    if (bits & 0x1fff) harness::fail("a factor of a product in TF32 has more bits than that");
    return __uint_as_float(bits);
}

inline void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    const harness::Fragment* const warp = harness::exchange({{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
    for (int i = 0; i < 4; ++i) {
        const int row = harness::lane() / 4 + i / 2 * 8, column = harness::lane() % 4 * 2 + i % 2;
        double sum = d[i];
        for (int k = 0; k < 8; ++k)
            sum += double(tf32_value(warp[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2])) *
                   double(tf32_value(warp[column * 4 + k % 4].b[k / 4]));
        d[i] = float(sum);
    }
}

#define KERNEL(...) \
    {#__VA_ARGS__, [] { harness::print_all(&__VA_ARGS__); }, [](void** values) { harness::apply(&__VA_ARGS__, values); }}
