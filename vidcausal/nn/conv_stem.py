"""A small convolutional tower: pixels to a grid of features, cheap enough to be trained on a CPU.

On small frames with few videos a convolutional stem learns what a patch transformer of the same cost does not
(Xiao et al., Early Convolutions Help Transformers See Better, arXiv 2106.14881, for the stem of a ViT).

Letters: t frames, p cells, d width, H and W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STRIDE = 8
"""Pixels a side that become one cell."""


class ConvStem(nn.Module):
    """Pixels ``[t, 3, H, W]`` to features ``[t, p, d]`` of cells of 8 x 8 pixels, positions added.

    The first step moves 4 x 4 pixels into channels, so that every convolution is a dense one. With ``looks_back`` the
    pixels are those of :func:`with_differences`, so a cell also knows what has just changed in it.

    Args:
        width: d.
        image_size: side of the square frames; fixes the table of positions.
        stem_width: channels at a quarter of the resolution.
        num_blocks: residual blocks at an eighth of the resolution.
        looks_back: pixels come with their difference from the frame before.

    Raises:
        ValueError: a side that is no multiple of 8.
    """

    def __init__(
        self,
        width: int = 128,
        *,
        image_size: int = 64,
        stem_width: int = 64,
        num_blocks: int = 2,
        looks_back: bool = False,
    ) -> None:
        super().__init__()
        if image_size < STRIDE or image_size % STRIDE:
            raise ValueError(f"image_size must be a positive multiple of {STRIDE}, got {image_size}")
        self.dim, self.image_size, self.looks_back = width, image_size, looks_back
        self.channels = 6 if looks_back else 3
        self.stem = nn.Conv2d(self.channels * 16, stem_width, 3, padding=1)
        self.down = nn.Conv2d(stem_width, width, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(ConvBlock(width) for _ in range(num_blocks))
        self.positions = nn.Parameter(nn.init.trunc_normal_(nn.Parameter(_cells(image_size, width)), std=0.02))

    def num_patches(self, size: tuple[int, int]) -> int:
        """Cells of a frame of ``(height, width)`` pixels."""
        return (size[0] // STRIDE) * (size[1] // STRIDE)

    def forward(self, pixels: Tensor) -> Tensor:
        """``[t, 3, H, W] -> [t, p, d]``; ``[t, 6, H, W]`` with ``looks_back``.

        Raises:
            ValueError: frames of another size than ``image_size``.
        """
        wanted = (self.channels, self.image_size, self.image_size)
        if tuple(pixels.shape[1:]) != wanted:
            raise ValueError(f"pixels must be [t, {', '.join(map(str, wanted))}], got {list(pixels.shape)}")
        x = nn.functional.gelu(self.stem(nn.functional.pixel_unshuffle(pixels, 4)))
        x = nn.functional.gelu(self.down(x))
        for block in self.blocks:
            x = block(x)
        return x.flatten(2).transpose(1, 2) + self.positions


def with_differences(pixels: Tensor, before: Tensor | None = None) -> Tensor:
    """Pixels joined with what changed since the frame before: ``[..., t, 3, H, W] -> [..., t, 6, H, W]``.

    A frame knows itself and its predecessor only, so what is made of it stays causal.

    Args:
        pixels: frames in time order.
        before: ``[..., 1, 3, H, W]``, the frame before the first; None: nothing has changed in the first frame.
    """
    earlier = torch.cat([pixels[..., :1, :, :, :] if before is None else before, pixels[..., :-1, :, :, :]], dim=-4)
    return torch.cat([pixels, pixels - earlier], dim=-3)


class ConvBlock(nn.Module):
    """Group norm, a 3 x 3 and a 1 x 1 convolution around a nonlinearity, and the way past them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.spatial = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.mix.weight)
        if self.mix.bias is not None:
            nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``[t, d, h, w]`` to the same shape."""
        out: Tensor = x + self.mix(nn.functional.gelu(self.spatial(self.norm(x))))
        return out


def _cells(image_size: int, width: int) -> Tensor:
    return torch.empty((image_size // STRIDE) ** 2, width)
