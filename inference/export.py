"""The network for other programs: an ONNX graph, or weights in the layout of torch.nn.

Inputs and outputs of the graph are as everywhere here: clips (N, L, 1) in [0, 1], L a multiple of 2^depth, and
representation (N, L / 2^depth, C), both float32; mask_0, mask_1, ... bool, the first stage first, mask_i
(N, L / 2^i, C_i); reconstruction (N, L, 1). N and L are free; a Reshape refuses another L when the graph runs. Inside,
channels come before samples, as ONNX has it.

    part      masks   inputs                     outputs
    encoder   yes     clips                      representation, mask_0, ...
    encoder   no      clips                      representation
    decoder   yes     representation, mask_0...  reconstruction
    decoder   no      representation             reconstruction
    both      either  clips                      reconstruction, representation
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from models.autoencoder import POOL, Autoencoder
from models.folded import FoldedAutoencoder
from nn1d import (
    ELU,
    Conv1d,
    ConvTranspose1d,
    Fold1d,
    HardSigmoid,
    ResidualBlock,
    Sequential,
    Unfold1d,
    to_torch,
)
from nn1d.layer import Layer, first_names
from storage.atomic import write_atomic

Network = Autoencoder | FoldedAutoencoder
PARTS = ("both", "encoder", "decoder")
OPSET, IR_VERSION = 17, 8  # ONNX 1.12 and later, ONNX Runtime 1.12 and later


class ExportError(RuntimeError):
    """A network cannot be exported so; the message says why."""


def export_torch(network: Network, path: Path, about: Mapping[str, Any]) -> None:
    """Write the weights for a torch.nn twin with the same names: load_state_dict takes them with strict=True.

    Parameters
    ----------
    network : Autoencoder or FoldedAutoencoder
    path : Path
        A safetensors file, written whole or not at all. Filters of Conv1d are (O, C, K), of ConvTranspose1d (C, O, K).
    about : mapping
        Goes into the metadata as JSON, under nn1d.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    write_atomic(path, save(to_torch(network.parameters), {"nn1d": json.dumps(about)}))


def export_onnx(network: Network, path: Path, about: Mapping[str, Any], part: str = "both", masks: bool = True) -> None:
    """Write the network as an ONNX graph; this file's first lines say what goes in and out.

    Parameters
    ----------
    network : Autoencoder or FoldedAutoencoder
        In float32.
    path : Path
        Written whole or not at all.
    about : mapping
        Goes into the graph's metadata, a line an entry.
    part : "both", "encoder" or "decoder"
    masks : bool
        Whether masks go from the encoder to the decoder; without, the decoder repeats samples. Folds have none.

    Raises
    ------
    ExportError
        The package onnx is not installed, part is none of the above, or masks are wanted of a network with folds.
    OSError
        The file cannot be written.
    """
    if part not in PARTS:
        raise ExportError(f"export: part must be one of {', '.join(PARTS)}; got {part!r}")
    try:
        onnx: Any = import_module("onnx")
    except ImportError:
        raise ExportError("export: needs the package onnx. pip install 'nn1d[onnx]'") from None
    graph = _Graph(onnx, first_names(network.parameters))
    if isinstance(network, FoldedAutoencoder):
        if masks:
            raise ExportError("export: a network with folds has no masks. Leave them out")
        graph.folded(network, part)
        write_atomic(path, graph.model(to_torch(network.parameters), about).SerializeToString())
        return
    channels = [stage.layers["convolution"].parameters["weight"].shape[2] for stage in network.encoder.stages]
    lengths = ["samples", *(f"samples_{i}" for i in range(1, len(channels)))]
    if part == "decoder":
        z = graph.input("representation", "FLOAT", ["N", "frames", channels[-1]])
        windows = [
            graph.windows(graph.input(f"mask_{i}", "BOOL", ["N", *shape]))
            for i, shape in enumerate(zip(lengths, channels, strict=True))
            if masks
        ]
    else:
        z, windows = graph.encoder(network, graph.input("clips", "FLOAT", ["N", "samples", 1]), masks)
    if part != "encoder":
        y = graph.decoder(network, z, windows if masks else None)
        graph.output("reconstruction", "FLOAT", y, ["N", "samples", 1])
    if part != "decoder":
        graph.output("representation", "FLOAT", z, ["N", "frames", channels[-1]])
    if part == "encoder":
        for i, mask in enumerate(windows):
            graph.output(f"mask_{i}", "BOOL", graph.joined(mask), ["N", lengths[i], channels[i]])
    write_atomic(path, graph.model(to_torch(network.parameters), about).SerializeToString())


