// What filter_gradient.cu and tensor_filter_gradient.cu share: the tiles of x and dy that they sum over.
//
// The clips are cut into stretches of `span` samples, and block i takes the stretches i, i + gridDim.x, ... SAMPLES of
// them at a time lie in shared memory as they lie in global memory, while the next ones are on their way, all at once
// (cp.async, from sm_80 on); the ELU is taken when they are there. For TENSOR cores channels c and c + 8 change places
// in every second pair of samples: the eight neighbouring channels of four neighbouring samples that a warp reads for
// a product then lie in 32 banks.

#include "signal.cuh"

template <typename T, int K, int C_TILE, int O_TILE, int LENGTH, bool TENSOR, int THREADS>
struct FilterTile {
    using S = Sum<T>;
    static constexpr bool ROUNDED = TENSOR;
    static constexpr int SAMPLES = LENGTH, C_PACK = C_TILE < 4 ? 1 : 4, O_PACK = O_TILE < 4 ? 1 : 4;
    using InRows = Rows<SAMPLES + K - 1, C_TILE, C_PACK, THREADS>;
    using OutRows = Rows<SAMPLES, O_TILE, O_PACK, THREADS>;
    __align__(16) S xs[SAMPLES + K - 1][C_TILE];
    __align__(16) S dys[SAMPLES][O_TILE];

    static __device__ __forceinline__ int swizzle(int l) { return TENSOR ? l / 2 % 2 * 8 : 0; }

    // f(x) and dy at the l-th sample of the tile.
    __device__ __forceinline__ S& x(int l, int c) { return xs[l][c ^ swizzle(l)]; }
    __device__ __forceinline__ S& dy(int l, int o) { return dys[l][o ^ swizzle(l)]; }
};

// Calls multiply(tile) for each tile of this block, when f(x), an ELU and then `round`, is in it; between two calls all
// threads wait for each other.
template <typename Tile, typename T, typename Round, typename Multiply>
__device__ __forceinline__ void over_tiles(
    Tile (&tiles)[2], const T* x, const T* dy, int clips, int length, int channels, int outputs, int outs, int padding,
    int first_c, int first_o, Sum<T> alpha, int span, bool wide_x, bool wide_y, Round round, Multiply multiply)
{
    using S = Sum<T>;
    using InRows = typename Tile::InRows;
    const int spans = (outputs + span - 1) / span;
    long long stretch = blockIdx.x, clip;  // of the tile that is fetched next, and its samples from `first` on
    int first, end;
    const auto begin_stretch = [&] {
        clip = stretch / spans;
        first = int(stretch - clip * spans) * span;
        end = outputs - first < span ? outputs : first + span;
    };
    const auto fetch = [&](Tile& tile) {
        InRows::fetch(&tile.xs[0][0], x + clip * length * channels, first - padding, length, channels, first_c,
                      channels, wide_x, Tile::swizzle);
        Tile::OutRows::fetch(&tile.dys[0][0], dy + clip * outputs * outs, first, end, outs, first_o, outs, wide_y,
                             Tile::swizzle);
        first += Tile::SAMPLES;
        if (first < end) return;
        stretch += gridDim.x;
        begin_stretch();
    };

    begin_stretch();
    bool more = stretch < (long long)clips * spans;  // there may be no clips
    if (more) fetch(tiles[0]);
    for (bool second = false; more; second = !second) {
        Tile& tile = tiles[second];
        arrive();
#pragma unroll
        for (int t = 0; t < InRows::TIMES; ++t) {  // what this thread has fetched
            if (!InRows::there(t) || (alpha == 0 && !Tile::ROUNDED)) continue;
            S* const place = &tile.x(InRows::row() + t * InRows::STEP, InRows::channel());
            Pack<S, Tile::C_PACK> pack = activated(read<Tile::C_PACK>(place, Tile::C_PACK, true), alpha);
#pragma unroll
            for (int j = 0; j < Tile::C_PACK; ++j) pack.v[j] = round(pack.v[j]);
            write<Tile::C_PACK>(place, pack, Tile::C_PACK, true);
        }
        __syncthreads();  // all have this tile, and are done with the one before, where the next one goes
        more = stretch < (long long)clips * spans;
        if (more) fetch(tiles[!second]);
        multiply(tile);
    }
    __syncthreads();
}
