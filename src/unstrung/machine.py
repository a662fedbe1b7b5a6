"""What this machine is, and which models it can run."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from unstrung.card import ModelCard
from unstrung.engine import memory_bytes
from unstrung.errors import UnstrungError
from unstrung.models.device import may_have_gpu
from unstrung.plugins import cards, check_installed, find_card
from unstrung.request import DEFAULT_MODEL, Request, fill


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
        rows.append({"id": card.id, "ready": not why, "why": why, "fits": _fits(card, module)})
    return {"machine": machine, "models": rows}


def forecast(request: Request, device: str | None = None) -> dict[str, Any]:
    """Return what a request comes to, and in which ways its model can be placed for it: what fits comes first.

    Nothing is loaded. Of a model whose module makes no forecast, there is one way.
    """
    return _forecast(request, *find_card(request.model or DEFAULT_MODEL), device)


def _forecast(request: Request, card: ModelCard, module: ModuleType, device: str | None = None) -> dict[str, Any]:
    run = fill(request, card).run  # whatever it is to be made from
    if hasattr(module, "forecast"):
        rows = module.forecast(card, run, device)
    else:
        needed, memory = card.memory.get("ram", 0), memory_bytes()
        why = f"{needed / 1e9:.1f} GB of RAM, this machine has {memory / 1e9:.1f}" if memory and needed > memory else ""
        rows = [{"plan": "resident", "ram": needed, "why": why}]
    asked = {"model": card.id, "width": run.width, "height": run.height, "num_frames": run.num_frames, "fps": run.fps}
    return {**asked, "plans": sorted(rows, key=lambda row: bool(row["why"]))}


def _fits(card: ModelCard, module: ModuleType) -> str:
    """Say how a model of which that can be told would fit at its own size and length, or what it lacks; empty for others."""
    if not hasattr(module, "forecast"):
        return ""
    plans = _forecast(Request("a film", model=card.id), card, module)["plans"]
    best = plans[0]
    if not best["why"]:
        return f"it would fit ({best['plan']}{', tiled' if best.get('tiled') else ''})"
    least = min(
        (plan for plan in plans if "ram" in plan), key=lambda plan: (max(plan.get("vram", {"": 0}).values()), plan["ram"])
    )
    return f"it would not fit: it needs {least['why']}"


def _why_not(needed: int, memory: int | None) -> str:
    if memory and needed > memory:
        return f"it needs {needed / 2**30:.1f} GiB of memory, this machine has {memory / 2**30:.1f}"
    return ""


def _gpu() -> str:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return "not looked for: PyTorch is not installed (pip install '.[train]')"
    if not may_have_gpu():
        return "none"
    import torch

    if not torch.cuda.is_available():
        return "none that PyTorch can use"
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
