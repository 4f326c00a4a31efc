// Stands for nn1d.conv.convolve and nn1d.conv.convolve_transposed, as convolution.cu with the same arguments, on tensor
// cores: x behind the ELU and w are rounded to TF32, their products are exact, and sums, bias, slope and residual are
// float. For sm_80 and later.
//
// A block computes L_TILE samples of O_TILE channels of y. Each of its warps has ROWS tiles of 16 samples: there the
// convolution is, for every tap k, a product of matrices (16 samples, DEPTH channels) @ (DEPTH channels, O_TILE outs)
// whose first factor lies in shared memory k samples further on.
//
// The filters lie in shared memory in such an order that the outs of a thread, which two products of 8 outs give it as
// twos, are four neighbours in y. Rows of x are 12 words long and those of filters 8 more than a multiple of 16: the 32
// words that a warp reads for a factor then lie in 32 banks.
//
// Seven blocks share an SM where a register limit of 72 does not make them spill: the loads of one, which it waits for,
// then lie beside the products of others.
//
// Shared memory: 10 to 14 KiB with K = 3, at most 27 KiB (K = 9, O_TILE = 64).

#include "tensor.cuh"

constexpr int THREADS = 128;
constexpr int DEPTH = 8;

template <typename T, int K, int O_TILE>
__global__ void __launch_bounds__(THREADS, O_TILE == 64 ? 4 : 7) tensor_convolution(
    const T* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b, const T* __restrict__ a,
    const T* __restrict__ r, T* __restrict__ y, int length, int channels, int outputs, int outs, int padding,
    int backwards, float alpha, float slope_alpha, int wide_x, int wide_y)
{
    constexpr int ROWS = O_TILE == 16 ? 4 : 2, PAIRS = O_TILE / 16;
    constexpr int L_TILE = THREADS / WARP * ROWS * 16, SEEN = L_TILE + K - 1;
    using Tile = Rows<SEEN, DEPTH, 4, THREADS>;
    __shared__ __align__(16) unsigned xs[SEEN][DEPTH + 4];
    __shared__ unsigned ws[K][DEPTH][O_TILE + 8];

    const int tiles = (outputs + L_TILE - 1) / L_TILE;
    const int first_l = blockIdx.x % tiles * L_TILE, first_o = blockIdx.y * O_TILE;
    const int warp_l = threadIdx.x / WARP * ROWS * 16, group = threadIdx.x % WARP / 4, member = threadIdx.x % 4;
    const long long clip = blockIdx.x / tiles;
    x += clip * length * channels;

    float sum[ROWS][PAIRS][2][4] = {};
    for (int first_c = 0; first_c < channels; first_c += DEPTH) {
        Tile::load(x, first_l - padding, length, channels, first_c, channels, wide_x,
                   [&](int l, const Pack<T, 4>& loaded) {
                       const Pack<float, 4> four = activated(converted<float>(loaded), alpha);
                       Pack<unsigned, 4> rounded;
#pragma unroll
                       for (int j = 0; j < 4; ++j) rounded.v[j] = tf32_bits(four.v[j]);
                       write<4>(&xs[l][Tile::channel()], rounded, 4, true);
                   });
        each_filter<K, DEPTH, O_TILE, THREADS>(
            w, first_c, first_o, channels, outs, backwards, [&](int k, int c, int o, const float* from) {
                const int place = o / 16 * 16 + o % 4 / 2 * 8 + o % 16 / 4 * 2 + o % 2;
                ws[k][c][place] = from ? tf32_bits(*from) : 0;
            });
        __syncthreads();
        for (int k = 0; k < K; ++k) {
            unsigned filters[PAIRS][2][2];
#pragma unroll
            for (int p = 0; p < PAIRS; ++p)
#pragma unroll
                for (int j = 0; j < 2; ++j)
#pragma unroll
                    for (int i = 0; i < 2; ++i)
                        filters[p][j][i] = ws[k][member + 4 * i][p * 16 + j * 8 + group];
#pragma unroll
            for (int row = 0; row < ROWS; ++row) {
                unsigned seen[4];
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    seen[i] = xs[warp_l + row * 16 + k + group + i % 2 * 8][member + i / 2 * 4];
#pragma unroll
                for (int p = 0; p < PAIRS; ++p)
#pragma unroll
                    for (int j = 0; j < 2; ++j) multiply(sum[row][p][j], seen, filters[p][j]);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int p = 0; p < PAIRS; ++p) {
        const int o = first_o + p * 16 + member * 4;
        if (o >= outs) continue;
        Pack<float, 4> bias = {};
        if (b) bias = read<4>(b + o, outs - o, false);
        const int l = first_l + warp_l + group;
        Pack<float, 4> answers[ROWS * 2];
#pragma unroll
        for (int i = 0; i < ROWS * 2; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) answers[i].v[j] = sum[i / 2][p][j / 2][i % 2 * 2 + j % 2] + bias.v[j];
        const long long offset = (clip * outputs + l) * outs + o;
        const int rows = (outputs - l + 7) / 8;  // of which the next is 8 samples further on
        if (rows >= ROWS * 2 && wide_y)
            finish<true, 4>(answers, a, r, y, offset, 8 * outs, ROWS * 2, 4, slope_alpha, true);
        else
            finish<false, 1>(answers, a, r, y, offset, 8 * outs, rows, outs - o, slope_alpha, wide_y);
    }
}
