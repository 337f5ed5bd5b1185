"""Pictures after decoding: resized where they are, or small enough to show and to send.

Letters: n pictures, h height, w width.
"""

from __future__ import annotations

import io

import torch
from torch import Tensor
from torch.nn import functional


def resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures ``[n, 3, h, w]`` of height and width ``size``: bilinear, antialiased, rounded to whole levels.

    Computed in float32 on the device of the pictures, uint8 in and out.
    """
    if tuple(pictures.shape[-2:]) == size:
        return pictures
    resized = functional.interpolate(pictures.float(), size=size, mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def encode_jpeg(picture: Tensor, box: tuple[int, int], quality: int) -> bytes:
    """A picture as JPEG, scaled down to fit a box; the aspect is kept, and a small picture stays as it is.

    Args:
        picture: uint8 RGB ``[3, h, w]``.
        box: greatest height and width.
        quality: 1 to 95.
    """
    from PIL import Image

    image = Image.fromarray(picture.permute(1, 2, 0).cpu().numpy())
    image.thumbnail(box[::-1], Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=quality)
    return out.getvalue()
