"""What a device does well."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any


def bf16_is_fast(device: str) -> bool:
    """Return whether a device computes well in bfloat16.

    Processors without AVX-512 do it by the slowest of ways: a convolution took 157 times as long as in float32.
    """
    import torch

    if not device.startswith("cpu"):
        return True
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast(device: str) -> AbstractContextManager[Any]:
    """Compute in bfloat16 where the device does that well; weights stay in float32."""
    import torch

    kind = device.split(":")[0]
    return torch.autocast(kind, torch.bfloat16) if kind in ("cpu", "cuda") and bf16_is_fast(kind) else nullcontext()


def why_not_compiled(device: str) -> str:
    """Return in a line why torch.compile does not work here, "" where it does: it needs a C++ compiler, or a GPU with Triton."""
    import torch

    try:
        torch.compile(torch.neg)(torch.ones(4, device=device))
    except Exception as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return ""
