// Convolution with stride 1, and all that stands around it in the network, in one pass over memory:
//
//     y[n, l, o] = r[n, l, o] + f'(a[n, l, o]) · (b[o] + Σ_{k,c} f(x[n, l + k - p, c]) · w[k, c, o])
//
// f is an ELU, x outside of its signal is 0. Stands for nn1d.conv.convolve with stride 1 and, with the filters
// read backwards (w[K - 1 - k, o, c] for w[k, c, o], p = K - 1 - padding), for nn1d.conv.convolve_transposed.
//
//     forward of ELU, convolution, sum:   f on x, b, and the residual r
//     backward of the same, with dy as x: f' at what the ELU read, and r = the gradient that arrives past the block
//
// tensor_convolution.cu has the same with products in TF32.
//
// A block computes a tile of y, L_TILE samples of O_TILE channels, from a tile of x that it holds in shared memory,
// DEPTH channels at a time and turned over, so that samples are neighbours. While it computes with these the next ones
// are on their way, all of them at once (cp.async, from sm_80 on); the ELU is taken when they are turned over. A thread
// computes SAMPLES by OUTS numbers in registers: for each channel it reads SAMPLES + K - 1 numbers of x and K·OUTS of w
// and multiplies K·SAMPLES·OUTS times. With K = 3 these are 9 reads of 16 bytes (what the threads of a warp have in
// common is read once) for 192 multiplications: shared memory gives 32 numbers a cycle and an SM multiplies 128 times,
// so arithmetic and not memory is the limit. Larger tiles a thread would take more than the 128 registers that let four
// blocks share an SM.
//
// Shared memory: 20 to 35 KiB with K = 3, at most 46 KiB (K = 9, O_TILE = 64). The rows of x are 4 numbers longer
// than a multiple of 8: then the two fours of a sample that neighbouring threads write fall into different banks.
// The channels of a thread are two fours half a tile apart, for the same reason and for whole lines of y.

#include "signal.cuh"

constexpr int THREADS = 128;

template <typename T, int K, int O_TILE>
__global__ void __launch_bounds__(THREADS, sizeof(T) == 8 ? 2 : 4) convolution(
    const T* __restrict__ x,       // (clips, length, channels)
    const Sum<T>* __restrict__ w,  // (K, channels, outs), or (K, outs, channels) if backwards
    const Sum<T>* __restrict__ b,  // (outs,) or null
    const T* __restrict__ a,       // (clips, outputs, outs) or null
    const T* __restrict__ r,       // (clips, outputs, outs) or null
    T* __restrict__ y,             // (clips, outputs, outs)
    int length, int channels, int outputs, int outs, int padding, int backwards,
    Sum<T> alpha,                  // of f; 0 for none
    Sum<T> slope_alpha,            // of f'
    int wide_x, int wide_y)        // whether fours of channels can be moved at once
{
    using S = Sum<T>;
    constexpr int GROUP = O_TILE < 8 ? 1 : 4, GROUPS = O_TILE < 8 ? 1 : 2, OUTS = GROUP * GROUPS;
    constexpr int SAMPLES = O_TILE < 8 ? 4 : 8, DEPTH = O_TILE < 8 || sizeof(S) == 8 ? 4 : 8;
    constexpr int COLUMNS = O_TILE / OUTS, ROWS = THREADS / COLUMNS, L_TILE = ROWS * SAMPLES;
    constexpr int SEEN = (SAMPLES + K - 1 + 3) / 4 * 4;  // samples of x that a thread reads, in fours
    constexpr int PITCH = (L_TILE - SAMPLES + SEEN) | 4;
    using Tile = Rows<PITCH, DEPTH, 4, THREADS>;
    __shared__ __align__(16) S raw[PITCH][DEPTH];  // of the next channels: what a thread fetches it alone reads
    __shared__ __align__(16) S xs[DEPTH][PITCH];
    __shared__ __align__(16) S ws[2][K][DEPTH][O_TILE];

    const int tiles = (outputs + L_TILE - 1) / L_TILE;
    const int first_l = blockIdx.x % tiles * L_TILE, first_o = blockIdx.y * O_TILE;
    const int column = threadIdx.x % COLUMNS, row = threadIdx.x / COLUMNS;
    const long long clip = blockIdx.x / tiles;
    x += clip * length * channels;

    const auto fetch_channels = [&](int first_c) {
        Tile::fetch(&raw[0][0], x, first_l - padding, length, channels, first_c, channels, wide_x,
                    [](int) { return 0; });
        each_filter<K, DEPTH, O_TILE, THREADS>(
            w, first_c, first_o, channels, outs, backwards, [&](int k, int c, int o, const S* from) {
                S* const to = &ws[first_c / DEPTH % 2][k][c][o];
                if (from)
                    copy_async<sizeof(S)>(to, from);
                else
                    *to = 0;
            });
    };

    S sum[SAMPLES][OUTS] = {};
    fetch_channels(0);
    for (int first_c = 0; first_c < channels; first_c += DEPTH) {
        const int depth = channels - first_c < DEPTH ? channels - first_c : DEPTH, stage = first_c / DEPTH % 2;
        arrive();
#pragma unroll
        for (int t = 0; t < Tile::TIMES; ++t) {
            const int l = Tile::row() + t * Tile::STEP, c = Tile::channel();
            if (!Tile::there(t) || c >= depth) continue;
            const Pack<S, 4> four = activated(read<4>(&raw[l][c], 4, true), alpha);
#pragma unroll
            for (int j = 0; j < 4; ++j) xs[c + j][l] = four.v[j];
        }
        __syncthreads();
        if (first_c + DEPTH < channels) fetch_channels(first_c + DEPTH);
#pragma unroll 2
        for (int c = 0; c < depth; ++c) {
            S seen[SEEN];
#pragma unroll
            for (int i = 0; i < SEEN; i += 4) {
                const Pack<S, 4> four = read<4>(&xs[c][row * SAMPLES + i], 4, true);
#pragma unroll
                for (int j = 0; j < 4; ++j) seen[i + j] = four.v[j];
            }
#pragma unroll
            for (int k = 0; k < K; ++k) {
#pragma unroll
                for (int g = 0; g < GROUPS; ++g) {
                    const Pack<S, GROUP> filter =
                        read<GROUP>(&ws[stage][k][c][g * O_TILE / 2 + column * GROUP], GROUP, true);
#pragma unroll
                    for (int j = 0; j < SAMPLES; ++j)
#pragma unroll
                        for (int i = 0; i < GROUP; ++i) sum[j][g * GROUP + i] += seen[j + k] * filter.v[i];
                }
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int g = 0; g < GROUPS; ++g) {
        const int l = first_l + row * SAMPLES, o = first_o + g * O_TILE / 2 + column * GROUP;
        if (o >= outs) continue;
        Pack<S, GROUP> bias = {};
        if (b) bias = read<GROUP>(b + o, outs - o, false);
        Pack<S, GROUP> answers[SAMPLES];
#pragma unroll
        for (int j = 0; j < SAMPLES; ++j)
#pragma unroll
            for (int i = 0; i < GROUP; ++i) answers[j].v[i] = sum[j][g * GROUP + i] + bias.v[i];
        const long long offset = (clip * outputs + l) * outs + o;
        if (l + SAMPLES <= outputs && (GROUP == 1 || wide_y))
            finish<true, 4>(answers, a, r, y, offset, outs, SAMPLES, GROUP, slope_alpha, true);
        else
            finish<false, 1>(answers, a, r, y, offset, outs, outputs - l, outs - o, slope_alpha, wide_y);
    }
}
