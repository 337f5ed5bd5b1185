"""Where one shot ends and the next begins: TransNetV2 in plain torch.

Souček and Lokoč, "TransNet V2: An effective deep network architecture for fast shot transition detection", 2020
(arXiv:2008.04838). Three stacks of dilated convolutions over 48 x 27 pixel frames, a branch that compares every frame
with its 50 neighbors on both sides by learned features, and one that does so by color histograms.

Letters: b batch, t frames, c channels, h height, w width, n neighbors (101).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vidcausal.cache import digest
from vidcausal.errors import WeightsError
from vidcausal.models.weights.resolver import resolve
from vidcausal.video.frames import FrameBatch
from vidcausal.video.pictures import resize

FRAME_SIZE = (27, 48)
"""Height and width that the network reads; ask the decoder for frames of this size."""
_WINDOW, _STRIDE, _MARGIN = 100, 50, 25
_DILATIONS = (1, 2, 4, 8)
_NEIGHBORS = 101
_PART = re.compile(r"SDDCNN\.(\d+)\.DDCNN\.(\d+)\.(?:Conv3D_(\d)\.layers\.([01])|bn)\.(\w+)")


class DilatedBlock(nn.Module):
    """Four separable 3-d convolutions of time dilation 1, 2, 4 and 8, side by side, and batch normalization.

    The four spatial halves read one input, so they are one convolution of four times the channels.
    """

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, 8 * filters, 3, padding=1, bias=False)
        self.temporal = nn.ModuleList(
            nn.Conv2d(2 * filters, filters, (3, 1), padding=(d, 0), dilation=(d, 1), bias=False) for d in _DILATIONS
        )
        self.norm = nn.BatchNorm2d(4 * filters, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, t, c, h, w]`` to ``[b, t, 4 filters, h, w]``."""
        b, t, _, h, w = x.shape
        y = self.spatial(x.flatten(0, 1)).reshape(b, t, -1, h * w).transpose(1, 2)  # [b, 8 filters, t, h*w]
        parts = [conv(part) for conv, part in zip(self.temporal, y.chunk(len(_DILATIONS), dim=1), strict=True)]
        y = self.norm(torch.cat(parts, dim=1))
        return cast(Tensor, y.transpose(1, 2).reshape(b, t, -1, h, w))


class DilatedStack(nn.Module):
    """Two dilated blocks with a shortcut around the second, then halved height and width."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.first = DilatedBlock(channels, filters)
        self.second = DilatedBlock(4 * filters, filters)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, t, c, h, w]`` to ``[b, t, 4 filters, h // 2, w // 2]``."""
        shortcut = functional.relu(self.first(x))
        y = functional.relu(self.second(shortcut)) + shortcut
        pooled = functional.avg_pool2d(y.flatten(0, 1), 2)
        return pooled.reshape(*y.shape[:2], *pooled.shape[1:])


class Neighborhood(nn.Module):
    """Similarity of each frame's unit vector with its 50 neighbors before and after, embedded."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(_NEIGHBORS, width)

    def forward(self, vectors: Tensor) -> Tensor:
        """Unit vectors ``[b, t, d]`` to ``[b, t, width]``."""
        similar = functional.pad(vectors @ vectors.transpose(1, 2), (_NEIGHBORS // 2, _NEIGHBORS // 2))  # [b, t, t+n-1]
        t = vectors.shape[1]
        index = torch.arange(t, device=vectors.device)[:, None] + torch.arange(_NEIGHBORS, device=vectors.device)
        near = similar.gather(2, index.expand(len(similar), -1, -1))  # [b, t, n]
        return functional.relu(self.embed(near))


class TransNetV2(nn.Module):
    """Log-odds, frame by frame, that a shot ends there. ``width`` 16 is the published size."""

    def __init__(self, width: int = 16, hidden: int = 1024, similarity: int = 128) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        inputs = [3, 4 * widths[0], 4 * widths[1]]
        self.stacks = nn.ModuleList(DilatedStack(c, f) for c, f in zip(inputs, widths, strict=True))
        self.project = nn.Linear(4 * sum(widths), similarity)
        self.by_features = Neighborhood(similarity)
        self.by_colors = Neighborhood(similarity)
        pooled = (FRAME_SIZE[0] // 8) * (FRAME_SIZE[1] // 8)
        self.hidden = nn.Linear(4 * widths[-1] * pooled + 2 * similarity, hidden)
        self.single = nn.Linear(hidden, 1)
        self.many = nn.Linear(hidden, 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds of the middle of a transition and of any frame of it.

        Args:
            frames: RGB, uint8 ``[b, t, 3, 27, 48]``.

        Returns:
            Two float tensors ``[b, t]``.
        """
        x = frames.float() / 255
        means = []
        for stack in self.stacks:
            x = stack(x)
            means.append(x.mean(dim=(3, 4)))
        vectors = functional.normalize(self.project(torch.cat(means, dim=2)), dim=2)
        # The published flattening runs over height, width and then channels.
        x = x.permute(0, 1, 3, 4, 2).flatten(2)
        x = torch.cat([self.by_colors(color_histograms(frames)), self.by_features(vectors), x], dim=2)
        x = functional.relu(self.hidden(x))
        return self.single(x)[..., 0], self.many(x)[..., 0]


def color_histograms(frames: Tensor) -> Tensor:
    """Unit histograms of 8 x 8 x 8 colors, ``[b, t, 512]``, of uint8 frames ``[b, t, 3, h, w]``."""
    r, g, b = (frames >> 5).long().unbind(2)
    bins = ((r << 6) + (g << 3) + b).flatten(2)
    counts = torch.zeros(*bins.shape[:2], 512, device=frames.device)
    counts.scatter_add_(2, bins, torch.ones_like(bins, dtype=counts.dtype))
    return functional.normalize(counts, dim=2)


