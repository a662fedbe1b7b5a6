"""The film network, in PyTorch: from two small neighbouring pictures to one large picture between them.

It enlarges by four and fills in time at once: given frames a and b and a share from 0 (a) to 1 (b), it draws the picture
at that share. A small U-Net over the small pictures, whose last channels are unfolded into pixels; what it adds is laid
over the plain mix of the two. Trained on the toy world at both sizes (`train/detail.py`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALE = 4
WIDTHS = (48, 64, 96)  # channels at full, half and quarter size


class DetailNet(nn.Module):
    """A U-Net of three sizes; 1 M parameters."""

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        full, half, quarter = widths
        self.enter = nn.Conv2d(7, full, 3, padding=1)
        self.down_half = nn.Conv2d(4 * full, half, 3, padding=1)
        self.down_quarter = nn.Conv2d(4 * half, quarter, 3, padding=1)
        self.middle_in = nn.Conv2d(quarter, quarter, 3, padding=1)
        self.middle_out = nn.Conv2d(quarter, quarter, 3, padding=1)
        self.up_half = nn.Conv2d(quarter, 4 * half, 3, padding=1)
        self.join_half = nn.Conv2d(2 * half, half, 3, padding=1)
        self.up_full = nn.Conv2d(half, 4 * full, 3, padding=1)
        self.join_full = nn.Conv2d(2 * full, full, 3, padding=1)
        self.leave = nn.Conv2d(full, 3 * SCALE * SCALE, 3, padding=1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, a: Tensor, b: Tensor, share: Tensor) -> Tensor:
        """Draw the picture between a and b (n 3 h w, -1..1) at `share` (n): (n 3 4h 4w)."""
        time = share[:, None, None, None].expand(-1, 1, *a.shape[2:])
        full = F.silu(self.enter(torch.cat((a, b, time), dim=1)))  # n 48 h w
        half = F.silu(self.down_half(F.pixel_unshuffle(full, 2)))  # n 64 h/2 w/2
        quarter = F.silu(self.down_quarter(F.pixel_unshuffle(half, 2)))  # n 96 h/4 w/4
        quarter = quarter + self.middle_out(F.silu(self.middle_in(quarter)))
        up = F.pixel_shuffle(self.up_half(quarter), 2)
        half = F.silu(self.join_half(torch.cat((up, half), dim=1)))
        up = F.pixel_shuffle(self.up_full(half), 2)
        full = F.silu(self.join_full(torch.cat((up, full), dim=1)))
        mix = a * (1 - time) + b * time
        # every channel 16 times, which unfolds into a plain enlargement
        added: Tensor = self.leave(full) + mix.repeat_interleave(SCALE * SCALE, dim=1)
        return F.pixel_shuffle(added, SCALE)
