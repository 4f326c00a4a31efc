// Stands for numpy.sum: the sum of rows, y[j] = s · Σ_i rows[i, j], in an order that the shape alone decides.
//
// A block has 32 columns and STEP threads a column: thread i adds the rows i, i + STEP, ..., then the threads add up as
// a tree. Sums are S, what is written is T.

constexpr int COLUMNS = 32;
constexpr int STEP = 16;

template <typename S, typename T>
__global__ void __launch_bounds__(COLUMNS * STEP) sum_of_rows(
    const S* __restrict__ rows,  // (count, width)
    T* __restrict__ y,           // (width,)
    int count, int width, S scale)
{
    __shared__ S sums[STEP][COLUMNS];
    const int row = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS, j = blockIdx.x * COLUMNS + column;
    S sum = 0;
    if (j < width)
        for (int i = row; i < count; i += STEP) sum += rows[(long long)i * width + j];
    sums[row][column] = sum;
    for (int half = STEP / 2; half > 0; half /= 2) {
        __syncthreads();
        if (row < half) sums[row][column] += sums[row + half][column];
    }
    if (row == 0 && j < width) y[j] = T(sums[0][column] * scale);
}