def published_to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published state dict (soCzech/TransNetV2, inference-pytorch) under the names of :class:`TransNetV2`.

    Raises:
        WeightsError: a key that the published network does not have.
    """
    names = {
        "frame_sim_layer.projection": "project",
        "frame_sim_layer.fc": "by_features.embed",
        "color_hist_layer.fc": "by_colors.embed",
        "fc1": "hidden",
        "cls_layer1": "single",
        "cls_layer2": "many",
    }
    ours: dict[str, Tensor] = {}
    spatial: dict[str, dict[int, Tensor]] = {}
    for key, value in state.items():
        if match := _PART.fullmatch(key):
            block = f"stacks.{match[1]}.{('first', 'second')[int(match[2])]}"
            if match[3] is None:
                ours[f"{block}.norm.{match[5]}"] = value
            elif match[4] == "0":
                spatial.setdefault(f"{block}.spatial.weight", {})[int(match[3])] = value[:, :, 0]
            else:
                ours[f"{block}.temporal.{_DILATIONS.index(int(match[3]))}.weight"] = value[..., 0]
        elif key.rpartition(".")[0] in names:
            head, _, tail = key.rpartition(".")
            ours[f"{names[head]}.{tail}"] = value
        else:
            raise WeightsError(f"{key!r} is not a parameter of TransNetV2")
    for key, parts in spatial.items():
        ours[key] = torch.cat([parts[d] for d in sorted(parts)])
    return ours


class ShotDetector:
    """Finds shot boundaries in frames; see :func:`shot_detector`."""

    def __init__(self, model: TransNetV2, *, threshold: float = 0.5, weights: str = "") -> None:
        self._model = model.eval()
        self._threshold = threshold
        self._weights = weights

    @property
    def fingerprint(self) -> str:
        """Hash of weights and settings."""
        return digest("shots", self._weights, str(self._threshold))

    def probabilities(self, frames: Tensor | Iterable[Tensor]) -> NDArray[np.float32]:
        """Probability that a shot ends at each frame, float32 ``[t]``.

        Args:
            frames: consecutive frames, uint8 ``[t, 3, h, w]``, or an iterable of such pieces; every frame of the video
                gives the published accuracy, thinned frames find most hard cuts. Other sizes than 27 x 48 are resized.
        """
        pieces = [frames] if isinstance(frames, Tensor) else frames
        found: list[Tensor] = []
        count = 0
        with torch.inference_mode():
            for window, fresh in _windows(resize(piece, FRAME_SIZE) for piece in pieces):
                single, _ = self._model(window.to(self._model.single.weight.device)[None])
                found.append(single[0, _MARGIN : _MARGIN + _STRIDE].sigmoid().cpu())
                count += fresh
        return torch.cat(found)[:count].numpy() if found else np.zeros(0, np.float32)

    def boundaries(self, frames: FrameBatch | Iterable[FrameBatch]) -> list[float]:
        """Times in seconds at which a new shot begins, in order, without the beginning of the video."""
        batches = [frames] if isinstance(frames, FrameBatch) else frames
        times: list[float] = []

        def pixels() -> Iterator[Tensor]:
            for batch in batches:
                times.extend(batch.pts_seconds.tolist())
                yield batch.data

        return boundary_times(self.probabilities(pixels()), times, self._threshold)


def boundary_times(probabilities: NDArray[np.float32], times: list[float], threshold: float = 0.5) -> list[float]:
    """First frame after each run of frames above ``threshold``: where the new shot begins.

    A run that reaches the end of the video begins no shot.
    """
    high = probabilities > threshold
    return [times[i] for i in range(1, len(high)) if high[i - 1] and not high[i]]


def _windows(pieces: Iterable[Tensor]) -> Iterator[tuple[Tensor, int]]:
    """Windows of 100 frames that step by 50, with how many of the middle 50 are real frames.

    The first frame is repeated 25 times before the video and the last one after it.
    """
    held: Tensor | None = None
    left = 0
    for piece in pieces:
        if not len(piece):
            continue
        if held is None:
            held = piece[:1].expand(_MARGIN, -1, -1, -1)
        held, left = torch.cat([held, piece]), left + len(piece)
        while len(held) >= _WINDOW:
            yield held[:_WINDOW], _STRIDE
            held, left = held[_STRIDE:], left - _STRIDE
    while held is not None and left > 0:
        missing = max(0, _WINDOW - len(held))
        held = torch.cat([held, held[-1:].expand(missing, -1, -1, -1)])
        yield held[:_WINDOW], min(left, _STRIDE)
        held, left = held[_STRIDE:], left - _STRIDE


def shot_detector(
    weights: str = "transnetv2", *, device: str = "cpu", threshold: float = 0.5, download: bool = False
) -> ShotDetector:
    """A shot detector from named weights.

    Args:
        weights: a name that ``vidcausal models`` lists.
        device: where the network runs.
        threshold: probability above which a frame ends a shot (0.5 in the paper).
        download: fetch weights that are not on this machine.

    Raises:
        MissingWeightsError: not on this machine; the message says how to get them.
        WeightsError: the file does not fill the network exactly.
    """
    from safetensors.torch import load_file

    found = resolve(weights, download=download)
    model = TransNetV2()
    try:
        model.load_state_dict(published_to_ours(load_file(found.path("transnetv2.safetensors"))), strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{weights} does not fit TransNetV2: {str(error).splitlines()[-1].strip()}") from error
    return ShotDetector(model.to(device), threshold=threshold, weights=found.digest)
