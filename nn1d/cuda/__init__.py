"""The maps of nn1d as CUDA kernels: .cu files to read, and beside each the few lines of Python that launch it.

The layers ask here when an array lies on a GPU. What no kernel covers (other strides, more taps or channels, other
numbers) CuPy computes by the same lines as NumPy. Nothing here imports CuPy: it comes with the arrays.
"""
