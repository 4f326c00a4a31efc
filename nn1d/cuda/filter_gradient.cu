// The gradient of the filters and of the bias of a convolution with stride 1:
//
//     dw[k, c, o] = Σ_{n,l} f(x[n, l + k - p, c]) · dy[n, l, o],    db[o] = Σ_{n,l} dy[n, l, o]
//
// f is an ELU, x outside of its signal is 0. Stands for nn1d.conv.parameter_gradients with stride 1.
// With `backwards` the filters are those of a ConvTranspose1d: dw[K - 1 - k, o, c] takes what is written above, and
// p = K - 1 - padding.
//
// No atomics: every block sums its share of all samples into a row of its own, and nn1d/cuda/sum.cu adds the rows. All
// additions have an order that the shapes alone decide, so a run gives the same bits every time, on every GPU.
//
// A block makes the C_TILE·O_TILE filters of one tile, from the tiles of x and dy that filter_tile.cuh brings. A team of
// threads shares them, each with K·CHANNELS·OUTS sums in registers (at most 48), and every team takes a part of the
// samples; at the end the teams add up as a tree. Per sample a thread reads two packs of 16 bytes for up to 48
// multiplications, so arithmetic is the limit, as in convolution.cu.
//
// Shared memory: 33 KiB with K = 3 and 16 by 16 (float), at most 35 KiB.

#include "filter_tile.cuh"

constexpr int THREADS = 128;

template <typename T, int K, int C_TILE, int O_TILE>
__global__ void __launch_bounds__(THREADS, sizeof(T) == 8 ? 2 : 5) filter_gradient(
    const T* __restrict__ x,    // (clips, length, channels)
    const T* __restrict__ dy,   // (clips, outputs, outs)
    Sum<T>* __restrict__ rows,  // (gridDim.x, K * channels * outs + outs): dw, then db
    int clips, int length, int channels, int outputs, int outs, int padding, int backwards,
    Sum<T> alpha,               // of f; 0 for none
    int span, int wide_x, int wide_y)
{
    using S = Sum<T>;
    constexpr int CHANNELS = C_TILE < 4 ? 1 : K <= 3 ? 4 : K <= 6 ? 2 : 1;
    constexpr int OUTS = O_TILE < 4 ? 1 : 4;
    constexpr int TEAM = C_TILE / CHANNELS * (O_TILE / OUTS), TEAMS = THREADS / TEAM;
    constexpr int LEAST = sizeof(S) == 8 ? 64 : 128, SAMPLES = TEAMS * 4 < LEAST ? LEAST : TEAMS * 4;
    constexpr int SHARE = SAMPLES / TEAMS;
    constexpr int O_PACKS = O_TILE / OUTS;
    constexpr int SUMS = (K * CHANNELS + 1) * OUTS;  // filters, then bias
    using Tile = FilterTile<T, K, C_TILE, O_TILE, SAMPLES, false, THREADS>;
    union Memory {
        Tile tiles[2];
        S half_sums[SUMS][THREADS / 2];  // once all tiles are done
    };
    __shared__ __align__(16) Memory memory;
    auto& half_sums = memory.half_sums;

    const int c_tiles = (channels + C_TILE - 1) / C_TILE;
    const int first_c = blockIdx.y % c_tiles * C_TILE, first_o = blockIdx.y / c_tiles * O_TILE;
    const int team = threadIdx.x / TEAM, member = threadIdx.x % TEAM;
    const int thread_o = member % O_PACKS * OUTS, thread_c = member / O_PACKS * CHANNELS;

    S sum[SUMS] = {};
    const auto multiply = [&](Tile& tile) {
        for (int l = team * SHARE; l < (team + 1) * SHARE; l += 4) {
            Pack<S, CHANNELS> seen[4 + K - 1];
            Pack<S, OUTS> met[4];
#pragma unroll
            for (int i = 0; i < 4 + K - 1; ++i) seen[i] = read<CHANNELS>(&tile.x(l + i, thread_c), CHANNELS, true);
#pragma unroll
            for (int i = 0; i < 4; ++i) met[i] = read<OUTS>(&tile.dy(l + i, thread_o), OUTS, true);
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int k = 0; k < K; ++k)
#pragma unroll
                    for (int c = 0; c < CHANNELS; ++c)
#pragma unroll
                        for (int o = 0; o < OUTS; ++o)
                            sum[(k * CHANNELS + c) * OUTS + o] += seen[i + k].v[c] * met[i].v[o];
            if (thread_c == 0) {
#pragma unroll
                for (int i = 0; i < 4; ++i)
#pragma unroll
                    for (int o = 0; o < OUTS; ++o) sum[K * CHANNELS * OUTS + o] += met[i].v[o];
            }
        }
    };
    over_tiles(memory.tiles, x, dy, clips, length, channels, outputs, outs, padding, first_c, first_o, alpha, span,
               wide_x, wide_y, [](S value) { return value; }, multiply);

    for (int half = TEAMS / 2; half > 0; half /= 2) {  // the upper half of the teams hands its sums to the lower
        if (team >= half && team < 2 * half) {
#pragma unroll
            for (int i = 0; i < SUMS; ++i) half_sums[i][threadIdx.x - half * TEAM] = sum[i];
        }
        __syncthreads();
        if (team < half) {
#pragma unroll
            for (int i = 0; i < SUMS; ++i) sum[i] += half_sums[i][threadIdx.x];
        }
        __syncthreads();
    }

    if (team != 0) return;
    rows += (long long)blockIdx.x * (K * channels * outs + outs);
#pragma unroll
    for (int o = 0; o < OUTS; ++o) {
        const int out = first_o + thread_o + o;
        if (out >= outs) continue;
#pragma unroll
        for (int k = 0; k < K; ++k)
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
                const int in = first_c + thread_c + c;
                if (in >= channels) continue;
                rows[backwards ? ((K - 1 - k) * outs + out) * channels + in : (k * channels + in) * outs + out] =
                    sum[(k * CHANNELS + c) * OUTS + o];
            }
        if (first_c == 0 && thread_c == 0) rows[K * channels * outs + out] = sum[K * CHANNELS * OUTS + o];
    }
}
