"""The native video transformer, in PyTorch: to train it, and to run it on a GPU.

    pixels -> convolutional stem -> spacetime tokens -> transformer -> convolutional head -> clean pixels

Stem and head are the two sides of a U (Ronneberger et al. 2015, arXiv:1505.04597): the head also sees the noisy pixels and
the stem's features, so that shapes are the convolutions' work and the transformer is left with what is where, and how it
moves. Text is read by joint attention: the video's tokens attend to
one another and to the text encoder's token states in the same softmax. Every latent frame has its own noise level
(diffusion forcing, Chen et al. 2024, arXiv:2407.01392). The network predicts the clean video (x-prediction).

Axes: b batch, c channels, t latent frames, h and w pixels, n = t * (h/16) * (w/16) tokens, l text tokens, d width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unstrung.models.native.config import CHANNELS, PATCH, NativeConfig
from unstrung.models.native.positions import PLACE_FEATURES, places, rotary

MASKED = -1e4
Skips = tuple[Tensor, Tensor, Tensor]  # noisy pixels and features at half the size, features at a quarter


def rms_norm(x: Tensor) -> Tensor:
    """Scale vectors to a root mean square of one."""
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of channels by the angles of their tokens: x (b heads n 64), cos and sin (n 32)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attend: q (b heads n 64) to k and v (b heads l+n 64), with a bias on what is attended to (b 1 1 l+n)."""
    if not q.is_cpu:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    # for so few tokens, PyTorch's own takes two to three times as long on a CPU, forward and backward
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias, dim=-1) @ v


