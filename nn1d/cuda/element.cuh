// What all kernels share: neighbouring numbers that move together, and the ELU. nn1d/cuda/kernel.py puts this text
// before that of each .cu file.
//
// Arrays are (clips, samples, channels) without gaps. A number in an array is T, float or double; sums are T as well.

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

// ELU(alpha).forward: y = x where x > 0, else α·(exp(x) - 1)
template <typename T>
__device__ __forceinline__ T elu(T x, T alpha) {
    return x > 0 ? x : alpha * expm1(x);
}

// The slope of ELU(alpha) at x: 1 where x > 0, else α·exp(x)
template <typename T>
__device__ __forceinline__ T elu_slope(T x, T alpha) {
    return x > 0 ? T(1) : alpha * exp(x);
}
