"""A native model with random weights, ready to be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.models.native_text import TIME_FORMAT, build_tokenizer, save_tokenizer
from vidcausal.models.video_lm import VideoLM, video_lm
from vidcausal.training.stories import narration


def native_tokenizer(worlds: Sequence[str], folder: str | Path, *, stories: int = 3000) -> Any:
    """The tokenizer of what the worlds' narrators say, written to ``folder``; the one that is there if there is one."""
    path = Path(folder)
    if (path / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(path)
    tokenizer = build_tokenizer(narration(worlds, stories))
    save_tokenizer(tokenizer, path)
    return tokenizer


def native_core(
    tokenizer_folder: str | Path,
    tokenizer: Any,
    *,
    encoder: Mapping[str, Any],
    projector: Mapping[str, Any],
    language: Mapping[str, Any],
    name: str = "native-small",
    device: str = "cpu",
    seed: int = 0,
) -> VideoLM:
    """A VideoLM whose language model is a small Llama with the vocabulary of ``tokenizer``, all weights random.

    Args:
        tokenizer_folder: where the tokenizer is.
        tokenizer: the tokenizer itself.
        encoder: arguments of :func:`vidcausal.models.encoders.encoder`.
        projector: ``kind`` and sizes.
        language: sizes of the Llama; vocabulary and special tokens are filled in.
        name: shown in reports.
        device: where it is made.
        seed: of the weights.
    """
    sizes = {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
        "max_position_embeddings": 8192,
        **language,
    }
    return video_lm(
        encoder,
        projector,
        sizes,
        tokenizer=str(tokenizer_folder),
        name=name,
        time_format=TIME_FORMAT,
        device=device,
        dtype="float32",
        seed=seed,
    )
