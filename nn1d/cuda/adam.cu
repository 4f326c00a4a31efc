// Stands for nn1d.adam.adam_step: over the flat vector of parameters, in one pass:
//
//     g = g + λ·p                    with classic L2;  p = p - ηλ·p  with decoupled decay
//     m = β1·m + (1 - β1)·g
//     v = β2·v + (1 - β2)·g²
//     p = p - (η / (1 - β1ᵗ))·m / (√v / √(1 - β2ᵗ) + ε)
//
// What hangs on the step t comes from the host as numbers: a CUDA graph that holds this launch must be given new ones.

constexpr int THREADS = 256;

template <typename T>
__global__ void __launch_bounds__(THREADS) adam(
    T* __restrict__ p, const T* __restrict__ gradient, T* __restrict__ mean, T* __restrict__ square,
    const T* __restrict__ decays,  // λ of each parameter, or null
    long long count,
    T decay,                       // λ where decays is null
    int decoupled,
    T learning_rate, T beta1, T rest1, T beta2, T rest2,  // η, β1, 1 - β1, β2, 1 - β2
    T scale,                       // 1 / √(1 - β2ᵗ)
    T epsilon,
    T step)                        // η / (1 - β1ᵗ)
{
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    const T lambda = decays ? decays[i] : decay;
    T parameter = p[i], g = gradient[i];
    if (lambda != 0) {
        if (decoupled)
            parameter -= learning_rate * lambda * parameter;
        else
            g += lambda * parameter;
    }
    const T m = beta1 * mean[i] + rest1 * g;
    const T v = beta2 * square[i] + rest2 * g * g;
    mean[i] = m;
    square[i] = v;
    p[i] = parameter - step * (m / (sqrt(v) * scale + epsilon));
}
