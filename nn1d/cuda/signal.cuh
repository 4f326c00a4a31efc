// What convolutions share: how samples of a signal come into shared memory, and what stands after their sums.
//
// Most tiles lie within their signal, and their channels are there and aligned. Such a tile is brought and written
// `whole`: without a comparison for each number, with addresses that only grow, and with all loads before the first
// use. The others, at the ends of a clip or of other numbers of channels, go pack by pack or number by number.

#include "element.cuh"

// Of a signal (length, channels) the sample l: N channels from c on, zeros outside of the signal and from channel `end`
// on.
template <int N, typename T>
__device__ __forceinline__ Pack<T, N> sample(
    const T* signal, int l, int length, int channels, int c, int end, bool wide)
{
    if (l < 0 || l >= length || c >= end) return {};
    return read<N>(signal + l * channels + c, end - c, wide);
}

// A pack behind the ELU, or as it is where alpha is 0.
template <typename S, int N>
__device__ __forceinline__ Pack<S, N> activated(const Pack<S, N>& pack, S alpha) {
    if (alpha == 0) return pack;
    Pack<S, N> y;
#pragma unroll
    for (int i = 0; i < N; ++i) y.v[i] = elu(pack.v[i], alpha);
    return y;
}

template <typename S, typename T, int N>
__device__ __forceinline__ Pack<S, N> converted(const Pack<T, N>& pack) {
    Pack<S, N> y;
#pragma unroll
    for (int i = 0; i < N; ++i) y.v[i] = S(pack.v[i]);
    return y;
}

// Packs of N channels that a block of THREADS deals out to its threads: ROWS samples of a signal from `first` on, each
// with WIDTH channels from c on. A thread has every STEP-th sample of the same channels.
template <int ROWS, int WIDTH, int N, int THREADS>
struct Rows {
    static constexpr int PACKS = WIDTH / N, STEP = THREADS / PACKS, TIMES = (ROWS + STEP - 1) / STEP;
    static_assert(THREADS % PACKS == 0, "a thread would have packs of different channels");

    static __device__ __forceinline__ int row() { return threadIdx.x / PACKS; }
    static __device__ __forceinline__ int channel() { return threadIdx.x % PACKS * N; }

    // Whether the t-th sample of this thread is one of them; only of the last one that is a question.
    static __device__ __forceinline__ bool there(int t) { return (t + 1) * STEP <= ROWS || row() + t * STEP < ROWS; }

    static __device__ __forceinline__ bool whole(int first, int length, int c, int end, bool wide) {
        return (N == 1 || wide) && first >= 0 && first + ROWS <= length && c + WIDTH <= end;
    }

    // use(sample of the tile, pack) for each pack of this thread.
    template <typename T, typename Use>
    static __device__ __forceinline__ void load(
        const T* signal, int first, int length, int channels, int c, int end, bool wide, Use use)
    {
        c += channel();
        if (!whole(first, length, c - channel(), end, wide)) {
#pragma unroll 1
            for (int i = row(); i < ROWS; i += STEP)
                use(i, sample<N>(signal, first + i, length, channels, c, end, wide));
            return;
        }
        Pack<T, N> packs[TIMES];
        const T* from = signal + (first + row()) * channels + c;
#pragma unroll
        for (int t = 0; t < TIMES; ++t, from += STEP * channels)
            if (there(t)) packs[t] = read<N>(from, N, true);
#pragma unroll
        for (int t = 0; t < TIMES; ++t)
            if (there(t)) use(row() + t * STEP, packs[t]);
    }

    // Begin to bring them into `to` (ROWS, WIDTH) in shared memory, as what sums are; `arrive` waits for it. Channel c
    // goes to the place c ^ swizzle(sample of the tile).
    template <typename T, typename Swizzle>
    static __device__ __forceinline__ void fetch(
        Sum<T>* to, const T* signal, int first, int length, int channels, int c, int end, bool wide, Swizzle swizzle)
    {
        const auto place = [&](int i) { return to + i * WIDTH + (channel() ^ swizzle(i)); };
        const auto copy = [&](int i, const T* from) {
            constexpr int BYTES = N * sizeof(T) < 16 ? N * sizeof(T) : 16, NUMBERS = BYTES / sizeof(T);
#pragma unroll
            for (int j = 0; j < N; j += NUMBERS) copy_async<BYTES>(place(i) + j, from + j);
        };
        if (sizeof(T) == sizeof(Sum<T>) && whole(first, length, c, end, wide)) {
            const T* from = signal + (first + row()) * channels + c + channel();
#pragma unroll
            for (int t = 0; t < TIMES; ++t, from += STEP * channels)
                if (there(t)) copy(row() + t * STEP, from);
            return;
        }
        if (sizeof(T) == sizeof(Sum<T>) && (N == 1 || wide) && c + channel() < end) {
#pragma unroll 1
            for (int i = row(); i < ROWS; i += STEP) {
                const int l = first + i;
                if (l >= 0 && l < length)
                    copy(i, signal + l * channels + c + channel());
                else
                    write<N>(place(i), Pack<Sum<T>, N>{}, N, true);
            }
            return;
        }
        load(signal, first, length, channels, c, end, wide, [&](int i, const Pack<T, N>& pack) {
            write<N>(place(i), converted<Sum<T>>(pack), N, true);
        });
    }
};

// Of the filters w (K, channels, outs), or (K, outs, channels) with the taps in the other order if `backwards`, those
// of DEPTH channels from first_c on and O_TILE outs from first_o on: use(k, c, o, where it lies) for each of this
// thread, c and o counted from there, with null for those beyond the last channel or out.
template <int K, int DEPTH, int O_TILE, int THREADS, typename S, typename Use>
__device__ __forceinline__ void each_filter(
    const S* w, int first_c, int first_o, int channels, int outs, int backwards, Use use)
{
    constexpr int AT_ONCE = THREADS / O_TILE;  // channels
    const int next_tap = backwards ? -channels * outs : channels * outs, first_tap = backwards ? (1 - K) * next_tap : 0;
    const int o = threadIdx.x % O_TILE, out = first_o + o;
#pragma unroll
    for (int first = 0; first < DEPTH; first += AT_ONCE) {
        const int c = first + threadIdx.x / O_TILE, in = first_c + c;
        if (first + AT_ONCE > DEPTH && c >= DEPTH) continue;
        const S* from = w + first_tap + (backwards ? out * channels + in : in * outs + out);
#pragma unroll
        for (int k = 0; k < K; ++k, from += next_tap) use(k, c, o, in < channels && out < outs ? from : nullptr);
    }
}

// What comes after the sums of a convolution: y = r + f'(a)·sum for ROWS samples that are `step` numbers apart, of
// which `rows` are there, each with N channels from `offset` on, of which `count` are there. WHOLE promises that all of
// them are, and aligned; TOGETHER samples are loaded at once.
template <bool WHOLE, int TOGETHER, int ROWS, int N, typename T>
__device__ __forceinline__ void finish(
    const Pack<Sum<T>, N> (&sums)[ROWS], const T* a, const T* r, T* y, long long offset, int step, int rows, int count,
    Sum<T> slope_alpha, bool wide)
{
#pragma unroll
    for (int first = 0; first < ROWS; first += TOGETHER) {
        const auto load = [&](Pack<T, N>(&packs)[TOGETHER], const T* from) {
            from += offset + first * step;
#pragma unroll
            for (int i = 0; i < TOGETHER; ++i, from += step)
                if (WHOLE || first + i < rows) packs[i] = read<N>(from, count, WHOLE || wide);
        };
        Pack<Sum<T>, N> sum[TOGETHER];
        Pack<T, N> residual[TOGETHER], reached[TOGETHER];
#pragma unroll
        for (int i = 0; i < TOGETHER; ++i) sum[i] = sums[first + i];
        if (r) load(residual, r);
        if (a) {
            load(reached, a);
#pragma unroll
            for (int i = 0; i < TOGETHER; ++i)
#pragma unroll
                for (int j = 0; j < N; ++j) sum[i].v[j] *= elu_slope(Sum<T>(reached[i].v[j]), slope_alpha);
        }
        if (r) {
#pragma unroll
            for (int i = 0; i < TOGETHER; ++i)
#pragma unroll
                for (int j = 0; j < N; ++j) sum[i].v[j] += Sum<T>(residual[i].v[j]);
        }
        T* to = y + offset + first * step;
#pragma unroll
        for (int i = 0; i < TOGETHER; ++i, to += step)
            if (WHOLE || first + i < rows) write<N>(to, converted<T>(sum[i]), count, WHOLE || wide);
    }
}
