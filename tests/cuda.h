// The words of CUDA as C++ for one core: what tests/harness.py puts before the text of a .cu file. The threads run in
// tests/fiber.cpp.
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>

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

void pause(int line);  // at a barrier, until all threads of the block are there

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
        char kind = std::is_same_v<T, bool> ? 'b' : std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
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

#define KERNEL(...) \
    {#__VA_ARGS__, [] { harness::print_all(&__VA_ARGS__); }, [](void** values) { harness::apply(&__VA_ARGS__, values); }}
