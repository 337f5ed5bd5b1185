"""One space for pictures and words: a fitted linear map, and words that are drawn as pictures.

No text tower of CLIP can be had without a hub. A sentence gets into CLIP's picture space on two ways: by a linear map
from its MiniLM vector, fitted by ``scripts/fit_text_bridge.py``, and by being drawn as a picture that the picture
tower reads. ``docs/model_cards/text_bridge.md`` says what the map was fitted on and what it can and cannot do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.cache import DiskCache, digest, sha256_of, write_atomic
from vidcausal.errors import WeightsError
from vidcausal.models.clip_onnx import ImageEncoder, Vectors, unit
from vidcausal.models.drawn_text import draw_texts
from vidcausal.models.minilm import TextEncoder
from vidcausal.models.weights.resolver import resolve

WEIGHTS = "text-bridge"
FILE = "text_bridge.safetensors"
_SHAPES = {"text_mean": 1, "text_map": 2, "image_mean": 1, "image_map": 2, "drawn_mean": 1}
_HALF = ("text_map", "image_map")


@dataclass(frozen=True)
class Bridge:
    """Maps into the common space ``[d]``, all float32.

    A sentence vector ``[d_t]``: ``unit((v - text_mean) @ text_map)``. A picture vector ``[d_v]``:
    ``unit((v - background) @ image_map)``, where the background is the video's own mean or ``image_mean``, the mean of
    photographs. A drawn sentence is a picture with the background ``drawn_mean``. ``image_map`` evens out directions
    in which pictures of all kinds differ much (a power of their covariance below zero).
    """

    text_mean: Vectors
    text_map: Vectors
    image_mean: Vectors
    image_map: Vectors
    drawn_mean: Vectors
    fingerprint: str

    def __post_init__(self) -> None:
        d_t, d = self.text_map.shape
        d_v = self.image_map.shape[0]
        got = (self.text_mean.shape, self.image_mean.shape, self.drawn_mean.shape, self.image_map.shape)
        if got != ((d_t,), (d_v,), (d_v,), (d_v, d)):
            raise WeightsError(
                f"a bridge with a text_map of {d_t} x {d} needs text_mean [{d_t}], image_map [d_v, {d}], image_mean "
                f"and drawn_mean [d_v]; got {', '.join(str(list(shape)) for shape in got)}"
            )

    def sentences(self, vectors: NDArray[Any]) -> Vectors:
        """Unit vectors ``[n, d]`` of sentence vectors ``[n, d_t]``."""
        return unit((np.asarray(vectors, np.float32) - self.text_mean) @ self.text_map)

    def pictures(self, vectors: NDArray[Any], background: NDArray[Any]) -> Vectors:
        """Unit vectors ``[n, d]`` of picture vectors ``[n, d_v]``, without ``background [d_v]``."""
        return unit((np.asarray(vectors, np.float32) - background) @ self.image_map)


class Words:
    """Texts as vectors that can be compared with :meth:`Bridge.pictures`.

    Args:
        images: reads the drawn texts.
        texts: gives the sentence vectors.
        bridge: the maps.
        cache: where vectors of drawn texts are kept; None keeps nothing.
    """

    def __init__(
        self, images: ImageEncoder, texts: TextEncoder, bridge: Bridge, *, cache: DiskCache | None = None
    ) -> None:
        self._images = images
        self._texts = texts
        self._bridge = bridge
        self._cache = cache

    def embed(self, texts: Sequence[str], *, drawn: bool = True) -> Vectors:
        """Unit vectors ``[n, d]``: the mean of both ways, or the linear map alone (``drawn=False``: much faster)."""
        mapped = self._bridge.sentences(self._texts.embed(texts))
        if not drawn:
            return mapped
        read = np.array([self._read(text) for text in texts], np.float32).reshape(len(texts), -1)
        return unit(mapped + self._bridge.pictures(read, self._bridge.drawn_mean)) if len(texts) else mapped

    def _read(self, text: str) -> Vectors:
        """The picture vector of a drawn text."""
        key = digest("drawn 1", text, self._images.fingerprint)
        stored = self._cache.get_arrays("drawn-text", key) if self._cache is not None else None
        if stored is not None and "vector" in stored:
            return np.asarray(stored["vector"], np.float32)
        vector = self._images.embed_pixels(draw_texts([text]))[0]
        if self._cache is not None:
            self._cache.put_arrays("drawn-text", key, {"vector": vector})
        return np.asarray(vector, np.float32)


def whitening(pictures: NDArray[Any], power: float, floor: float) -> Vectors:
    """Map ``[d, d]`` by the covariance of centered pictures ``[n, d]`` to the power ``-power``.

    ``floor`` times the mean eigenvalue is added to every eigenvalue, so that directions of noise are not blown up.
    """
    x = np.asarray(pictures, np.float64)
    values, axes = np.linalg.eigh(x.T @ x / len(x))
    scale = (np.maximum(values, 0) + floor * values.mean()) ** -power
    return np.asarray((axes * (scale / scale.max())) @ axes.T, dtype=np.float32)


def fit_ridge(texts: NDArray[Any], pictures: NDArray[Any], penalty: float, weights: NDArray[Any]) -> Vectors:
    """Weight ``[d_t, d_v]`` of the ridge regression from centered texts ``[n, d_t]`` to centered pictures ``[n, d_v]``.

    ``weights [n]`` say how much each pair counts; ``penalty`` is on the squared entries of the map.
    """
    x = np.asarray(texts, np.float64)
    y = np.asarray(pictures, np.float64)
    scaled = x * np.asarray(weights, np.float64)[:, None]
    gram = scaled.T @ x + penalty * np.eye(x.shape[1])
    return np.asarray(np.linalg.solve(gram, scaled.T @ y), dtype=np.float32)


def save_bridge(path: Path, bridge: Bridge, metadata: Mapping[str, str]) -> None:
    """Write the bridge as safetensors, the maps in float16."""
    from safetensors.numpy import save

    tensors = {name: getattr(bridge, name).astype(np.float16 if name in _HALF else np.float32) for name in _SHAPES}
    write_atomic(path, save(tensors, metadata=dict(metadata)))


def load_bridge(path: Path | None = None) -> Bridge:
    """The bridge of this package, or of a file written by :func:`save_bridge`.

    Raises:
        WeightsError: the file is not a bridge.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if path is None:
        weights = resolve(WEIGHTS)
        path, mark = weights.path(FILE), weights.digest
    else:
        mark = digest("bridge", sha256_of(path))
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot read the text bridge {path}: {error}") from error
    for name, ndim in _SHAPES.items():
        if name not in tensors or tensors[name].ndim != ndim:
            raise WeightsError(f"{path} is not a text bridge: it needs the tensors {', '.join(_SHAPES)}")
    arrays = {name: np.asarray(tensors[name], np.float32) for name in _SHAPES}
    return Bridge(**arrays, fingerprint=mark)
