"""One-dimensional convolutional networks with every gradient written by hand, on NumPy and CuPy arrays.

Signals are (clips, samples, channels). A layer is two pure functions: y, cache = layer.forward(x) and
dx, grads = layer.backward(dy, cache).
"""

from nn1d import interrupt as interrupt  # isort: skip - Ctrl-C, before what takes long to import
from nn1d import cpu as cpu  # registers the fast forms of what the layers call
from nn1d import initial
from nn1d.activation import ELU, HardSigmoid, LeakyReLU, ReLU, Sigmoid, Tanh
from nn1d.adam import Adam
from nn1d.backend import array_module, to_numpy
from nn1d.conv import Conv1d, ConvTranspose1d
from nn1d.device import DeviceError, find_device
from nn1d.dropout import Dropout
from nn1d.fold import Fold1d, Unfold1d
from nn1d.gradient import GradientError, GradientReport, check_gradients
from nn1d.interchange import from_torch, load_parameters, to_torch
from nn1d.layer import FlatParameters, Layer, ShapeError, flatten, named_layers, named_leaves
from nn1d.linear import Linear
from nn1d.loss import cross_entropy, mse
from nn1d.norm import LayerNorm
from nn1d.pool import AvgPool1d, GlobalAveragePool1d, MaxPool1d, MaxUnpool1d, Upsample1d
from nn1d.residual import ResidualBlock
from nn1d.sequential import Sequential
from nn1d.sgd import SGD
from nn1d.softmax import Softmax

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "SGD",
    "Adam",
    "AvgPool1d",
    "Conv1d",
    "ConvTranspose1d",
    "DeviceError",
    "Dropout",
    "FlatParameters",
    "Fold1d",
    "GlobalAveragePool1d",
    "GradientError",
    "GradientReport",
    "HardSigmoid",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool1d",
    "MaxUnpool1d",
    "ReLU",
    "ResidualBlock",
    "Sequential",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Unfold1d",
    "Upsample1d",
    "array_module",
    "check_gradients",
    "cross_entropy",
    "find_device",
    "flatten",
    "from_torch",
    "initial",
    "load_parameters",
    "mse",
    "named_layers",
    "named_leaves",
    "to_numpy",
    "to_torch",
]
