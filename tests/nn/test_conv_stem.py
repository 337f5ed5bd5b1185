from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vidcausal.errors import ConfigError
from vidcausal.models.encoders import VisionEncoder, encoder
from vidcausal.models.preprocessing import Preprocessing
from vidcausal.nn.conv_stem import ConvStem, with_differences
from vidcausal.video.frames import FrameBatch


def pixels(count: int = 5, size: int = 16, *, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def stem(*, looks_back: bool = True, seed: int = 0) -> ConvStem:
    """Random in every weight: blocks begin as the identity, which would hide what they do."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = ConvStem(16, image_size=16, stem_width=16, num_blocks=2, looks_back=looks_back)
        for block in made.blocks:
            nn.init.normal_(block.mix.weight, std=0.3)  # type: ignore[arg-type,union-attr]
    return made.eval()


@pytest.mark.parametrize("looks_back", [False, True])
@torch.no_grad()
def test_a_cell_for_every_8_by_8_pixels(looks_back: bool) -> None:
    tower = ConvStem(24, image_size=32, stem_width=16, num_blocks=1, looks_back=looks_back)
    out = tower(pixels(3, 32, channels=6 if looks_back else 3))
    assert out.shape == (3, 16, 24)
    assert tower.num_patches((32, 32)) == 16
    assert torch.isfinite(out).all()


@torch.no_grad()
def test_cells_are_in_reading_order() -> None:
    tower = ConvStem(16, image_size=32, stem_width=16, num_blocks=0)
    before = pixels(1, 32)
    after = before.clone()
    after[:, :, :8, 24:] += 3.0  # the upper right cell of 4 x 4
    moved = (tower(after) - tower(before)).abs().sum(-1)[0]
    assert moved[3] > 0
    assert set(moved.nonzero().flatten().tolist()) <= {2, 3, 6, 7}


@torch.no_grad()
def test_the_place_of_a_cell_is_told() -> None:
    same = torch.zeros(1, 3, 16, 16)
    out = stem(looks_back=False)(same)[0]
    assert not torch.allclose(out[0], out[3])


@pytest.mark.parametrize("size", [0, 7, 12])
def test_sides_that_do_not_fit_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        ConvStem(16, image_size=size)
    with pytest.raises(ConfigError, match="multiple of 8"):
        encoder({"width": 16, "image_size": size}, library="conv")


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[t, 6, 16, 16\], got \[2, 3, 16, 16\]"):
        stem()(pixels(2))
    with pytest.raises(ValueError, match="pixels must be"):
        stem(looks_back=False)(pixels(2, 24))


# ---- what changed since the frame before ------------------------------------------------------------------------


def test_the_difference_is_to_the_frame_before_and_none_for_the_first() -> None:
    frames = pixels(4)
    both = with_differences(frames)
    assert both.shape == (4, 6, 16, 16)
    assert torch.equal(both[:, :3], frames)
    assert torch.equal(both[0, 3:], torch.zeros(3, 16, 16))
    for number in range(1, 4):
        assert torch.equal(both[number, 3:], frames[number] - frames[number - 1])


def test_a_frame_before_the_first_may_be_given() -> None:
    frames = pixels(5)
    assert torch.equal(with_differences(frames[2:], frames[1:2]), with_differences(frames)[2:])


def test_videos_of_a_batch_do_not_mix() -> None:
    one, other = pixels(3, seed=1), pixels(3, seed=2)
    both = with_differences(torch.stack([one, other]))
    assert torch.equal(both[0], with_differences(one))
    assert torch.equal(both[1], with_differences(other))


@pytest.mark.parametrize("changed", [1, 2, 4])
@torch.no_grad()
def test_a_change_of_a_frame_moves_nothing_before_it(changed: int) -> None:
    tower, frames = stem(), pixels(5)
    other = frames.clone()
    other[changed] += 1.0
    before, after = tower(with_differences(frames)), tower(with_differences(other))
    assert torch.equal(before[:changed], after[:changed])
    assert not torch.allclose(before[changed], after[changed])
    if changed + 1 < len(frames):  # the next frame knows its predecessor, the one after that does not
        assert not torch.allclose(before[changed + 1], after[changed + 1])
        assert torch.equal(before[changed + 2 :], after[changed + 2 :])


# ---- in batches -------------------------------------------------------------------------------------------------


class Sums(nn.Module):
    """A tower whose features are sums over blocks of pixels, each frame worked out by itself."""

    dim, looks_back = 6, True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def num_patches(self, size: tuple[int, int]) -> int:
        return 1

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.stack([(frame * self.scale).sum((-2, -1))[None] for frame in pixels])


def video(count: int = 7) -> FrameBatch:
    data = torch.randint(0, 256, (count, 3, 24, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return FrameBatch(data, torch.arange(count).double())


@pytest.mark.parametrize("size", [1, 2, 3, 6, 8])
def test_batches_of_any_size_show_the_tower_the_same_pixels_to_the_bit(size: int) -> None:
    whole = VisionEncoder(Sums(), Preprocessing((16, 16)), batch_size=100).encode(video())
    assert torch.equal(VisionEncoder(Sums(), Preprocessing((16, 16)), batch_size=size).encode(video()), whole)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 8])
def test_batches_of_any_size_give_the_same_features(size: int) -> None:
    arguments = {"width": 16, "image_size": 16, "stem_width": 16, "num_blocks": 1, "looks_back": True}
    whole = encoder(arguments, library="conv", batch_size=100).encode(video())
    parts = encoder(arguments, library="conv", batch_size=size)
    # Convolutions over fewer frames may add in another order.
    torch.testing.assert_close(parts.encode(video()), whole, rtol=0, atol=1e-5)
    assert [len(part) for part in parts.batches(video())] == [len(c) for c in torch.arange(7).split(size)]


def test_the_encoder_says_whether_it_looks_back() -> None:
    arguments = {"width": 16, "image_size": 16, "stem_width": 16, "num_blocks": 1}
    assert not encoder(arguments, library="conv").looks_back
    built = encoder({**arguments, "looks_back": True}, library="conv")
    assert built.looks_back
    assert built.random_weights
    assert built.num_patches == 4
    assert built.preprocessing.size == (16, 16)
    assert built.spec is not None
    assert built.spec["model"] == {**arguments, "looks_back": True}


def test_a_conv_encoder_takes_sizes_only() -> None:
    for wrong, named in (("a-name", {}), ({"width": 16, "colour": 3}, {}), ({"width": 16}, {"weights": "x"})):
        with pytest.raises(ConfigError, match="conv encoder"):
            encoder(wrong, library="conv", **named)
