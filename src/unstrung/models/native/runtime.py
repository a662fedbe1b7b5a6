"""Two engines for one set of weights: OpenVINO for CPUs, PyTorch for GPUs (and to train).

`build` writes the forward pass of `model.py` once more, in OpenVINO's operations, straight from the weights' file: the
default install needs no torch. A parity test holds the two together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from unstrung.errors import MissingWeights
from unstrung.models.native.config import CHANNELS, PATCH, NativeConfig
from unstrung.models.native.graph import Graph
from unstrung.models.native.positions import places, rotary

Floats = npt.NDArray[np.float32]
Array = Any  # a numpy array (OpenVINO) or a torch tensor
MASKED = -1e4


class Runtime(Protocol):
    """What runs the network. Arrays are its own kind, made from numpy and read back to it."""

    device: str

    def array(self, values: Floats) -> Array:
        """Take numpy values into the runtime."""
        ...

    def numpy(self, array: Array) -> Floats:
        """Bring values back."""
        ...

    def predict(self, x: Array, sigma: Floats, text: Floats, text_mask: Floats) -> Array:
        """Predict the clean video of x (b c t h w) at noise levels sigma (b t), with text (b l 384) and its mask (b l)."""
        ...


@dataclass(frozen=True)
class Weights:
    """Weights from a file: tensors by name, the shape they fit, and what the file says about itself."""

    tensors: Mapping[str, npt.NDArray[np.floating]]
    config: NativeConfig
    about: Mapping[str, Any]
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Weights:
        """Read a safetensors file; raise `MissingWeights` where it is not there or not ours."""
        from safetensors import SafetensorError, safe_open

        if not path.exists():
            raise MissingWeights(f"There are no weights at {path}: reinstall unstrung, or train them with 'unstrung train nano'.")
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                config = NativeConfig(**json.loads(metadata["config"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise MissingWeights(f"{path} does not hold weights of a native model: {error}") from error
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(tensors, config, json.loads(metadata.get("about", "{}")), digest)


class OpenVINORuntime:
    """Runs the network with OpenVINO on the CPU, compiled once for each shape that is asked for."""

    device = "cpu (OpenVINO)"

    def __init__(self, weights: Weights, precision: str | None = None) -> None:
        import openvino as ov

        self._core = ov.Core()
        self._weights = weights
        # left alone, OpenVINO computes in bf16 where the processor does that well, else in fp32
        self._options = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
        self._compiled: dict[tuple[int, ...], Any] = {}

    def array(self, values: Floats) -> Floats:
        """Take numpy values as they are."""
        return values

    def numpy(self, array: Floats) -> Floats:
        """Bring values back as they are."""
        return array

    def predict(self, x: Floats, sigma: Floats, text: Floats, text_mask: Floats) -> Floats:
        """Predict the clean video."""
        shape = (*x.shape, text.shape[1])
        if shape not in self._compiled:
            model = build(self._weights, *(int(n) for n in (x.shape[0], *x.shape[2:], text.shape[1])))
            self._compiled[shape] = self._core.compile_model(model, "CPU", self._options)
        result = self._compiled[shape]([x, sigma, text, text_mask])
        return np.array(result[0], np.float32)


class TorchRuntime:
    """Runs the network with PyTorch, on a GPU where there is one."""

    def __init__(self, weights: Weights, device: str | None = None) -> None:
        import torch

        from unstrung.models.native.model import NativeModel

        self._torch = torch
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = NativeModel(weights.config).eval().requires_grad_(False).to(self.device)
        self._model.load_state_dict({name: torch.from_numpy(t.astype(np.float32)) for name, t in weights.tensors.items()})

    def array(self, values: Floats) -> Array:
        """Take numpy values onto the device."""
        return self._torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def numpy(self, array: Array) -> Floats:
        """Bring values back from the device."""
        values: Floats = array.float().cpu().numpy()
        return values

    def predict(self, x: Array, sigma: Floats, text: Floats, text_mask: Floats) -> Array:
        """Predict the clean video, in bf16 on a GPU."""
        torch = self._torch
        bf16 = torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda"))
        with torch.inference_mode(), bf16:
            return self._model(x, self.array(sigma), self.array(text), self.array(text_mask)).float()


def build(weights: Weights, b: int, t: int, height: int, width: int, l: int) -> Any:  # noqa: E741
    """Build the network as an OpenVINO model of fixed shape, with the inputs and the output of `Runtime.predict`."""
    return _Builder(weights, b, t, height, width, l).build()


class _Builder(Graph):
    """`model.py` in OpenVINO's operations, method for method; see there for what happens and why."""

    def __init__(self, weights: Weights, b: int, t: int, height: int, width: int, l: int) -> None:  # noqa: E741
        super().__init__(weights.tensors)
        self.c = weights.config
        self.b, self.t, self.h, self.wd, self.l = b, t, height, width, l
        self.rows, self.columns = height // PATCH, width // PATCH

    def build(self) -> Any:
        import openvino as ov

        ops, c, b, t = self.ops, self.c, self.b, self.t
        x = ops.parameter([b, CHANNELS, t, self.h, self.wd], np.float32, name="x")
        sigma = ops.parameter([b, t], np.float32, name="sigma")
        text = ops.parameter([b, self.l, c.text_width], np.float32, name="text")
        mask = ops.parameter([b, self.l], np.float32, name="text_mask")

        n = t * self.rows * self.columns
        bias = ops.multiply(ops.subtract(self.const(1.0), mask), self.const(MASKED))
        bias = ops.concat([bias, self.const(np.zeros((b, n)))], 1)
        bias = self.reshape(bias, b, 1, 1, self.l + n)
        cos, sin = (self.const(a[None, None]) for a in rotary(t, self.rows, self.columns, c.head_width))

        cond = self.condition(sigma, text, mask)
        mod = self.reshape(self.linear("modulation", cond), b, t, 6, c.width)
        states = self.rms_norm(self.linear("text_in", text))
        tokens, skips = self.stem(x, cond)
        tokens = ops.add(tokens, self.linear("place", self.const(places(self.rows, self.columns))))
        for i in range(c.depth):
            tokens = self.block(f"blocks.{i}.", tokens, mod, states, bias, cos, sin)
        out = self.head(tokens, cond, skips)
        return ov.Model([out], [x, sigma, text, mask], "native")

    def condition(self, sigma: Any, text: Any, mask: Any) -> Any:
        ops, c = self.ops, self.c
        frequencies = np.exp(-np.log(10000.0) * np.arange(128) / 128)
        angles = ops.multiply(self.reshape(sigma, self.b, self.t, 1), self.const(1000.0 * frequencies))
        noise = self.silu(self.linear("noise_in", ops.concat([ops.cos(angles), ops.sin(angles)], -1)))
        weighed = ops.multiply(text, self.reshape(mask, self.b, self.l, 1))
        total = ops.reduce_sum(mask, np.array([1]), True)
        pooled = self.linear("text_pool", ops.divide(ops.reduce_sum(weighed, np.array([1]), False), total))
        return self.silu(ops.add(self.linear("noise_out", noise), self.reshape(pooled, self.b, 1, c.width)))

    def stem(self, x: Any, cond: Any) -> tuple[Any, tuple[Any, Any, Any]]:
        c = self.c
        frames = self.reshape(self.transpose(x, 0, 2, 1, 3, 4), self.b * self.t, CHANNELS, self.h, self.wd)
        half = self.space_to_depth(frames, 2)
        near = self.silu(self.conv("stem_half", half))
        quarter = self.silu(self.conv("stem_quarter", self.space_to_depth(near, 2)))
        quarter = self.below("stem_below", self.refine("stem_refine", quarter, cond, c.quarter), cond)
        patches = self.space_to_depth(quarter, 4)
        patches = self.transpose(self.reshape(patches, self.b, self.t, 16 * c.quarter, self.rows * self.columns), 0, 1, 3, 2)
        return self.linear("stem_out", patches), (half, near, quarter)

    def rotate(self, x: Any, cos: Any, sin: Any) -> Any:
        ops, size = self.ops, self.c.head_width // 2
        first, second = self.split(x, -1, size, size)
        turned = ops.subtract(ops.multiply(first, cos), ops.multiply(second, sin))
        return ops.concat([turned, ops.add(ops.multiply(first, sin), ops.multiply(second, cos))], -1)

    def heads(self, x: Any, parts: int) -> list[Any]:
        """Cut a projection (b n parts*d) into `parts` of (b heads n 64)."""
        n = int(x.get_output_partial_shape(0).to_shape()[1])
        x = self.transpose(self.reshape(x, self.b, n, parts, self.c.heads, self.c.head_width), 2, 0, 3, 1, 4)
        return [self.reshape(p, self.b, self.c.heads, n, self.c.head_width) for p in self.split(x, 0, *[1] * parts)]

    def block(self, name: str, x: Any, mod: Any, text: Any, bias: Any, cos: Any, sin: Any) -> Any:
        ops, c, b, t = self.ops, self.c, self.b, self.t
        s = self.rows * self.columns
        mod = self.split(ops.add(mod, self.const(self.w[f"{name}table"])), 2, *[1] * 6)  # b t 1 d each
        h = self.reshape(self.scaled(self.rms_norm(x), mod[1], mod[0]), b, t * s, c.width)
        q, k, v = self.heads(self.linear(f"{name}qkv", h), 3)
        text_k, text_v = self.heads(self.linear(f"{name}text_kv", text), 2)
        q = self.rotate(ops.multiply(self.rms_norm(q), self.const(self.w[f"{name}sharpness"])), cos, sin)
        k = ops.concat([self.rms_norm(text_k), self.rotate(self.rms_norm(k), cos, sin)], 2)
        h = ops.scaled_dot_product_attention(q, k, ops.concat([text_v, v], 2), bias)
        h = self.reshape(self.transpose(h, 0, 2, 1, 3), b, t, s, c.width)
        x = ops.add(x, ops.multiply(mod[2], self.linear(f"{name}out", h)))
        h = self.scaled(self.rms_norm(x), mod[4], mod[3])
        gate, up = self.split(self.linear(f"{name}gate_up", h), -1, c.hidden, c.hidden)
        return ops.add(x, ops.multiply(mod[5], self.linear(f"{name}down", ops.multiply(self.silu(gate), up))))

    def refine(self, name: str, y: Any, cond: Any, channels: int) -> Any:
        film = self.reshape(self.linear(f"{name}.film", cond), self.b * self.t, 2 * channels, 1, 1)
        scale, shift = self.split(film, 1, channels, channels)
        h = self.scaled(self.conv(f"{name}.first", self.silu(y)), scale, shift)
        return self.ops.add(y, self.conv(f"{name}.last", self.silu(h)))

    def below(self, name: str, y: Any, cond: Any) -> Any:
        below = self.conv(f"{name}.fold", self.space_to_depth(y, 2))
        for i in range(self.c.refined):
            below = self.refine(f"{name}.refine.{i}", below, cond, self.c.eighth)
        return self.ops.add(y, self.depth_to_space(self.conv(f"{name}.unfold", self.silu(below)), 2))

    def head(self, tokens: Any, cond: Any, skips: tuple[Any, Any, Any]) -> Any:
        ops, c, bt = self.ops, self.c, self.b * self.t
        half, near, quarter = skips
        last = self.reshape(self.linear("last_modulation", cond), self.b, self.t, 1, 2 * c.width)
        shift, scale = self.split(last, -1, c.width, c.width)
        film = self.reshape(self.linear("film", cond), bt, 2 * (c.quarter + c.half), 1, 1)
        scale_q, shift_q, scale_h, shift_h = self.split(film, 1, c.quarter, c.quarter, c.half, c.half)
        y = self.linear("head_in", self.scaled(self.rms_norm(tokens), scale, shift))
        y = self.transpose(self.reshape(y, bt, self.rows * self.columns, 16 * c.quarter), 0, 2, 1)
        y = self.depth_to_space(self.reshape(y, bt, 16 * c.quarter, self.rows, self.columns), 4)
        y = self.silu(self.scaled(self.conv("head_quarter", ops.concat([y, quarter], 1)), scale_q, shift_q))
        y = self.refine("refine_quarter", self.below("below_quarter", y, cond), cond, c.quarter)
        y = self.depth_to_space(self.silu(self.conv("head_up", y)), 2)
        y = self.silu(self.scaled(self.conv("head_half", ops.concat([y, near, half], 1)), scale_h, shift_h))
        y = self.refine("refine_half", y, cond, c.half)
        y = self.depth_to_space(self.conv("head_out", y), 2)
        return self.transpose(self.reshape(y, self.b, self.t, CHANNELS, self.h, self.wd), 0, 2, 1, 3, 4)
