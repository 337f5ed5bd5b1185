"""Shot boundaries: the network's parts, the windows over a stream, and cuts in real video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidcausal.errors import WeightsError
from vidcausal.models.shots import (
    FRAME_SIZE,
    DilatedBlock,
    Neighborhood,
    ShotDetector,
    TransNetV2,
    boundary_times,
    color_histograms,
    published_to_ours,
    shot_detector,
)
from vidcausal.video.frames import FrameBatch


def random_frames(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 3, *FRAME_SIZE), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.fixture(scope="module")
def small() -> TransNetV2:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TransNetV2(width=2, hidden=8, similarity=8)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return model.eval()


def published_keys() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published state dict at width 16."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = {(0, 0): 3, (0, 1): 64, (1, 0): 64, (1, 1): 128, (2, 0): 128, (2, 1): 256}
    for (stack, block), channels in inputs.items():
        filters, head = 16 * 2**stack, f"SDDCNN.{stack}.DDCNN.{block}"
        for dilation in (1, 2, 4, 8):
            shapes[f"{head}.Conv3D_{dilation}.layers.0.weight"] = (2 * filters, channels, 1, 3, 3)
            shapes[f"{head}.Conv3D_{dilation}.layers.1.weight"] = (filters, 2 * filters, 3, 1, 1)
        shapes |= {f"{head}.bn.{part}": (4 * filters,) for part in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{head}.bn.num_batches_tracked"] = ()
    linear = {
        "frame_sim_layer.projection": (128, 448),
        "frame_sim_layer.fc": (128, 101),
        "color_hist_layer.fc": (128, 101),
        "fc1": (1024, 4864),
        "cls_layer1": (1, 1024),
        "cls_layer2": (1, 1024),
    }
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def test_the_published_names_fill_the_network_exactly() -> None:
    state = {name: torch.zeros(shape) for name, shape in published_keys().items()}
    TransNetV2().load_state_dict(published_to_ours(state), strict=True)
    with pytest.raises(WeightsError, match="not a parameter"):
        published_to_ours({**state, "fc2.weight": torch.zeros(1)})


@torch.inference_mode()
def test_a_block_equals_separable_3d_convolutions() -> None:
    torch.manual_seed(0)
    channels, filters = 5, 3
    state: dict[str, Tensor] = {}
    for dilation in (1, 2, 4, 8):
        state[f"SDDCNN.0.DDCNN.0.Conv3D_{dilation}.layers.0.weight"] = torch.randn(2 * filters, channels, 1, 3, 3)
        state[f"SDDCNN.0.DDCNN.0.Conv3D_{dilation}.layers.1.weight"] = torch.randn(filters, 2 * filters, 3, 1, 1)
    block = DilatedBlock(channels, filters).eval()
    mapped = {key.removeprefix("stacks.0.first."): value for key, value in published_to_ours(state).items()}
    block.load_state_dict(mapped, strict=False)
    x = torch.randn(2, 20, channels, 9, 7)
    parts = []
    for dilation in (1, 2, 4, 8):
        y = functional.conv3d(
            x.transpose(1, 2), state[f"SDDCNN.0.DDCNN.0.Conv3D_{dilation}.layers.0.weight"], padding=(0, 1, 1)
        )
        weight = state[f"SDDCNN.0.DDCNN.0.Conv3D_{dilation}.layers.1.weight"]
        parts.append(functional.conv3d(y, weight, padding=(dilation, 0, 0), dilation=(dilation, 1, 1)))
    expected = torch.cat(parts, dim=1).transpose(1, 2) / np.sqrt(1 + 1e-3)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_histograms_count_colors() -> None:
    frames = torch.zeros(1, 2, 3, *FRAME_SIZE, dtype=torch.uint8)
    frames[0, 1, 0] = 255  # red
    frames[0, 1, 0, 0, 0] = 0
    histogram = color_histograms(frames)
    assert histogram.shape == (1, 2, 512)
    assert histogram[0, 0].argmax() == 0
    assert histogram[0, 1].argmax() == 7 << 6
    torch.testing.assert_close(histogram.norm(dim=2), torch.ones(1, 2))
    pixels = FRAME_SIZE[0] * FRAME_SIZE[1]
    assert float(histogram[0, 1, 0] / histogram[0, 1, 7 << 6]) == pytest.approx(1 / (pixels - 1))


@torch.inference_mode()
def test_a_frame_sees_its_fifty_neighbors_in_order() -> None:
    near = Neighborhood(101)
    nn.init.eye_(near.embed.weight)
    nn.init.zeros_(near.embed.bias)
    vectors = functional.normalize(torch.rand(1, 120, 4), dim=2)
    out = near(vectors)
    for t in (0, 3, 60, 119):
        for offset in (-50, -1, 0, 1, 50):
            expected = float(vectors[0, t] @ vectors[0, t + offset]) if 0 <= t + offset < 120 else 0.0
            assert float(out[0, t, 50 + offset]) == pytest.approx(expected, abs=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("count", [1, 49, 50, 51, 130, 200])
def test_windows_equal_the_published_padding(small: TransNetV2, count: int) -> None:
    frames = random_frames(count)
    after = 25 + 50 - (count % 50 or 50)
    padded = torch.cat([frames[:1].expand(25, -1, -1, -1), frames, frames[-1:].expand(after, -1, -1, -1)])
    expected = [small(padded[i : i + 100][None])[0][0, 25:75] for i in range(0, len(padded) - 99, 50)]
    want = torch.cat(expected)[:count].sigmoid().numpy()
    detector = ShotDetector(small)
    np.testing.assert_allclose(detector.probabilities(frames), want, atol=1e-6)
    pieces = [frames[:0], *frames.split(37), frames[:0]]
    np.testing.assert_allclose(detector.probabilities(iter(pieces)), want, atol=1e-6)


def test_no_frames_no_boundaries(small: TransNetV2) -> None:
    detector = ShotDetector(small)
    assert detector.probabilities([]).shape == (0,)
    assert detector.boundaries(iter([])) == []


def test_larger_frames_are_resized(small: TransNetV2) -> None:
    flat = torch.full((3, 3, 90, 160), 77, dtype=torch.uint8)
    expected = ShotDetector(small).probabilities(torch.full((3, 3, *FRAME_SIZE), 77, dtype=torch.uint8))
    np.testing.assert_allclose(ShotDetector(small).probabilities(flat), expected, atol=1e-6)


def test_a_boundary_is_the_first_frame_of_the_new_shot() -> None:
    times = [i / 10 for i in range(10)]
    high = np.array([0.9, 0, 0, 0.6, 0, 0.7, 0.8, 0, 0.2, 0.9], dtype=np.float32)
    assert boundary_times(high, times) == [0.1, 0.4, 0.7]
    assert boundary_times(high, times, threshold=0.65) == [0.1, 0.7]


@pytest.mark.weights("transnetv2")
def test_hard_cuts_between_drawn_shots_are_found() -> None:
    generator = torch.Generator().manual_seed(3)
    shots = []
    for _ in range(3):
        big = torch.rand(1, 3, 6, 10, generator=generator)
        scene = functional.interpolate(big, (27, 100), mode="bicubic").clamp(0, 1)[0]
        shots.append(torch.stack([scene[:, :, i : i + 48] for i in range(30)]))  # a slow pan
    data = (torch.cat(shots) * 255).to(torch.uint8)
    times = torch.arange(90, dtype=torch.float64) / 25
    pieces = [FrameBatch(d, p) for d, p in zip(data.split(40), times.split(40), strict=True)]
    assert shot_detector().boundaries(pieces) == pytest.approx([1.2, 2.4])


@pytest.mark.data
@pytest.mark.weights("transnetv2")
def test_the_cut_of_the_city_clip_is_found(shared_data: Path) -> None:
    from vidcausal.video.decode import open_video
    from vidcausal.video.sampling import KeepAll

    frames = open_video(shared_data / "videos" / "city_cc0.mpg").sample(KeepAll(1000), size=FRAME_SIZE)
    (cut,) = shot_detector().boundaries(frames)
    assert cut == pytest.approx(4.64, abs=0.05)  # looked at: one tower left of it, two towers right of it
