"""Count what the open models' transformers and VAEs need beside their weights: diffusers' real modules on tensors without data.

Prints, for each, the most bytes that were alive at once: a token and unit of width for transformers (two layers, for a layer's
states are gone before the next), a pixel for VAEs: one decoding of few frames and one of more say which part is for the picture
and which is for each frame. Attention counts as a kernel that keeps no table of all pairs. The last line is one JSON document.
"""

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import diffusers
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HALF, FULL = torch.bfloat16, torch.float32
WAN_5B_VAE: dict[str, Any] = {
    "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True, "in_channels": 12, "out_channels": 12,
    "patch_size": 2, "scale_factor_spatial": 16, "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48,
}  # fmt: skip
# class, its settings, type, channels, frames and pixels of a latent, what else decode takes, two lengths of a film
VAES: dict[str, tuple[str, dict[str, Any], torch.dtype, tuple[int, int, int], tuple[Any, ...], tuple[int, int]]] = {
    "cogvideox": ("AutoencoderKLCogVideoX", {}, HALF, (16, 4, 8), (), (13, 49)),
    "mochi": ("AutoencoderKLMochi", {}, HALF, (12, 6, 8), (), (31, 85)),
    "ltx": ("AutoencoderKLLTXVideo", {}, HALF, (128, 8, 32), (None,), (9, 25)),
    "wan": ("AutoencoderKLWan", {}, FULL, (16, 4, 8), (), (9, 25)),
    "wan-5b": ("AutoencoderKLWan", WAN_5B_VAE, FULL, (48, 4, 16), (), (9, 25)),
    "hunyuan-video": ("AutoencoderKLHunyuanVideo15", {}, HALF, (32, 4, 16), (), (13, 29)),
    "ltx-2": ("AutoencoderKLLTX2Video", {}, HALF, (128, 8, 32), (None,), (9, 25)),
}
HELIOS_HISTORY = {"short": 2, "mid": 2, "long": 16}
SIDE = 512


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the sum of the bytes of all tensors that are alive, and the most that it was."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.seen: dict[int, Any] = {}

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = call(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.seen:
                self._hold(tensor.untyped_storage())
        return out

    def _hold(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()

        def gone(_: object) -> None:
            self.seen.pop(key, None)
            self.now -= size

        self.seen[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def peak(run: Callable[[], object]) -> int:
    with torch.no_grad(), Alive() as alive:
        run()
    most: int = alive.peak
    return most


def empty(*shape: int, dtype: torch.dtype = HALF) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def made(name: str, dtype: torch.dtype = HALF, **settings: Any) -> Any:
    with torch.device("meta"):
        return getattr(diffusers, name)(**settings).to(dtype).eval()


def transformers() -> dict[str, float]:
    step, steps = torch.zeros(1, dtype=torch.long, device="meta"), torch.zeros(2, dtype=torch.long, device="meta")
    counted = {}

    def count(name: str, width: int, n: int, batch: int, run: Callable[[], object]) -> None:
        counted[name] = round(peak(run) / width / n / batch, 1)
        print(f"{name}: {counted[name]} bytes a token and unit of width", flush=True)

    cog = made("CogVideoXTransformer3DModel", num_attention_heads=48, num_layers=2, use_rotary_positional_embeddings=True)
    n = 45 * 30 * 13
    places = (empty(n, 64, dtype=FULL), empty(n, 64, dtype=FULL))
    given = (empty(2, 13, 16, 60, 90), empty(2, 226, 4096), steps)
    count("cogvideox", 3072, n + 226, 2, lambda: cog(*given, image_rotary_emb=places, return_dict=False))
    words, n = empty(1, 512, 4096), 52 * 30 * 21
    wan = made("WanTransformer3DModel", num_layers=2)
    count("wan", 5120, n, 1, lambda: wan(empty(1, 16, 21, 60, 104), step, words, return_dict=False))
    small = made("WanTransformer3DModel", num_layers=2, num_attention_heads=12, ffn_dim=8960)
    count("wan, 1.3b", 1536, n, 1, lambda: small(empty(1, 16, 21, 60, 104), step, words, return_dict=False))
    vace = made("WanVACETransformer3DModel", num_layers=3, vace_layers=[0, 2])
    control = {"control_hidden_states": empty(1, 96, 21, 60, 104), "control_hidden_states_scale": empty(2)}
    count("wan-vace", 5120, n, 1, lambda: vace(empty(1, 16, 21, 60, 104), step, words, **control, return_dict=False))
    five = made("WanTransformer3DModel", num_layers=2, num_attention_heads=24, ffn_dim=14336, in_channels=48, out_channels=48)
    n = 40 * 22 * 31
    each = torch.zeros(1, n, dtype=torch.long, device="meta")
    count("wan-5b", 3072, n, 1, lambda: five(empty(1, 48, 31, 44, 80), each, words, return_dict=False))
    history = {"indices_hidden_states": torch.zeros(1, 9, dtype=torch.long, device="meta")}
    for kind, kept in HELIOS_HISTORY.items():
        history[f"latents_history_{kind}"] = empty(1, 16, kept, 48, 80)
        history[f"indices_latents_history_{kind}"] = torch.zeros(1, kept, dtype=torch.long, device="meta")
    helios = made("HeliosTransformer3DModel", num_layers=2)
    n = 40 * 24 * 23 // 2  # nine latents, and those before them as two and a half
    count("helios", 5120, n, 1, lambda: helios(empty(1, 16, 9, 48, 80), step, words, **history, return_dict=False))
    sky = made("SkyReelsV2Transformer3DModel", num_layers=2, num_attention_heads=40, ffn_dim=13824, inject_sample_info=True)
    n, each = 52 * 30 * 25, torch.zeros(1, 25, dtype=torch.long, device="meta")
    forced = {"enable_diffusion_forcing": True, "fps": [1]}
    count("skyreels-v2-df", 5120, n, 1, lambda: sky(empty(1, 16, 25, 60, 104), each, words, **forced, return_dict=False))
    ltx = made("LTXVideoTransformer3DModel", num_layers=2, attention_head_dim=128, cross_attention_dim=4096)
    n = 38 * 22 * 16
    times, mask = torch.zeros(2, n, dtype=torch.long, device="meta"), torch.zeros(2, 128, dtype=torch.bool, device="meta")
    latents = (empty(2, n, 128), empty(2, 128, 4096), times, mask, 16, 22, 38, (1.0, 32.0, 32.0))
    count("ltx", 4096, n, 2, lambda: ltx(*latents, return_dict=False))
    return counted


def vaes() -> dict[str, dict[str, int]]:
    counted = {}
    for family, (name, settings, dtype, (channels, frames, pixels), more, lengths) in VAES.items():
        vae = made(name, dtype, **settings)
        sides = [SIDE // pixels] * 2
        found = []
        for length in lengths:
            latent = empty(1, channels, (length - 1) // frames + 1, *sides, dtype=dtype)
            found.append(peak(lambda vae=vae, latent=latent, more=more: vae.decode(latent, *more, return_dict=False)) / SIDE**2)  # type: ignore[misc]
        frame = (found[1] - found[0]) / (lengths[1] - lengths[0])
        counted[family] = {"area": round(found[0] - frame * lengths[0]), "frame": round(frame)}
        print(f"{family}: {counted[family]} bytes a pixel, once and for each frame", flush=True)
    return counted


def main() -> None:
    logging.disable(logging.WARNING)
    torch.nn.functional.scaled_dot_product_attention = lambda query, *_, **__: torch.empty_like(query)
    torch.autocast = lambda *_, **__: nullcontext()  # type: ignore[assignment, misc]  # it knows of no tensors without data
    about = {"torch": torch.__version__, "diffusers": diffusers.__version__}
    print(json.dumps({**about, "state": transformers(), "decode": vaes()}))


if __name__ == "__main__":
    main()
