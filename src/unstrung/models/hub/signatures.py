"""By what the LoRAs of each family are known: the names of the layers that they change, as data.

Whether a LoRA fits is decided by the loaded model's own layers; these say whose it is where it does not fit. Names are matched
with `_` for every dot, for some trainers write them so. A family that has no row here works, and is only never named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Signature:
    """A kind of transformer: what its LoRAs' layers are called, by regular expressions.

    `dotted` gives the publisher's own names their dots back, where a trainer has written `_` for them.
    """

    name: str
    families: tuple[str, ...]  # by the ids in families.py; none where Unstrung does not run them
    has: str  # any layer's name matches
    lacks: str | None = None  # and none matches this
    dotted: tuple[tuple[str, str], ...] = ()


_ATTENTION = r"^transformer_blocks_\d+_attn1_(to_[qkv]|to_out_0)$"
_WITH_TEXT = r"_attn1_(add|to_add)_|_ff_context_"  # words and pictures attended to together, each with weights of its own
SIGNATURES = (
    Signature(
        "wan", ("wan", "wan-5b", "wan-vace"),
        has=r"^(vace_)?blocks_\d+_((self|cross)_attn_(q|k|v|o)(_img)?|attn[12]_(to_[qkv]|to_out_0)|ffn_(0|2|net_0_proj|net_2))$",
        dotted=(
            (r"blocks_(\d+)_(self_attn|cross_attn|ffn)_(\w+)", r"blocks.\1.\2.\3"),
            (r"(time_projection|time_embedding|text_embedding)_(\d)", r"\1.\2"),
            (r"img_emb_proj_(\d)", r"img_emb.proj.\1"),
            (r"head_head", r"head.head"),
        ),
    ),
    Signature("cogvideox", ("cogvideox", "cogvideox-1.5"), has=_ATTENTION, lacks=rf"_attn2_|{_WITH_TEXT}|audio"),
    Signature("ltx", ("ltx", "ltx-0.9.5"), has=rf"{_ATTENTION}|^transformer_blocks_\d+_attn2_", lacks=rf"{_WITH_TEXT}|audio"),
    Signature("ltx-2", (), has=r"^transformer_blocks_\d+_audio_"),
    Signature("mochi", ("mochi",), has=rf"{_ATTENTION}|^blocks_\d+_attn_(qkv|proj)_[xy]$", lacks=r"_attn2_|audio"),
    Signature(
        "hunyuan-video", (), lacks=r"_mlp_[02]$",
        has=r"^(double|single)_blocks_\d+_((img|txt)_attn_|(img|txt)_mlp_fc|linear[12]$)",
    ),
    Signature(
        "flux", (),
        has=r"^(double_blocks_\d+_(img|txt)_mlp_[02]|single_transformer_blocks_\d+_(attn_to_[qkv]|proj_mlp|proj_out))$",
    ),
    Signature("stable-diffusion", (), has=r"^(down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)_"),
)  # fmt: skip


def whose(layers: Iterable[str]) -> tuple[Signature, ...]:
    """Return the kinds of transformer that a LoRA may be for, by the names of the layers that it changes."""
    names = [layer.replace(".", "_") for layer in layers]
    return tuple(
        one
        for one in SIGNATURES
        if any(re.search(one.has, name) for name in names)
        and not (one.lacks and any(re.search(one.lacks, name) for name in names))
    )


def dotted(name: str) -> str:
    """Return a layer's name with the dots that its publisher writes, where these are known."""
    for one in SIGNATURES:
        for pattern, written in one.dotted:
            if match := re.fullmatch(pattern, name):
                return match.expand(written)
    return name
