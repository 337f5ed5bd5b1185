"""Native models ready to be trained: with random weights, or any preset that can be trained further."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.cache import cache_root, digest
from vidcausal.config.instantiate import instantiate, locate, parameters
from vidcausal.errors import ConfigError, OutputError
from vidcausal.models.native import NativeModel
from vidcausal.models.native_text import TIME_FORMAT, build_tokenizer, save_tokenizer
from vidcausal.models.video_lm import VideoLM, video_lm
from vidcausal.training.stories import narration
from vidcausal.worlds import WORLDS

STORIES = 3000
"""Stories of each world that the tokenizer's words are taken from."""


def native_tokenizer(worlds: Sequence[str], folder: str | Path, *, stories: int = STORIES) -> Any:
    """The tokenizer of what the worlds' narrators say, written to ``folder``; the one that is there if there is one."""
    path = Path(folder)
    if (path / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(path)
    tokenizer = build_tokenizer(narration(worlds, stories))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            save_tokenizer(tokenizer, fresh)
            fresh.chmod(0o755)
            os.replace(fresh, path)  # a folder that is there is whole
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise OutputError.at(path, error) from error
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
    dtype: str = "float32",
    download: bool = False,
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
        dtype: of the weights.
        download: fetch published weights that a part names and that are not here.
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
        dtype=dtype,
        download=download,
        seed=seed,
    )


def native_untrained(
    *,
    encoder: Mapping[str, Any],
    projector: Mapping[str, Any],
    language: Mapping[str, Any],
    worlds: Sequence[str] = tuple(WORLDS),
    tokenizer: str = "",
    stories: int = STORIES,
    name: str = "native",
    device: str = "cpu",
    dtype: str = "float32",
    download: bool = False,
    seed: int = 0,
) -> NativeModel:
    """A native model as a preset describes it; ``scripts/train.py model=PRESET`` trains it.

    Args:
        encoder: see :func:`native_core`.
        projector: see :func:`native_core`.
        language: see :func:`native_core`.
        worlds: whose narrators' words the tokenizer has.
        tokenizer: its folder, where it is written if it is not there; empty for one in the cache.
        stories: how many of each world the words are taken from.
        name: shown in reports.
        device: where it is made.
        dtype: of the weights.
        download: fetch published weights that a part names and that are not here.
        seed: of the weights.

    Raises:
        ConfigError: a part that cannot be built.
        OutputError: the tokenizer cannot be written.
    """
    folder = Path(tokenizer) if tokenizer else _cached_tokenizer(worlds, stories)
    words = native_tokenizer(worlds, folder, stories=stories)
    core = native_core(
        folder,
        words,
        encoder=encoder,
        projector=projector,
        language=language,
        name=name,
        device=device,
        dtype=dtype,
        download=download,
        seed=seed,
    )
    return NativeModel(core, name=name)


def _cached_tokenizer(worlds: Sequence[str], stories: int) -> Path:
    return cache_root() / "tokenizers" / digest("native tokenizer 1", *worlds, str(stories))[:16]


def trainable(node: Mapping[str, Any], **given: Any) -> NativeModel:
    """The native model of a preset.

    Args:
        node: ``_target_`` and arguments, as in ``configs/model``.
        given: arguments for the target; those that it does not take, or that the preset sets itself, are left out.

    Raises:
        ConfigError: the preset is no native model.
    """
    known = parameters(locate(node.get("_target_", ""), where="model"))
    model = instantiate(node, where="model", **{k: v for k, v in given.items() if k in known and k not in node})
    if not isinstance(model, NativeModel):
        raise ConfigError(
            f"a {type(model).__name__} cannot be trained here; choose model=native-conv or another native-* preset"
        )
    return model
