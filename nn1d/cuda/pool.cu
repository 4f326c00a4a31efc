// Max pooling, its transpose, plain upsampling and its transpose: the functions of nn1d/pool.py with the same names.
//
// L samples are windows of `size` samples, one after another, whatever the clip; each thread takes N channels of a
// window (N = 4 moves 16 bytes of floats and 4 marks at a time), so every number is read and written once.

constexpr int THREADS = 256;

// MaxPool1d: y[l, c] = max_i x[s·l + i, c], and True at the first i that reaches it; at the last if one is nan
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) max_pool(
    const T* __restrict__ x,   // (windows, size, channels)
    T* __restrict__ y,         // (windows, channels)
    bool* __restrict__ mask,   // as x, or null
    long long windows, int size, int channels)
{
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= windows * (channels / N)) return;
    const long long window = i / (channels / N);
    const int c = int(i % (channels / N)) * N;
    const long long first = window * size * channels + c;
    Pack<T, N> best = read<N>(x + first, N, true);
    int where[N] = {};
    for (int s = 1; s < size; ++s) {
        const Pack<T, N> next = read<N>(x + first + (long long)s * channels, N, true);
#pragma unroll
        for (int j = 0; j < N; ++j)
            if (next.v[j] > best.v[j] || (next.v[j] != next.v[j] && best.v[j] == best.v[j])) {
                best.v[j] = next.v[j];
                where[j] = s;
            }
    }
    write<N>(y + window * channels + c, best, N, true);
    if (!mask) return;
#pragma unroll
    for (int j = 0; j < N; ++j)
        if (best.v[j] != best.v[j]) where[j] = size - 1;
    for (int s = 0; s < size; ++s) {
        Pack<bool, N> marks;
#pragma unroll
        for (int j = 0; j < N; ++j) marks.v[j] = where[j] == s;
        write<N>(mask + first + (long long)s * channels, marks, N, true);
    }
}

// place: y[s·l + i, c] = x[l, c] · mask[s·l + i, c]; without a mask repeat: y[s·l + i, c] = x[l, c]
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) place(
    const T* __restrict__ x, const bool* __restrict__ mask, T* __restrict__ y, long long windows, int size,
    int channels)
{
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= windows * (channels / N)) return;
    const long long window = i / (channels / N);
    const int c = int(i % (channels / N)) * N;
    const Pack<T, N> value = read<N>(x + window * channels + c, N, true);
    for (int s = 0; s < size; ++s) {
        const long long at = (window * size + s) * channels + c;
        Pack<T, N> placed = value;
        if (mask) {
            const Pack<bool, N> marks = read<N>(mask + at, N, true);
#pragma unroll
            for (int j = 0; j < N; ++j) placed.v[j] *= T(marks.v[j]);
        }
        write<N>(y + at, placed, N, true);
    }
}

// select: y[l, c] = Σ_i x[s·l + i, c] · mask[s·l + i, c]; without a mask sum_windows: y[l, c] = Σ_i x[s·l + i, c]
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) select(
    const T* __restrict__ x, const bool* __restrict__ mask, T* __restrict__ y, long long windows, int size,
    int channels)
{
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= windows * (channels / N)) return;
    const long long window = i / (channels / N);
    const int c = int(i % (channels / N)) * N;
    Pack<T, N> sum = {};
    for (int s = 0; s < size; ++s) {
        const long long at = (window * size + s) * channels + c;
        Pack<T, N> value = read<N>(x + at, N, true);
        if (mask) {
            const Pack<bool, N> marks = read<N>(mask + at, N, true);
#pragma unroll
            for (int j = 0; j < N; ++j) value.v[j] *= T(marks.v[j]);
        }
#pragma unroll
        for (int j = 0; j < N; ++j) sum.v[j] += value.v[j];
    }
    write<N>(y + window * channels + c, sum, N, true);
}
