"""The maps of nn1d as CUDA kernels: .cu files to read, and beside each the few lines of Python that launch it.

They register under the names of the functions that the layers call (nn1d/dispatch.py), when the first array of a GPU is
met. What no kernel takes (other strides, more taps or channels, other numbers) CuPy computes by the same lines as
NumPy. Nothing here imports CuPy: it comes with the arrays.
"""

from nn1d.cuda import activation, adam, convolution, loss, pool

__all__ = ["activation", "adam", "convolution", "loss", "pool"]
