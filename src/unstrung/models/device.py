"""What a device does well."""

from __future__ import annotations

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

GPU_FILES = ("nvidia[0-9]*", "dxg", "kfd")  # of NVIDIA's driver, of Windows' below Linux, and of AMD's
BF16_FLAGS = ({"avx512f", "avx512bw", "avx512dq", "avx512vl"}, {"avx_ne_convert"})  # of which oneDNN wants all of one


def bf16_is_fast(device: str) -> bool:
    """Return whether a device computes well in bfloat16.

    Processors without AVX-512 do it by the slowest of ways: a convolution took 157 times as long as in float32.
    """
    import torch

    if not device.startswith("cpu"):
        return True
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def may_have_gpu() -> bool:
    """Return False where Linux has no file of a GPU that PyTorch computes with, and so no second is needed to load it and ask."""
    return sys.platform != "linux" or any(any(Path("/dev").glob(name)) for name in GPU_FILES)


def bf16_is_foreseen() -> bool:
    """Return what `bf16_is_fast` would say of the processor: from what Linux tells of it, where that is one of Intel's kind."""
    said = Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
    if (found := re.search(r"^flags\s*:(.*)$", said, re.MULTILINE)) is None:
        return bf16_is_fast("cpu")
    return any(wanted <= set(found[1].split()) for wanted in BF16_FLAGS)


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
