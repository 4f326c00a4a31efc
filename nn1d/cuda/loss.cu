// Stands for nn1d.loss.squared_error: dy = (2 / n)·(y - target), and (y - target)² summed by each block over its
// stretch of `span` numbers into a row of its own, as double; nn1d/cuda/sum.cu adds the rows and divides by n. No
// atomics: the order of all additions is decided by n alone.

constexpr int THREADS = 256;

template <typename T>
__global__ void __launch_bounds__(THREADS) squared_difference(
    const T* __restrict__ y, const T* __restrict__ target, T* __restrict__ dy,
    double* __restrict__ rows,  // (gridDim.x,)
    long long count, long long span, T factor)
{
    __shared__ double sums[THREADS];
    const int thread = threadIdx.x;
    const long long begin = blockIdx.x * span, end = begin + span < count ? begin + span : count;
    double sum = 0;
    for (long long i = begin + thread; i < end; i += THREADS) {
        const T difference = y[i] - target[i];
        dy[i] = factor * difference;
        sum += double(difference) * double(difference);
    }
    sums[thread] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) sums[thread] += sums[thread + half];
    }
    if (thread == 0) rows[blockIdx.x] = sums[0];
}
