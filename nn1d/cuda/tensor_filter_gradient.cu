// Stands for nn1d.conv.parameter_gradients, as filter_gradient.cu with the same arguments, on tensor cores: x
// behind the ELU and dy are rounded to TF32, their products are exact, and sums are float; the gradient of the bias is
// summed from dy as it is. For sm_80 and later.
//
// As there, every block sums its share of all samples into a row of its own. A block makes the filters of 16 channels
// and 16 outs; each of its warps takes a part of the samples, for which every tap k is a product of matrices
// (16 channels, 8 samples) @ (8 samples, 8 outs) whose first factor lies k samples further on. At the end the warps add up
// as a tree. Rows in shared memory are 24 words long: the 32 words that a warp reads then lie in 32 banks.
//
// Shared memory: 31 KiB with K = 3, at most 44 KiB (K = 9).

#include "tensor.cuh"

constexpr int THREADS = 128;
constexpr int TILE = 16;

template <typename T, int K>
__global__ void __launch_bounds__(THREADS) tensor_filter_gradient(
    const T* __restrict__ x, const T* __restrict__ dy, float* __restrict__ rows, int clips, int length, int channels,
    int outputs, int outs, int padding, int backwards, float alpha, int span, int wide_x, int wide_y)
{
    constexpr int SAMPLES = 128, SHARE = SAMPLES / (THREADS / WARP), PITCH = TILE + 8;
    constexpr int SUMS = 2 * K + 1;  // fours: of each tap and half of the outs, and the bias
    __shared__ __align__(16) unsigned xs[SAMPLES + K - 1][PITCH];
    __shared__ __align__(16) float dys[SAMPLES][PITCH];
    __shared__ float half_sums[SUMS * 4][THREADS / 2];

    const int c_tiles = (channels + TILE - 1) / TILE;
    const int first_c = blockIdx.y % c_tiles * TILE, first_o = blockIdx.y / c_tiles * TILE;
    const int warp = threadIdx.x / WARP, group = threadIdx.x % WARP / 4, member = threadIdx.x % 4;
    const int spans = (outputs + span - 1) / span;

    float sum[SUMS][4] = {};
    for (long long stretch = blockIdx.x; stretch < (long long)clips * spans; stretch += gridDim.x) {
        const long long clip = stretch / spans;
        const int begin = int(stretch - clip * spans) * span, end = outputs - begin < span ? outputs : begin + span;
        const T* const signal = x + clip * length * channels;
        const T* const slope = dy + clip * outputs * outs;
        for (int first = begin; first < end; first += SAMPLES) {
            for (int i = threadIdx.x; i < (SAMPLES + K - 1) * (TILE / 4); i += THREADS) {
                const int c = i % (TILE / 4) * 4, at = i / (TILE / 4), l = first - padding + at;
                const Pack<float, 4> four =
                    activated<4>(signal, l, length, channels, first_c + c, channels, alpha, wide_x);
                Pack<unsigned, 4> rounded;
#pragma unroll
                for (int j = 0; j < 4; ++j) rounded.v[j] = tf32_bits(four.v[j]);
                write<4>(&xs[at][c], rounded, 4, true);
            }
            for (int i = threadIdx.x; i < SAMPLES * (TILE / 4); i += THREADS) {
                const int o = i % (TILE / 4) * 4, at = i / (TILE / 4), l = first + at;
                const Pack<float, 4> four = activated<4>(slope, l, end, outs, first_o + o, outs, 0.0f, wide_y);
                write<4>(&dys[at][o], four, 4, true);
            }
            __syncthreads();
            for (int l = warp * SHARE; l < (warp + 1) * SHARE; l += 8) {
                unsigned met[2][2];
#pragma unroll
                for (int n = 0; n < 2; ++n)
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        const float own = dys[l + member + i * 4][n * 8 + group];
                        sum[2 * K][n] += own;
                        met[n][i] = tf32_bits(own);
                    }
#pragma unroll
                for (int k = 0; k < K; ++k) {
                    unsigned seen[4];
#pragma unroll
                    for (int i = 0; i < 4; ++i) seen[i] = xs[l + k + member + i / 2 * 4][group + i % 2 * 8];
#pragma unroll
                    for (int n = 0; n < 2; ++n) multiply(sum[2 * k + n], seen, met[n]);
                }
            }
            __syncthreads();
        }
    }

    for (int half = THREADS / WARP / 2; half > 0; half /= 2) {  // the upper half of the warps hands its sums to the lower
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
