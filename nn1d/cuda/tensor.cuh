// What kernels on tensor cores share: TF32, and the product of two small matrices that the 32 threads of a warp
// compute together. For sm_80 and later. They gain a fifth of a training step on an H200: docs/gpu.md.
//
// TF32 is a float with 10 bits of mantissa instead of 23, so a float16 is one as it is. Its products are exact, and
// they are summed as float.

#include "signal.cuh"

constexpr int WARP = 32;

#ifdef __CUDACC__  // elsewhere the harness of the tests has these two
__device__ __forceinline__ unsigned tf32_bits(float x) {  // to the nearest
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// d += a @ b, of (16, 8) += (16, 8) @ (8, 8). The threads of a warp are 8 groups of 4 members; each has
//
//     d[i] = D[group + 8·(i / 2), 2·member + i % 2],  a[i] = A[group + 8·(i % 2), member + 4·(i / 2)],
//     b[i] = B[member + 4·i, group]
//
// PTX ISA, "Matrix fragments for mma.m16n8k8".
__device__ __forceinline__ void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(  // it must not move to where only some threads of a warp come
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif
