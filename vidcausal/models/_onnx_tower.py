"""Image towers as ONNX files, run by onnxruntime on the CPU: frozen encoders with real weights.

Letters: t frames, p patches, d width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vidcausal.errors import ConfigError, UnknownNameError, WeightsError
from vidcausal.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from vidcausal.models.weights.resolver import resolve


class _File(NamedTuple):
    """Where a tower's patch tokens are: after the class token, in an output ``[t, 1 + p, d]``."""

    name: str
    output: str
    dim: int
    side: int
    patch: int


TOWERS = {"clip-vit-b16-image-int8": _File("clip_encoder.int8.onnx", "onnx::Gather_1524", 768, 224, 16)}
"""Weights of ``vidcausal models`` that can be a tower."""


class OnnxTower(nn.Module):
    """Patch tokens of an ONNX image tower; no parameters, no gradients.

    Args:
        weights: a key of :data:`TOWERS`.
        download: fetch them if they are not here.

    Raises:
        UnknownNameError: other weights.
        MissingWeightsError: the weights are not on this machine.
        WeightsError: the file has other outputs.
    """

    like: Tensor

    def __init__(self, weights: str, *, download: bool = False) -> None:
        import onnxruntime

        super().__init__()
        if weights not in TOWERS:
            raise UnknownNameError("onnx tower", weights, TOWERS)
        self._file, self._weights = TOWERS[weights], weights
        self.dim = self._file.dim
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # As many threads as torch has; and none that wait by spinning while torch computes.
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = resolve(weights, download=download).path(self._file.name)
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        if self._file.output not in {output.name for output in self._session.get_outputs()}:
            raise WeightsError(f"{path} has no output {self._file.output!r}; vidcausal models --get {weights}")
        # Says on which device and in which dtype features are wanted.
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def extra_repr(self) -> str:
        """Which weights: they are no parameters."""
        return self._weights

    def num_patches(self, size: tuple[int, int]) -> int:
        """Patch tokens of an image of ``size``."""
        return (size[0] // self._file.patch) * (size[1] // self._file.patch)

    def forward(self, pixels: Tensor) -> Tensor:
        """``[t, 3, H, W] -> [t, p, d]``."""
        found = self._session.run([self._file.output], {"pixel_values": pixels.detach().float().cpu().numpy()})[0]
        return torch.from_numpy(found[:, 1:]).to(self.like)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxTower:
        """Itself: nothing in it changes, and a session cannot be copied."""
        return self


def preprocessing(weights: str) -> Preprocessing:
    """What belongs to these weights.

    Raises:
        ConfigError: there is no such tower.
    """
    if weights not in TOWERS:
        raise ConfigError(f"an onnx encoder is named by its weights, one of {', '.join(TOWERS)}; got {weights!r}")
    side = TOWERS[weights].side
    return Preprocessing((side, side), "shortest", mean=CLIP_MEAN, std=CLIP_STD)
