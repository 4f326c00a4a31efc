"""The definitions of the layers as plain loops over numbers: slow, and independent of the code that they judge.

Nothing of nn1d is imported here. Arrays are (clips, samples, channels) and filters (taps, in, out), as in the library.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np


def _meetings(
    signal: int, taps: int, outputs: int, stride: int, padding: int, dilation: int = 1
) -> Iterator[tuple[int, int, int]]:
    """Every (i, k, l) with i = stride·l + dilation·k - padding inside of the signal."""
    for l in range(outputs):
        for k in range(taps):
            i = stride * l + dilation * k - padding
            if 0 <= i < signal:
                yield i, k, l


def conv(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: int, padding: int, dilation: int = 1
) -> np.ndarray:
    """y[n, l, o] = b[o] + Σ_{k,c} x[n, s·l + d·k - p, c] · w[k, c, o]."""
    clips, length, channels = x.shape
    taps, _, outs = w.shape
    outputs = (length + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    y = np.zeros((clips, outputs, outs))
    for n in range(clips):
        for o in range(outs):
            for i, k, l in _meetings(length, taps, outputs, stride, padding, dilation):
                for c in range(channels):
                    y[n, l, o] += x[n, i, c] * w[k, c, o]
            if b is not None:
                for l in range(outputs):
                    y[n, l, o] += b[o]
    return y


def conv_gradients(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray, stride: int, padding: int, dilation: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dw and db of conv."""
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(dy.shape[2])
    for n in range(len(x)):
        for o in range(dy.shape[2]):
            for i, k, l in _meetings(x.shape[1], len(w), dy.shape[1], stride, padding, dilation):
                for c in range(x.shape[2]):
                    dx[n, i, c] += w[k, c, o] * dy[n, l, o]
                    dw[k, c, o] += x[n, i, c] * dy[n, l, o]
            for l in range(dy.shape[1]):
                db[o] += dy[n, l, o]
    return dx, dw, db


def conv_transpose(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: int, padding: int, output_padding: int
) -> np.ndarray:
    """y[n, s·l + k - p, o] = b[o] + Σ_{l,k,c} w[k, o, c] · x[n, l, c]."""
    clips, length, channels = x.shape
    taps, outs, _ = w.shape
    outputs = (length - 1) * stride - 2 * padding + taps + output_padding
    y = np.zeros((clips, outputs, outs))
    for n in range(clips):
        for o in range(outs):
            for i, k, l in _meetings(outputs, taps, length, stride, padding):
                for c in range(channels):
                    y[n, i, o] += w[k, o, c] * x[n, l, c]
            if b is not None:
                for i in range(outputs):
                    y[n, i, o] += b[o]
    return y


def conv_transpose_gradients(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray, stride: int, padding: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dw and db of conv_transpose."""
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(dy.shape[2])
    for n in range(len(x)):
        for o in range(dy.shape[2]):
            for i, k, l in _meetings(dy.shape[1], len(w), x.shape[1], stride, padding):
                for c in range(x.shape[2]):
                    dx[n, l, c] += w[k, o, c] * dy[n, i, o]
                    dw[k, o, c] += x[n, l, c] * dy[n, i, o]
            for i in range(dy.shape[1]):
                db[o] += dy[n, i, o]
    return dx, dw, db


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """y[n, o] = b[o] + Σ_c x[n, c] · w[c, o]."""
    y = np.zeros((x.shape[0], w.shape[1]))
    for n in range(y.shape[0]):
        for o in range(y.shape[1]):
            y[n, o] = b[o]
            for c in range(x.shape[1]):
                y[n, o] += x[n, c] * w[c, o]
    return y


def linear_gradients(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dw and db of linear."""
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[1])
    for n in range(x.shape[0]):
        for o in range(w.shape[1]):
            db[o] += dy[n, o]
            for c in range(x.shape[1]):
                dx[n, c] += w[c, o] * dy[n, o]
                dw[c, o] += x[n, c] * dy[n, o]
    return dx, dw, db


def layer_norm(x: np.ndarray, g: np.ndarray, b: np.ndarray, epsilon: float) -> np.ndarray:
    """y[n, c] = g[c] · (x[n, c] - m[n]) / √(v[n] + ε) + b[c]."""
    y = np.zeros(x.shape)
    channels = x.shape[1]
    for n in range(x.shape[0]):
        m = sum(x[n, c] for c in range(channels)) / channels
        v = sum((x[n, c] - m) ** 2 for c in range(channels)) / channels
        for c in range(channels):
            y[n, c] = g[c] * (x[n, c] - m) / math.sqrt(v + epsilon) + b[c]
    return y


