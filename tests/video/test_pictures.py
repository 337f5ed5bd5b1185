from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from vidcausal.video.pictures import encode_jpeg, resize


def test_resized_pictures_keep_their_colors_and_their_type() -> None:
    flat = torch.tensor([10, 128, 255], dtype=torch.uint8)[None, :, None, None].expand(2, 3, 40, 60)
    small = resize(flat, (7, 9))
    assert small.shape == (2, 3, 7, 9)
    assert small.dtype == torch.uint8
    assert torch.equal(small, flat[:, :, :7, :9])
    assert resize(flat, (40, 60)) is flat


@pytest.mark.parametrize(
    ("box", "size"), [((20, 1000), (40, 20)), ((1000, 20), (20, 10)), ((30, 30), (30, 15)), ((500, 500), (80, 40))]
)
def test_a_jpeg_fits_its_box_and_is_never_enlarged(box: tuple[int, int], size: tuple[int, int]) -> None:
    picture = torch.zeros(3, 40, 80, dtype=torch.uint8)
    picture[0] = 200
    image = Image.open(io.BytesIO(encode_jpeg(picture, box, quality=90)))
    assert (image.format, image.size) == ("JPEG", size)
    assert np.abs(np.asarray(image, dtype=int) - [200, 0, 0]).max() <= 4
