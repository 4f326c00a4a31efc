// ELU where it stands alone; before a convolution it is part of convolution.cu. A thread takes N numbers.

constexpr int THREADS = 256;

// ELU(alpha).forward: y = x where x > 0, else α·(exp(x) - 1)
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) elu_forward(
    const T* __restrict__ x, T* __restrict__ y, long long count, T alpha)
{
    const long long i = ((long long)blockIdx.x * THREADS + threadIdx.x) * N;
    if (i >= count) return;
    Pack<T, N> pack = read<N>(x + i, N, true);
#pragma unroll
    for (int j = 0; j < N; ++j) pack.v[j] = elu(pack.v[j], alpha);
    write<N>(y + i, pack, N, true);
}

// ELU(alpha).backward: dx = dy·(1 where y > 0, else y + α)
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) elu_backward(
    const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, long long count, T alpha)
{
    const long long i = ((long long)blockIdx.x * THREADS + threadIdx.x) * N;
    if (i >= count) return;
    Pack<T, N> slope = read<N>(y + i, N, true);
    const Pack<T, N> arriving = read<N>(dy + i, N, true);
#pragma unroll
    for (int j = 0; j < N; ++j) slope.v[j] = arriving.v[j] * (slope.v[j] > 0 ? T(1) : slope.v[j] + alpha);
    write<N>(dx + i, slope, N, true);
}
