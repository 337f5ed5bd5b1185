"""Sentences to vectors: all-MiniLM-L6-v2 (mean pooling over tokens, then unit length), run through transformers.

Source: sentence-transformers/all-MiniLM-L6-v2, model card, "Usage (HuggingFace Transformers)".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional

from vidcausal.cache import digest
from vidcausal.models.clip_onnx import Vectors
from vidcausal.models.weights.resolver import resolve

WEIGHTS = "all-minilm-l6-v2"
MAX_TOKENS = 256


class TextEncoder(Protocol):
    """Anything that turns sentences into unit vectors."""

    @property
    def fingerprint(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 ``[n, d]``, one a text."""
        ...


class TextTower:
    """MiniLM sentence vectors (384-d).

    Args:
        batch_size: sentences in one pass.
        download: fetch the weights if they are not on this machine.

    Raises:
        MissingWeightsError: the weights are not here and ``download`` is false.
    """

    dim = 384

    def __init__(self, *, batch_size: int = 64, download: bool = False) -> None:
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        weights = resolve(WEIGHTS, download=download)
        self._tokenizer: Any = Tokenizer.from_file(str(weights.path("tokenizer.json")))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        model: Any = BertModel(BertConfig.from_json_file(str(weights.path("config.json"))), add_pooling_layer=False)
        model.load_state_dict(_encoder_state(weights.path("model.safetensors")))
        self._model: Any = model.eval()
        self._batch_size = batch_size
        self._digest = weights.digest

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and the pooling."""
        return digest("minilm 1", self._digest, str(MAX_TOKENS))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 ``[n, 384]``."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        parts = [self._embed(list(texts[i : i + self._batch_size])) for i in range(0, len(texts), self._batch_size)]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _embed(self, texts: list[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch(texts)
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask[..., None].to(hidden.dtype)
        pooled = (hidden * weight).sum(1) / weight.sum(1).clamp_min(1)
        return np.asarray(functional.normalize(pooled, dim=1).numpy(), dtype=np.float32)


def _encoder_state(path: Any) -> dict[str, Any]:
    """The encoder's tensors: pooling head and position buffer are left out, they are not used for sentence vectors."""
    from safetensors.torch import load_file

    state = load_file(str(path))
    return {key: value for key, value in state.items() if not key.startswith("pooler.") and "position_ids" not in key}
