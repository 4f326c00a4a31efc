// Max pooling, its transpose, plain upsampling and its transpose: what nn1d/pool.py does.
//
// L samples are windows of `size` samples, one after another, whatever the clip; each thread takes N channels of a
// window (N = 4 moves 16 bytes of floats and 4 marks at a time), so every number is read and written once. Windows are
// short: loops over them are unrolled for two samples, whose loads are then under way together.

#include "element.cuh"

constexpr int THREADS = 256;

// Stands for nn1d.pool.max_pool, and without a mask for nn1d.pool.maxima:
// y[l, c] = max_i x[s·l + i, c], and True at the first i that reaches it; at the last if one is nan
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) max_pool(
    const T* __restrict__ x,   // (windows, size, channels)
    T* __restrict__ y,         // (windows, channels)
    bool* __restrict__ mask,   // as x, or null
    long long windows, int size, int channels)
{
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= windows * (channels / N)) return;
    const long long window = (unsigned long long)i / unsigned(channels / N);
    const int c = int(i - window * (channels / N)) * N;
    const long long first = window * size * channels + c;
    Pack<T, N> best = read<N>(x + first, N, true);
    int where[N] = {};
#pragma unroll 2
    for (int s = 1; s < size; ++s) {
        const Pack<T, N> next = read<N>(x + first + (long long)s * channels, N, true);
#pragma unroll
        for (int j = 0; j < N; ++j) {
            const Sum<T> candidate = next.v[j], most = best.v[j];
            if (candidate > most || (candidate != candidate && most == most)) {
                best.v[j] = next.v[j];
                where[j] = s;
            }
        }
    }
    write<N>(y + window * channels + c, best, N, true);
    if (!mask) return;
#pragma unroll
    for (int j = 0; j < N; ++j) {
        const Sum<T> most = best.v[j];
        if (most != most) where[j] = size - 1;
    }
#pragma unroll 2
    for (int s = 0; s < size; ++s) {
        Pack<bool, N> marks;
#pragma unroll
        for (int j = 0; j < N; ++j) marks.v[j] = where[j] == s;
        write<N>(mask + first + (long long)s * channels, marks, N, true);
    }
}

// Stands for nn1d.pool.place: y[s·l + i, c] = x[l, c] where mask[s·l + i, c], else 0;
// without a mask it stands for nn1d.pool.repeat: y[s·l + i, c] = x[l, c]
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) place(
    const T* __restrict__ x, const bool* __restrict__ mask, T* __restrict__ y, long long windows, int size,
    int channels)
{
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= windows * (channels / N)) return;
    const long long window = (unsigned long long)i / unsigned(channels / N);
    const int c = int(i - window * (channels / N)) * N;
    const Pack<T, N> value = read<N>(x + window * channels + c, N, true);
#pragma unroll 2
    for (int s = 0; s < size; ++s) {
        const long long offset = (window * size + s) * channels + c;
        Pack<T, N> placed = value;
        if (mask) {
            const Pack<bool, N> marks = read<N>(mask + offset, N, true);
#pragma unroll
            for (int j = 0; j < N; ++j) placed.v[j] = marks.v[j] ? placed.v[j] : T(0);
        }
        write<N>(y + offset, placed, N, true);
    }
}

// Stands for nn1d.pool.select: y[l, c] = Σ_i (x[s·l + i, c] where mask[s·l + i, c]);
// without a mask it stands for nn1d.pool.sum_windows: y[l, c] = Σ_i x[s·l + i, c]
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) select(
    const T* __restrict__ x, const bool* __restrict__ mask, T* __restrict__ y, long long windows, int size,
    int channels)
{
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= windows * (channels / N)) return;
    const long long window = (unsigned long long)i / unsigned(channels / N);
    const int c = int(i - window * (channels / N)) * N;
    Pack<Sum<T>, N> sum = {};
#pragma unroll 2
    for (int s = 0; s < size; ++s) {
        const long long offset = (window * size + s) * channels + c;
        const Pack<T, N> value = read<N>(x + offset, N, true);
        Pack<bool, N> marks;
        if (mask) marks = read<N>(mask + offset, N, true);
#pragma unroll
        for (int j = 0; j < N; ++j) sum.v[j] += !mask || marks.v[j] ? Sum<T>(value.v[j]) : Sum<T>(0);
    }
    Pack<T, N> answer;
#pragma unroll
    for (int j = 0; j < N; ++j) answer.v[j] = T(sum.v[j]);
    write<N>(y + window * channels + c, answer, N, true);
}
