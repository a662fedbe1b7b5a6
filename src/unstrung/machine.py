"""What this machine is, and which models it can run."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from unstrung.engine import memory_bytes
from unstrung.errors import UnstrungError
from unstrung.plugins import cards, check_installed


def examine() -> dict[str, Any]:
    """Return facts about the machine, and for every model whether it is ready, or why not."""
    memory = memory_bytes()
    machine = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": f"{memory / 2**30:.1f} GiB" if memory else "unknown",
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB free here",
        "gpu": _gpu(),
    }
    rows = []
    for card, module in cards().values():
        why = _why_not(card.memory.get("ram", 0), memory)
        if not why:
            try:
                check_installed(card, module)
                if card.repo_id is None:  # small enough to be tried
                    module.load(card).close()
            except UnstrungError as error:
                why = error.message
        rows.append({"id": card.id, "ready": not why, "why": why})
    return {"machine": machine, "models": rows}


def _why_not(needed: int, memory: int | None) -> str:
    if memory and needed > memory:
        return f"it needs {needed / 2**30:.1f} GiB of memory, this machine has {memory / 2**30:.1f}"
    return ""


def _gpu() -> str:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return "not looked for: PyTorch is not installed (pip install '.[train]')"
    import torch

    if not torch.cuda.is_available():
        return "none that PyTorch can use"
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
