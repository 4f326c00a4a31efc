// Stands for nn1d.conv.parameter_gradients, as filter_gradient.cu with the same arguments, on tensor cores: x
// behind the ELU and dy are rounded to TF32, their products are exact, and sums are float; the gradient of the bias is
// summed from dy as it is. For sm_80 and later.
//
// A block makes the filters of 16 channels and 16 outs from the tiles of x and dy that filter_tile.cuh brings; each of
// its warps takes a part of the samples, for which every tap k is a product of matrices (16 channels, 8 samples) @
// (8 samples, 8 outs) whose first factor lies k samples further on. At the end the warps add up as a tree.
//
// Shared memory: 33 KiB with K = 3, at most 34 KiB (K = 9).

#include "tensor.cuh"
#include "filter_tile.cuh"

constexpr int THREADS = 128;
constexpr int TILE = 16;

template <typename T, int K>
__global__ void __launch_bounds__(THREADS) tensor_filter_gradient(
    const T* __restrict__ x, const T* __restrict__ dy, float* __restrict__ rows, int clips, int length, int channels,
    int outputs, int outs, int padding, int backwards, float alpha, int span, int wide_x, int wide_y)
{
    constexpr int SAMPLES = 128, SHARE = SAMPLES / (THREADS / WARP);
    constexpr int SUMS = 2 * K + 1;  // fours: of each tap and half of the outs, and the bias
    using Tile = FilterTile<T, K, TILE, TILE, SAMPLES, true, THREADS>;
    union Memory {
        Tile tiles[2];
        float half_sums[SUMS * 4][THREADS / 2];  // once all tiles are done
    };
    __shared__ __align__(16) Memory memory;
    auto& half_sums = memory.half_sums;

    const int c_tiles = (channels + TILE - 1) / TILE;
    const int first_c = blockIdx.y % c_tiles * TILE, first_o = blockIdx.y / c_tiles * TILE;
    const int warp = threadIdx.x / WARP, group = threadIdx.x % WARP / 4, member = threadIdx.x % 4;

    float sum[SUMS][4] = {};
    const auto multiply_all = [&](Tile& tile) {
        for (int l = warp * SHARE; l < (warp + 1) * SHARE; l += 8) {  // a multiple of 4, which no swizzle depends on
            unsigned met[2][2];
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const float arriving = tile.dys[l + i * 4 + member][(n * 8 + group) ^ Tile::swizzle(member)];
                    sum[2 * K][n] += arriving;
                    met[n][i] = tf32_bits(arriving);
                }
#pragma unroll
            for (int k = 0; k < K; ++k) {
                unsigned seen[4];
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    seen[i] = __float_as_uint(
                        tile.xs[l + i / 2 * 4 + k + member][(i % 2 * 8 + group) ^ Tile::swizzle(k + member)]);
#pragma unroll
                for (int n = 0; n < 2; ++n) multiply(sum[2 * k + n], seen, met[n]);
            }
        }
    };
    over_tiles(memory.tiles, x, dy, clips, length, channels, outputs, outs, padding, first_c, first_o, alpha, span,
               wide_x, wide_y, [](float value) { return __uint_as_float(tf32_bits(value)); }, multiply_all);

    for (int half = THREADS / WARP / 2; half > 0; half /= 2) {  // the upper half of the warps hands over its sums
        if (warp >= half && warp < 2 * half) {
#pragma unroll
            for (int i = 0; i < SUMS * 4; ++i) half_sums[i][threadIdx.x - half * WARP] = sum[i / 4][i % 4];
        }
        __syncthreads();
        if (warp < half) {
#pragma unroll
            for (int i = 0; i < SUMS * 4; ++i) sum[i / 4][i % 4] += half_sums[i][threadIdx.x];
        }
        __syncthreads();
    }
    if (warp == 0) {  // the members of a group have each summed dy over other samples
        half_sums[0][threadIdx.x] = sum[2 * K][0];
        half_sums[1][threadIdx.x] = sum[2 * K][1];
    }
    __syncthreads();
    if (warp != 0) return;

    rows += (long long)blockIdx.x * (K * channels * outs + outs);
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int n = 0; n < 2; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int in = first_c + group + i / 2 * 8, out = first_o + n * 8 + member * 2 + i % 2;
                if (in >= channels || out >= outs) continue;
                rows[backwards ? ((K - 1 - k) * outs + out) * channels + in : (k * channels + in) * outs + out] =
                    sum[2 * k + n][i];
            }
    const int out = first_o + member * 8 + group;
    if (first_c != 0 || member > 1 || out >= outs) return;
    float bias = 0;
    for (int i = 0; i < 4; ++i) bias += half_sums[member][group * 4 + i];
    rows[K * channels * outs + out] = bias;
}
