// What convolutions share: what stands before their sums and after them.

#include "element.cuh"

// Of a signal (length, channels) the sample l behind the ELU: N channels from c on, zeros outside of the signal and
// from channel `end` on.
template <int N, typename T>
__device__ __forceinline__ Pack<Sum<T>, N> activated(
    const T* signal, int l, int length, int channels, int c, int end, Sum<T> alpha, bool wide)
{
    Pack<Sum<T>, N> pack = {};
    if (l < 0 || l >= length || c >= end) return pack;
    const Pack<T, N> found = read<N>(signal + l * channels + c, end - c, wide);
#pragma unroll
    for (int i = 0; i < N; ++i) pack.v[i] = alpha == 0 ? Sum<T>(found.v[i]) : elu(Sum<T>(found.v[i]), alpha);
    return pack;
}

// Begin to bring what `activated` gives into shared memory, N channels, without its ELU; `arrive` waits for it.
template <int N, typename T>
__device__ __forceinline__ void fetch(
    Sum<T>* to, const T* signal, int l, int length, int channels, int c, int end, bool wide)
{
    const T* const from = signal + l * channels + c;
    if (sizeof(T) == 2 || l < 0 || l >= length || c >= end) {
        write<N>(to, activated<N>(signal, l, length, channels, c, end, Sum<T>(0), wide), N, true);
    } else if (wide) {
        constexpr int BYTES = N * sizeof(T) < 16 ? N * sizeof(T) : 16;
#pragma unroll
        for (int i = 0; i < N; i += BYTES / sizeof(T)) copy_async<BYTES>(to + i, from + i);
    } else {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            if (i < end - c)
                copy_async<sizeof(Sum<T>)>(to + i, from + i);
            else
                to[i] = 0;
        }
    }
}

// What comes after the sum of a convolution: y = r + f'(a)·sum for N channels at `at`, of which `count` are there.
template <int N, typename T>
__device__ __forceinline__ void finish(
    Pack<Sum<T>, N> sum, const T* a, const T* r, T* y, long long at, int count, Sum<T> slope_alpha, bool wide)
{
    if (a) {
        const Pack<T, N> reached = read<N>(a + at, count, wide);
#pragma unroll
        for (int i = 0; i < N; ++i) sum.v[i] *= elu_slope(Sum<T>(reached.v[i]), slope_alpha);
    }
    if (r) {
        const Pack<T, N> residual = read<N>(r + at, count, wide);
#pragma unroll
        for (int i = 0; i < N; ++i) sum.v[i] += residual.v[i];
    }
    Pack<T, N> answer;
#pragma unroll
    for (int i = 0; i < N; ++i) answer.v[i] = T(sum.v[i]);
    write<N>(y + at, answer, count, wide);
}
