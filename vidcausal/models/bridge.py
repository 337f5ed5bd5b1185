"""From sentence vectors to CLIP's picture space: a fitted linear map, so that pictures and words can be compared.

No text tower of CLIP can be had without a hub; the map was fitted by ``scripts/fit_text_bridge.py`` on pictures with
names (``docs/model_cards/text_bridge.md`` says which, and what it can and cannot do).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.cache import digest
from vidcausal.errors import WeightsError
from vidcausal.models.clip_onnx import Vectors, unit
from vidcausal.models.weights.resolver import resolve

WEIGHTS = "text-bridge"
FILE = "text_bridge.safetensors"
_SHAPES = {"text_mean": 1, "weight": 2, "image_mean": 1}


@dataclass(frozen=True)
class Bridge:
    """``unit((text - text_mean) @ weight)`` lies in the picture space with ``image_mean`` taken away.

    ``text_mean`` float32 ``[d_t]``, ``weight`` float32 ``[d_t, d_v]``; ``image_mean`` float32 ``[d_v]`` is the mean
    picture vector that a single picture is compared without (a video uses the mean of its own frames instead).
    """

    text_mean: Vectors
    weight: Vectors
    image_mean: Vectors
    fingerprint: str

    def __post_init__(self) -> None:
        d_t, d_v = self.weight.shape
        if self.text_mean.shape != (d_t,) or self.image_mean.shape != (d_v,):
            raise WeightsError(
                f"a bridge needs text_mean [{d_t}] and image_mean [{d_v}] for a weight of {d_t} x {d_v}, got "
                f"{list(self.text_mean.shape)} and {list(self.image_mean.shape)}"
            )

    def apply(self, text_vectors: NDArray[Any]) -> Vectors:
        """Unit vectors in the picture space, float32 ``[n, d_v]``, of sentence vectors ``[n, d_t]``."""
        return unit((np.asarray(text_vectors, np.float32) - self.text_mean) @ self.weight)


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
    """Write the bridge as safetensors; the map in float16, which moves cosines by less than 0.001."""
    from safetensors.numpy import save_file

    tensors = {
        "text_mean": bridge.text_mean.astype(np.float32),
        "weight": bridge.weight.astype(np.float16),
        "image_mean": bridge.image_mean.astype(np.float32),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path), metadata=dict(metadata))


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
        mark = digest("bridge", path.read_bytes().hex())
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot read the text bridge {path}: {error}") from error
    for name, ndim in _SHAPES.items():
        if name not in tensors or tensors[name].ndim != ndim:
            raise WeightsError(f"{path} is not a text bridge: it needs the tensors {', '.join(_SHAPES)}")
    arrays = {name: np.asarray(tensors[name], np.float32) for name in _SHAPES}
    return Bridge(**arrays, fingerprint=mark)
