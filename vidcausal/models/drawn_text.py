"""Sentences drawn as pictures: CLIP's picture tower reads, and puts written words near what they mean.

(Goh et al. 2021, "Multimodal Neurons in Artificial Neural Networks", section "typographic attacks"; used here on
purpose, because no text tower is at hand.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

SIDE = 224
LARGEST, SMALLEST, STEP = 64, 12, 4
MARGIN, LEADING = 6, 1.15


def draw_texts(texts: Sequence[str]) -> Tensor:
    """Black text on white in Pillow's own font, as large as fits, centered: uint8 ``[n, 3, 224, 224]``."""
    if not texts:
        return torch.zeros((0, 3, SIDE, SIDE), dtype=torch.uint8)
    return torch.stack([_draw(text) for text in texts])


def _draw(text: str) -> Tensor:
    from PIL import Image, ImageDraw, ImageFont

    for size in range(LARGEST, SMALLEST - 1, -STEP):
        font: Any = ImageFont.load_default(size)
        lines = _wrapped(text, font)
        if (
            max(font.getlength(line) for line in lines) <= SIDE - MARGIN
            and len(lines) * size * LEADING <= SIDE - MARGIN
        ):
            break
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(picture)
    top = (SIDE - len(lines) * size * LEADING) / 2
    for row, line in enumerate(lines):
        pen.text(((SIDE - font.getlength(line)) / 2, top + row * size * LEADING), line, font=font, fill="black")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _wrapped(text: str, font: Any) -> list[str]:
    """The text broken at spaces into lines that fit; a single word may stay too long."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > SIDE - 2 * MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
