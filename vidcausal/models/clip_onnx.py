"""Pictures to vectors: the OpenAI CLIP ViT-B/16 image tower as int8 ONNX, run on the CPU by onnxruntime.

Letters: t frames, h height, w width, d vector length (512).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vidcausal.cache import DiskCache, digest
from vidcausal.errors import WeightsError
from vidcausal.models.preprocessing import CLIP_MEAN, CLIP_STD
from vidcausal.models.weights.resolver import resolve
from vidcausal.video.frames import FrameBatch

Vectors = NDArray[np.float32]

WEIGHTS = "clip-vit-b16-image-int8"
SIDE = 224


class ImageEncoder(Protocol):
    """Anything that turns frames into unit vectors."""

    @property
    def fingerprint(self) -> str: ...

    def embed_pixels(self, pixels: Tensor) -> Vectors:
        """Unit vectors, float32 ``[n, d]``, of uint8 RGB pictures ``[n, 3, h, w]``."""
        ...

    def embed(self, frames: FrameBatch) -> Vectors:
        """Unit vectors, float32 ``[t, d]``, one a frame."""
        ...


def preprocess(pixels: Tensor, *, whole: bool = False) -> NDArray[np.float32]:
    """CLIP's input for uint8 pictures ``[n, 3, h, w]``: float32 ``[n, 3, 224, 224]``.

    The published preprocessing: the shorter side is resized to 224 (bicubic, antialiased, rounded to 8 bits) and the
    middle square is kept. ``whole`` squeezes the whole picture into the square instead. Channels are normalized.
    """
    h, w = int(pixels.shape[2]), int(pixels.shape[3])
    scale = SIDE / min(h, w)
    size = (SIDE, SIDE) if whole else (max(SIDE, round(h * scale)), max(SIDE, round(w * scale)))
    resized = functional.interpolate(pixels.cpu().float(), size=size, mode="bicubic", antialias=True)
    top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    square = resized[:, :, top : top + SIDE, left : left + SIDE].clamp(0, 255).round() / 255
    mean, std = torch.tensor(CLIP_MEAN).view(1, 3, 1, 1), torch.tensor(CLIP_STD).view(1, 3, 1, 1)
    return np.ascontiguousarray(((square - mean) / std).numpy(), dtype=np.float32)


def unit(vectors: NDArray[Any]) -> Vectors:
    """Rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-8), dtype=np.float32)


class ImageTower:
    """CLIP ViT-B/16 image vectors (512-d joint space, after the projection).

    Args:
        threads: onnxruntime's threads; None lets it use every core.
        batch_size: pictures in one run; memory is about 25 MB a picture.
        two_views: look at the middle square and at the whole picture squeezed into a square, and average the two
            vectors (twice the time; square pictures are looked at once). False: the middle square only.
        cache: where vectors of frames with a key are kept; None keeps nothing.
        download: fetch the weights if they are not on this machine.

    Raises:
        MissingWeightsError: the weights are not here and ``download`` is false.
        WeightsError: the file is not the expected model.
    """

    dim = 512

    def __init__(
        self,
        *,
        threads: int | None = None,
        batch_size: int = 8,
        two_views: bool = True,
        cache: DiskCache | None = None,
        download: bool = False,
    ) -> None:
        import onnxruntime

        weights = resolve(WEIGHTS, download=download)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        # Threads that wait by spinning take the cores from the decoder and from other jobs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = weights.path("clip_encoder.int8.onnx")
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        if "image_embeds" not in {output.name for output in self._session.get_outputs()}:
            raise WeightsError(f"{path} has no output 'image_embeds'; get it again: vidcausal models --get {WEIGHTS}")
        self._batch_size = batch_size
        self._two_views = two_views
        self._cache = cache
        self._digest = weights.digest

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and the preprocessing."""
        return digest("clip-onnx 1", self._digest, "two views" if self._two_views else "middle square")

    def _batches(self, pixels: Tensor) -> Iterator[Vectors]:
        views = [False, True] if self._two_views and pixels.shape[2] != pixels.shape[3] else [False]
        for start in range(0, len(pixels), self._batch_size):
            batch = pixels[start : start + self._batch_size]
            yield unit(np.sum([self._run(preprocess(batch, whole=whole)) for whole in views], axis=0))

    def _run(self, values: NDArray[np.float32]) -> Vectors:
        return unit(self._session.run(["image_embeds"], {"pixel_values": values})[0])

    def embed_pixels(self, pixels: Tensor) -> Vectors:
        """Unit vectors, float32 ``[n, 512]``, of uint8 RGB pictures ``[n, 3, h, w]``."""
        if len(pixels) == 0:
            return np.zeros((0, self.dim), np.float32)
        return np.concatenate(list(self._batches(pixels)))

    def embed(self, frames: FrameBatch) -> Vectors:
        """Unit vectors, float32 ``[t, 512]``; read from the cache when ``frames.key`` is known there."""
        if self._cache is None or frames.key is None:
            return self.embed_pixels(frames.data)
        key = digest(frames.key, self.fingerprint)
        stored = self._cache.get_arrays("clip-vectors", key)
        if stored is not None and stored["vectors"].shape == (len(frames), self.dim):
            return np.asarray(stored["vectors"], dtype=np.float32)
        vectors = self.embed_pixels(frames.data)
        self._cache.put_arrays("clip-vectors", key, {"vectors": vectors})
        return vectors