def noise_features(sigma: Tensor, size: int = 256) -> Tensor:
    """Return sinusoids of the noise level, (..., size)."""
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(size // 2, device=sigma.device) / (size // 2))
    angles = 1000.0 * sigma[..., None].float() * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class Block(nn.Module):
    """Joint attention over video and text, then a SwiGLU; both scaled, shifted and gated by noise level and text."""

    def __init__(self, c: NativeConfig) -> None:
        super().__init__()
        self.heads = c.heads
        self.qkv = nn.Linear(c.width, 3 * c.width, bias=False)
        self.text_kv = nn.Linear(c.width, 2 * c.width, bias=False)
        self.out = nn.Linear(c.width, c.width, bias=False)
        self.gate_up = nn.Linear(c.width, 2 * c.hidden, bias=False)
        self.down = nn.Linear(c.hidden, c.width, bias=False)
        self.table = nn.Parameter(torch.zeros(6, c.width))
        self.sharpness = nn.Parameter(torch.full((c.heads, 1, 1), 1.5))

    def forward(self, x: Tensor, mod: Tensor, text: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Take video tokens (b t s d), modulation (b t 6 d), text (b l d), attention bias and angles; give tokens."""
        b, t, s, d = x.shape
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (mod + self.table).unsqueeze(3).unbind(2)  # b t 1 d
        h = rms_norm(x) * (1 + scale_a) + shift_a  # b t s d
        q, k, v = self.qkv(h).view(b, t * s, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # b heads n 64
        text_k, text_v = self.text_kv(text).view(b, -1, 2, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, text_k = rotate(rms_norm(q) * self.sharpness, cos, sin), rotate(rms_norm(k), cos, sin), rms_norm(text_k)
        k, v = torch.cat((text_k, k), dim=2), torch.cat((text_v, v), dim=2)  # b heads l+n 64
        h = attend(q, k.to(q.dtype), v, bias)  # b heads n 64
        x = x + gate_a * self.out(h.transpose(1, 2).reshape(b, t, s, d))
        h = rms_norm(x) * (1 + scale_m) + shift_m
        gate, up = self.gate_up(h).chunk(2, dim=-1)
        out: Tensor = x + gate_m * self.down(F.silu(gate) * up)
        return out


class Refine(nn.Module):
    """Two convolutions and a way past them, scaled and shifted by noise level and text: finish what is nearly right."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.film = nn.Linear(width, 2 * channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, y: Tensor, cond: Tensor) -> Tensor:
        """Take features (bt c h w) and what they hear of noise and text (b t d); give features."""
        scale, shift = self.film(cond).flatten(0, 1)[..., None, None].chunk(2, dim=1)
        out: Tensor = y + self.last(F.silu(self.first(F.silu(y)) * (1 + scale) + shift))
        return out


class Below(nn.Module):
    """Refine features at half their size, where a convolution sees four times as much: fold, refine; unfold and add."""

    def __init__(self, channels: int, inner: int, width: int, refined: int) -> None:
        super().__init__()
        self.fold = nn.Conv2d(4 * channels, inner, 1)
        self.refine = nn.ModuleList(Refine(inner, width) for _ in range(refined))
        self.unfold = nn.Conv2d(inner, 4 * channels, 1)

    def forward(self, y: Tensor, cond: Tensor) -> Tensor:
        """Take features (bt c h w) and what they hear of noise and text (b t d); give what is seen below (bt inner h/2 w/2)."""
        below = self.fold(F.pixel_unshuffle(y, 2))
        for refine in self.refine:
            below = refine(below, cond)
        return F.silu(below)

    def join(self, y: Tensor, below: Tensor) -> Tensor:
        """Bring what was seen below back to the features (bt c h w)."""
        return y + F.pixel_shuffle(self.unfold(below), 2)


class NativeModel(nn.Module):
    """The whole network: noisy video, noise levels and text in, clean video out."""

    def __init__(self, config: NativeConfig) -> None:
        super().__init__()
        self.config = c = config
        self.stem_half = nn.Conv2d(4 * CHANNELS, c.half // 2, 3, padding=1)
        self.stem_quarter = nn.Conv2d(2 * c.half, c.quarter, 3, padding=1)
        self.stem_refine = Refine(c.quarter, c.width)
        self.stem_below = Below(c.quarter, c.eighth, c.width, c.refined)
        self.stem_out = nn.Linear(16 * c.quarter, c.width)
        self.place = nn.Linear(PLACE_FEATURES, c.width)
        self.text_in = nn.Linear(c.text_width, c.width)
        self.text_pool = nn.Linear(c.text_width, c.width)
        self.noise_in = nn.Linear(256, c.width)
        self.noise_out = nn.Linear(c.width, c.width)
        self.modulation = nn.Linear(c.width, 6 * c.width)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.depth))
        self.last_modulation = nn.Linear(c.width, 2 * c.width)
        self.head_in = nn.Linear(c.width, 16 * c.quarter)
        self.film = nn.Linear(c.width, 2 * (c.quarter + c.half))
        self.head_quarter = nn.Conv2d(2 * c.quarter, c.quarter, 3, padding=1)
        self.below_quarter = Below(c.quarter, c.eighth, c.width, c.refined)
        self.refine_quarter = Refine(c.quarter, c.width)
        self.head_up = nn.Conv2d(c.quarter, 2 * c.half, 3, padding=1)
        self.head_half = nn.Conv2d(c.half + 4 * CHANNELS, c.half, 3, padding=1)
        self.refine_half = Refine(c.half, c.width)
        self.head_out = nn.Conv2d(c.half, 4 * CHANNELS, 3, padding=1)
        self.initialize_weights()

    def initialize_weights(self) -> None:
        """Draw all weights: width-scaled normal matrices, quiet modulation, gates that start at a tenth."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Refine):  # a way past and nothing else, at first
                nn.init.zeros_(module.film.weight)
                nn.init.zeros_(module.last.weight)
        for layer in (self.modulation, self.last_modulation, self.film, self.stem_below.unfold, self.below_quarter.unfold):
            nn.init.zeros_(layer.weight)
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.constant_(block.table[2], 0.1)
            nn.init.constant_(block.table[5], 0.1)

    def forward(self, x: Tensor, sigma: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Predict the clean video.

        x (b c t h w) in -1..1 plus noise; sigma (b t) from 0 clean to 1 noise; text (b l 384) and its mask (b l).
        """
        tokens, cond, skips = self.body(x, sigma, text, text_mask)
        y, below = self.draft(tokens, cond, skips[2], x.shape[3] // PATCH, x.shape[4] // PATCH)
        video: Tensor = self.finish(y, below, cond, skips).unflatten(0, sigma.shape).transpose(1, 2)  # b c t h w
        return video

    def body(self, x: Tensor, sigma: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor, Skips]:
        """Say what is where: tokens (b t s d), what they heard of noise and text (b t d), and the stem's features."""
        t, h, w = x.shape[2], x.shape[3] // PATCH, x.shape[4] // PATCH
        cos, sin = (torch.from_numpy(a).to(x.device) for a in rotary(t, h, w, self.config.head_width))  # n 32
        bias = (1 - text_mask.float()) * MASKED  # b l
        bias = F.pad(bias, (0, t * h * w))[:, None, None]  # b 1 1 l+n

        cond = self.condition(sigma, text, text_mask)  # b t d
        mod = self.modulation(cond).unflatten(-1, (6, -1))  # b t 6 d
        text = rms_norm(self.text_in(text))  # b l d
        tokens, skips = self.stem(x, cond)  # b t s d
        tokens = tokens + self.place(torch.from_numpy(places(h, w)).to(x.device))
        for block in self.blocks:
            tokens = block(tokens, mod, text, bias.to(tokens.dtype), cos, sin)
        return tokens, cond, skips

    def condition(self, sigma: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Join noise levels and the mean of the text into one vector a latent frame, (b t d)."""
        pooled = (text * text_mask[..., None]).sum(1) / text_mask.sum(1, keepdim=True)  # b 384
        noise = self.noise_out(F.silu(self.noise_in(noise_features(sigma))))  # b t d
        return F.silu(noise + self.text_pool(pooled)[:, None])

    def stem(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Skips]:
        """Turn pixels into tokens (b t s d), and keep the features on the way for the head."""
        b, _, t, _, _ = x.shape
        half = F.pixel_unshuffle(x.transpose(1, 2).flatten(0, 1), 2)  # bt 4c h/2 w/2
        half = half.contiguous(memory_format=torch.channels_last)  # convolutions are a tenth faster so
        near = F.silu(self.stem_half(half))  # bt half/2 h/2 w/2
        quarter = F.silu(self.stem_quarter(F.pixel_unshuffle(near, 2)))  # bt q h/4 w/4
        quarter = self.stem_refine(quarter, cond)
        quarter = self.stem_below.join(quarter, self.stem_below(quarter, cond))
        patches = F.pixel_unshuffle(quarter, 4).flatten(2).transpose(1, 2)  # bt s 16q
        return self.stem_out(patches).unflatten(0, (b, t)), (half, near, quarter)

    def draft(self, tokens: Tensor, cond: Tensor, quarter: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
        """Turn tokens into features at a quarter (bt q h/4 w/4) and at an eighth of the size (bt e h/8 w/8)."""
        shift, scale = self.last_modulation(cond).unsqueeze(2).chunk(2, dim=-1)  # b t 1 d
        film = self.film(cond).flatten(0, 1)[..., None, None]  # bt 2q+2half 1 1
        scale_q, shift_q = film[:, : 2 * self.config.quarter].chunk(2, dim=1)
        y = self.head_in(rms_norm(tokens) * (1 + scale) + shift)  # b t s 16q
        y = y.flatten(0, 1).transpose(1, 2).unflatten(2, (h, w))  # bt 16q h/16 w/16
        y = y.contiguous(memory_format=torch.channels_last)
        y = torch.cat((F.pixel_shuffle(y, 4), quarter), dim=1)  # bt 2q h/4 w/4
        y = F.silu(self.head_quarter(y) * (1 + scale_q) + shift_q)
        return y, self.below_quarter(y, cond)

    def finish(self, y: Tensor, below: Tensor, cond: Tensor, skips: Skips) -> Tensor:
        """Turn features at a quarter and at an eighth of the size, and the stem's, into clean pixels (bt c h w)."""
        half, near, _ = skips
        film = self.film(cond).flatten(0, 1)[..., None, None]  # bt 2q+2half 1 1
        scale_h, shift_h = film[:, 2 * self.config.quarter :].chunk(2, dim=1)
        y = self.refine_quarter(self.below_quarter.join(y, below), cond)
        y = F.pixel_shuffle(F.silu(self.head_up(y)), 2)  # bt half/2 h/2 w/2
        y = F.silu(self.head_half(torch.cat((y, near, half.to(y.dtype)), dim=1)) * (1 + scale_h) + shift_h)
        y = self.refine_half(y, cond)
        return F.pixel_shuffle(self.head_out(y), 2)
