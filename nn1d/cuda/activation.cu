// ELU where it stands alone; before a convolution it is part of convolution.cu. A thread takes N numbers.

#include "element.cuh"

constexpr int THREADS = 256;

// Stands for nn1d.activation.elu_forward: y = x where x > 0, else α·(exp(x) - 1)
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) elu_forward(
    const T* __restrict__ x, T* __restrict__ y, long long count, Sum<T> alpha)
{
    const long long i = ((long long)blockIdx.x * THREADS + threadIdx.x) * N;
    if (i >= count) return;
    Pack<T, N> pack = read<N>(x + i, N, true);
#pragma unroll
    for (int j = 0; j < N; ++j) pack.v[j] = T(elu(Sum<T>(pack.v[j]), alpha));
    write<N>(y + i, pack, N, true);
}

// Stands for nn1d.activation.elu_backward: dx = dy·(1 where y > 0, else y + α)
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) elu_backward(
    const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, long long count, Sum<T> alpha)
{
    const long long i = ((long long)blockIdx.x * THREADS + threadIdx.x) * N;
    if (i >= count) return;
    const Pack<T, N> arriving = read<N>(dy + i, N, true), reached = read<N>(y + i, N, true);
    Pack<T, N> pack;
#pragma unroll
    for (int j = 0; j < N; ++j) {
        const Sum<T> value = reached.v[j];
        pack.v[j] = T(Sum<T>(arriving.v[j]) * (value > 0 ? Sum<T>(1) : value + alpha));
    }
    write<N>(dx + i, pack, N, true);
}