class _Graph:
    """A graph that grows; names stand for values (N, C, L), and for windows of them (N, C, L / s, s)."""

    def __init__(self, onnx: Any, first: Mapping[str, str]) -> None:
        self.onnx, self.helper = onnx, onnx.helper
        self.first = first  # name of a parameter -> that under which it is stored, once
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {
            "to_windows": np.array([0, 0, -1, POOL]),  # 0 keeps a length
            "from_windows": np.array([0, 0, -1]),
            "last_axis": np.array([3]),
            "repeats": np.array([1, 1, 1, POOL]),
            "places": np.arange(POOL),
            "zero": np.zeros((), np.float32),
        }
        self.used: set[str] = set()

    def input(self, name: str, kind: str, shape: Sequence[str | int]) -> str:
        """An input (N, L, C) of the graph, as (N, C, L)."""
        self.inputs.append(self.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, kind), shape))
        return self.node("Transpose", name, perm=[0, 2, 1])

    def output(self, name: str, kind: str, value: str, shape: Sequence[str | int]) -> None:
        """An output (N, L, C) of the graph, from (N, C, L)."""
        self.outputs.append(self.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, kind), shape))
        self.nodes.append(self.helper.make_node("Transpose", [value], [name], perm=[0, 2, 1]))

    def node(self, kind: str, *values: str, **attributes: Any) -> str:
        """What an operation makes of values."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, values, [name], **attributes))
        self.used.update(values)
        return name

    def encoder(self, network: Autoencoder, x: str, masks: bool) -> tuple[str, list[str]]:
        """The representation and, if wanted, the masks as windows, as Encoder.forward."""
        windows = []
        for i, stage in enumerate(network.encoder.stages):
            h = self.windows(self.layer(stage, f"encoder.{i}", x))  # refuses what MaxPool would leave out at the end
            if masks:  # True at the first maximum of a window, as MaxPool1d
                first = self.node("ArgMax", h, axis=3, keepdims=1, select_last_index=0)
                windows.append(self.node("Equal", first, "places"))
            x = self.joined(self.node("MaxPool", h, kernel_shape=[1, POOL], strides=[1, POOL]))
        return x, windows

    def decoder(self, network: Autoencoder, z: str, masks: list[str] | None) -> str:
        """The reconstruction, as Decoder.forward."""
        for i, stage in enumerate(network.decoder.stages):
            a = self.layer(network.decoder.activation, "", z)
            if masks:  # (N, C, L / s, 1) by the shape of the mask: an axis of 1 would be repeated
                shape = self.node("Div", self.node("Shape", masks[-1 - i]), "repeats")
                h = self.node("Where", masks[-1 - i], self.node("Reshape", a, shape), "zero")
            else:
                h = self.node("Expand", self.node("Unsqueeze", a, "last_axis"), "repeats")
            z = self.layer(stage, f"decoder.{i}", self.joined(h))
        return self.layer(network.decoder.output, "", z)

    def layer(self, layer: Layer, name: str, x: str) -> str:
        """What a layer makes of x; its parameters are constants under their dotted names."""
        if isinstance(layer, Sequential):
            for child, inner in layer.layers.items():
                x = self.layer(inner, f"{name}.{child}", x)
            return x
        if isinstance(layer, ResidualBlock):
            return self.node("Add", x, self.layer(layer.body, f"{name}.body", x))
        if isinstance(layer, (Conv1d, ConvTranspose1d)):
            weights = [self.first[f"{name}.{parameter}"] for parameter in layer.parameters]
            sizes = {"kernel_shape": [layer.kernel_size], "strides": [layer.stride], "pads": [layer.padding] * 2}
            sizes |= {"dilations": [layer.dilation]} if layer.dilation != 1 else {}
            if isinstance(layer, Conv1d):
                return self.node("Conv", x, *weights, **sizes)
            return self.node("ConvTranspose", x, *weights, **sizes, output_padding=[layer.output_padding])
        if isinstance(layer, Fold1d):
            return self.fold(x, layer.size)
        if isinstance(layer, Unfold1d):
            return self.unfold(x, layer.size)
        if isinstance(layer, ELU):
            return self.node("Elu", x, alpha=layer.alpha)
        if isinstance(layer, HardSigmoid):
            return self.node("HardSigmoid", x, alpha=0.2, beta=0.5)
        raise ExportError(f"export: no ONNX operation is known for {layer!r}")

    def folded(self, network: FoldedAutoencoder, part: str) -> None:
        """The whole of a network with folds, or a part."""
        channels = network.encoder.convolutions[-1].out_channels
        if part == "decoder":
            z = self.input("representation", "FLOAT", ["N", "frames", channels])
        else:
            z = self.layer(network.encoder, "encoder", self.input("clips", "FLOAT", ["N", "samples", 1]))
        if part != "encoder":
            y = self.layer(network.decoder, "decoder", z)
            self.output("reconstruction", "FLOAT", y, ["N", "samples", 1])
        if part != "decoder":
            self.output("representation", "FLOAT", z, ["N", "frames", channels])

    def fold(self, x: str, size: int) -> str:
        """(N, C, L) -> (N, size·C, L / size), channels in the order (i, c)."""
        windows = self.node("Reshape", x, self.shape(0, 0, -1, size))
        rows = self.node("Reshape", self.node("Transpose", windows, perm=[0, 2, 3, 1]), self.shape(0, 0, -1))
        return self.node("Transpose", rows, perm=[0, 2, 1])

    def unfold(self, x: str, size: int) -> str:
        """(N, size·C, L) -> (N, C, size·L)."""
        places = self.node("Reshape", self.node("Transpose", x, perm=[0, 2, 1]), self.shape(0, 0, size, -1))
        return self.node("Reshape", self.node("Transpose", places, perm=[0, 3, 1, 2]), self.shape(0, 0, -1))

    def shape(self, *sizes: int) -> str:
        """A constant for Reshape: 0 keeps a size, -1 is what is left."""
        name = "shape_" + "_".join("rest" if size < 0 else str(size) for size in sizes)
        self.constants[name] = np.array(sizes)
        return name

    def windows(self, x: str) -> str:
        """The windows of a pool: (N, C, L) -> (N, C, L / s, s)."""
        return self.node("Reshape", x, "to_windows")

    def joined(self, windows: str) -> str:
        """And back."""
        return self.node("Reshape", windows, "from_windows")

    def model(self, parameters: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Any:
        """The checked graph with the constants that it uses."""
        constants = {name: array for name, array in (self.constants | dict(parameters)).items() if name in self.used}
        graph = self.helper.make_graph(
            self.nodes,
            "nn1d",
            self.inputs,
            self.outputs,
            [self.onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        opset = self.helper.make_opsetid("", OPSET)
        model = self.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="nn1d")
        self.helper.set_model_props(model, {name: str(value) for name, value in about.items()})
        self.onnx.checker.check_model(model, full_check=True)
        return model
