"""The few operations of our networks in OpenVINO, so that a forward pass reads there as it does in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


class Graph:
    """A network under construction: weights by name, and the operations that use them. `Any` is an OpenVINO node."""

    def __init__(self, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        import openvino.opset13 as ops

        self.ops, self.w = ops, weights

    def const(self, value: Any) -> Any:
        """Hold a value."""
        return self.ops.constant(np.asarray(value, np.float32))

    def reshape(self, x: Any, *shape: int) -> Any:
        """Give a node another shape."""
        return self.ops.reshape(x, np.array(shape, np.int64), False)

    def transpose(self, x: Any, *order: int) -> Any:
        """Put axes into another order."""
        return self.ops.transpose(x, np.array(order, np.int64))

    def split(self, x: Any, axis: int, *sizes: int) -> list[Any]:
        """Cut a node into parts of these sizes."""
        return list(self.ops.variadic_split(x, axis, np.array(sizes, np.int64)).outputs())

    def linear(self, name: str, x: Any) -> Any:
        """Apply the linear layer of that name."""
        y = self.ops.matmul(x, self.const(self.w[f"{name}.weight"]), False, True)
        bias = self.w.get(f"{name}.bias")
        return y if bias is None else self.ops.add(y, self.const(bias))

    def conv(self, name: str, x: Any) -> Any:
        """Apply the convolution of that name, same size out as in."""
        weight = self.w[f"{name}.weight"]
        pad = [n // 2 for n in weight.shape[2:]]
        y = self.ops.convolution(x, self.const(weight), [1, 1], pad, pad, [1, 1])
        return self.ops.add(y, self.const(self.w[f"{name}.bias"][None, :, None, None]))

    def silu(self, x: Any) -> Any:
        """Apply x * sigmoid(x)."""
        return self.ops.swish(x)

    def scaled(self, x: Any, scale: Any, shift: Any) -> Any:
        """Return x * (1 + scale) + shift."""
        return self.ops.add(self.ops.multiply(x, self.ops.add(self.const(1.0), scale)), shift)

    def rms_norm(self, x: Any) -> Any:
        """Scale vectors to a root mean square of one."""
        ops = self.ops
        mean = ops.reduce_mean(ops.multiply(x, x), np.array([-1]), True)
        return ops.divide(x, ops.sqrt(ops.add(mean, self.const(1e-6))))

    def space_to_depth(self, x: Any, block: int) -> Any:
        """Fold blocks of pixels into channels, as `pixel_unshuffle`."""
        return self.ops.space_to_depth(x, "depth_first", block)

    def depth_to_space(self, x: Any, block: int) -> Any:
        """Unfold channels into blocks of pixels, as `pixel_shuffle`."""
        return self.ops.depth_to_space(x, "depth_first", block)