def layer_norm_gradients(
    x: np.ndarray, g: np.ndarray, dy: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dg and db: every output's slope in every input, term by term."""
    dx, dg, db = np.zeros(x.shape), np.zeros(len(g)), np.zeros(len(g))
    channels = x.shape[1]
    for n in range(x.shape[0]):
        m = sum(x[n, c] for c in range(channels)) / channels
        v = sum((x[n, c] - m) ** 2 for c in range(channels)) / channels
        s = math.sqrt(v + epsilon)
        for k in range(channels):  # of the output
            dg[k] += dy[n, k] * (x[n, k] - m) / s
            db[k] += dy[n, k]
            for c in range(channels):
                of_the_gap = ((k == c) - 1 / channels) / s
                of_the_deviation = (x[n, k] - m) * (x[n, c] - m) / (channels * s**3)
                dx[n, c] += dy[n, k] * g[k] * (of_the_gap - of_the_deviation)
    return dx, dg, db


def dropout(x: np.ndarray, kept: np.ndarray, rate: float) -> np.ndarray:
    """y = x / (1 - q) where kept, else 0; and so is dx of dy."""
    y = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        if kept[i]:
            y[i] = x[i] / (1 - rate)
    return y


def max_pool(x: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of every window, and True at the first sample that reaches it."""
    clips, length, channels = x.shape
    y, mask = np.zeros((clips, length // size, channels)), np.zeros(x.shape, bool)
    for n in range(clips):
        for c in range(channels):
            for l in range(length // size):
                best = size * l
                for i in range(size * l, size * l + size):
                    if x[n, i, c] > x[n, best, c]:
                        best = i
                y[n, l, c] = x[n, best, c]
                mask[n, best, c] = True
    return y, mask


def select(x: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """y[n, l, c] = Σ_i mask[n, s·l + i, c] · x[n, s·l + i, c]."""
    clips, length, channels = x.shape
    y = np.zeros((clips, length // size, channels))
    for n in range(clips):
        for i in range(length):
            for c in range(channels):
                if mask[n, i, c]:
                    y[n, i // size, c] += x[n, i, c]
    return y


def place(x: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """y[n, s·l + i, c] = mask[n, s·l + i, c] · x[n, l, c]."""
    y = np.zeros(mask.shape)
    for n in range(mask.shape[0]):
        for i in range(mask.shape[1]):
            for c in range(mask.shape[2]):
                if mask[n, i, c]:
                    y[n, i, c] = x[n, i // size, c]
    return y


def upsample(x: np.ndarray, factor: int) -> np.ndarray:
    """y[n, f·l + i, c] = x[n, l, c]."""
    clips, length, channels = x.shape
    y = np.zeros((clips, length * factor, channels))
    for n in range(clips):
        for i in range(length * factor):
            for c in range(channels):
                y[n, i, c] = x[n, i // factor, c]
    return y


def sum_windows(dy: np.ndarray, factor: int) -> np.ndarray:
    """dx[n, l, c] = Σ_i dy[n, f·l + i, c]."""
    clips, length, channels = dy.shape
    dx = np.zeros((clips, length // factor, channels))
    for n in range(clips):
        for i in range(length):
            for c in range(channels):
                dx[n, i // factor, c] += dy[n, i, c]
    return dx


def average_pool(x: np.ndarray, size: int) -> np.ndarray:
    """y[n, l, c] = (1 / s) Σ_i x[n, s·l + i, c]."""
    clips, length, channels = x.shape
    y = np.zeros((clips, length // size, channels))
    for n in range(clips):
        for i in range(length):
            for c in range(channels):
                y[n, i // size, c] += x[n, i, c] / size
    return y


def average_pool_gradient(dy: np.ndarray, size: int) -> np.ndarray:
    """dx[n, s·l + i, c] = dy[n, l, c] / s."""
    clips, windows, channels = dy.shape
    dx = np.zeros((clips, windows * size, channels))
    for n in range(clips):
        for i in range(windows * size):
            for c in range(channels):
                dx[n, i, c] = dy[n, i // size, c] / size
    return dx


def fold(x: np.ndarray, size: int) -> np.ndarray:
    """y[n, l, i·C + c] = x[n, s·l + i, c]."""
    clips, length, channels = x.shape
    y = np.zeros((clips, length // size, size * channels))
    for n in range(clips):
        for i in range(length):
            for c in range(channels):
                y[n, i // size, i % size * channels + c] = x[n, i, c]
    return y


def unfold(x: np.ndarray, size: int) -> np.ndarray:
    """y[n, s·l + i, c] = x[n, l, i·C + c]."""
    clips, length, channels = x.shape
    y = np.zeros((clips, length * size, channels // size))
    for n in range(clips):
        for i in range(length * size):
            for c in range(channels // size):
                y[n, i, c] = x[n, i // size, i % size * (channels // size) + c]
    return y


def elu(x: float, alpha: float) -> float:
    return x if x > 0 else alpha * math.expm1(x)


def elu_slope(x: float, alpha: float) -> float:
    return 1.0 if x > 0 else alpha * math.exp(x)


def hard_sigmoid(x: float) -> float:
    return min(max(0.2 * x + 0.5, 0.0), 1.0)


def hard_sigmoid_slope(x: float) -> float:
    return 0.2 if 0 < 0.2 * x + 0.5 < 1 else 0.0


def relu(x: float) -> float:
    return x if x > 0 else 0.0


def relu_slope(x: float) -> float:
    return 1.0 if x > 0 else 0.0


def leaky_relu(x: float, a: float) -> float:
    return x if x > 0 else a * x


def leaky_relu_slope(x: float, a: float) -> float:
    return 1.0 if x > 0 else a


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def sigmoid_slope(x: float) -> float:
    return math.exp(-x) / (1 + math.exp(-x)) ** 2


def tanh(x: float) -> float:
    return (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x))


def tanh_slope(x: float) -> float:
    return 4 / (math.exp(x) + math.exp(-x)) ** 2


def softmax(x: list[float]) -> list[float]:
    total = sum(math.exp(a) for a in x)
    return [math.exp(a) / total for a in x]


def softmax_gradient(x: list[float], dy: list[float]) -> list[float]:
    """dx[c] = Σ_k dy[k] · (the slope of y[k] in x[c])."""
    y = softmax(x)
    dx = [0.0] * len(x)
    for c in range(len(x)):
        for k in range(len(x)):
            dx[c] += dy[k] * y[k] * ((k == c) - y[c])
    return dx


def cross_entropy(x: list[list[float]], target: list[int]) -> tuple[float, list[list[float]]]:
    """-1/n Σ log p[t], and its slope in each x."""
    loss, slopes = 0.0, []
    for row, t in zip(x, target, strict=True):
        p = softmax(row)
        loss -= math.log(p[t]) / len(x)
        slopes.append([(p[c] - (c == t)) / len(x) for c in range(len(row))])
    return loss, slopes


def mse(y: list[float], target: list[float]) -> tuple[float, list[float]]:
    """(1 / n) Σ (y - t)² and its slope in each y."""
    n = len(y)
    loss = sum((a - t) ** 2 for a, t in zip(y, target, strict=True)) / n
    return loss, [2 * (a - t) / n for a, t in zip(y, target, strict=True)]


def adam(
    p: list[float],
    gradients: list[list[float]],
    *,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    decay: list[float],
    decoupled: bool,
) -> list[float]:
    """The parameters after one step for each gradient: Kingma and Ba, Algorithm 1, one number after the other."""
    p = list(p)
    m, v = [0.0] * len(p), [0.0] * len(p)
    for t, gradient in enumerate(gradients, 1):
        for i, slope in enumerate(gradient):
            g = slope if decoupled else slope + decay[i] * p[i]
            if decoupled:
                p[i] = p[i] - rate * decay[i] * p[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            mean, square = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
            p[i] = p[i] - rate * mean / (math.sqrt(square) + epsilon)
    return p


def sgd(p: list[float], gradients: list[list[float]], *, rate: float, momentum: float, decay: float) -> list[float]:
    """The parameters after one step for each gradient, one number after the other."""
    p = list(p)
    v = [0.0] * len(p)
    for gradient in gradients:
        for i, slope in enumerate(gradient):
            v[i] = momentum * v[i] + slope + decay * p[i]
            p[i] = p[i] - rate * v[i]
    return p


def over(function: object, x: np.ndarray, *arguments: float) -> np.ndarray:
    """function of each number of x."""
    assert callable(function)
    return np.array([function(float(a), *arguments) for a in x.ravel()]).reshape(x.shape)
