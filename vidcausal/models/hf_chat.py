"""Any Hugging Face vision-language model as a video chat.

One class serves Qwen2-VL, Qwen2.5-VL, Qwen3-VL, LLaVA-OneVision, LLaVA-NeXT-Video, SmolVLM, InternVL, VideoLLaMA3,
Gemma 3 and whatever else transformers knows as "image text to text": the Auto classes load it, its own chat template
and processor lay the prompt out, and our already decoded frames go in with their true times.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vidcausal.cache import digest, seed_of
from vidcausal.errors import ModelError
from vidcausal.models._hf_inputs import FrameInputs, FramesAs, ModelInputs, TimesInText, plain_mapping
from vidcausal.models._hf_load import Checkpoint, checkpoint_digest, load
from vidcausal.parsing import without_thoughts
from vidcausal.types import OptionScore
from vidcausal.video.frames import FrameBatch

logger = logging.getLogger(__name__)

_MEDIA_TOKEN_NAMES = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")


class HFChat:
    """A :class:`~vidcausal.protocols.VideoChat` and :class:`~vidcausal.protocols.Scoring` over a transformers model.

    Args:
        model: a generating model on its device, in evaluation mode.
        inputs: builds the model's inputs with the model's own processor.
        name: what reports call it.
        fingerprint: hash of weights and settings.
        context_tokens: length of the context; None reads ``max_position_embeddings`` from the configuration.
        max_frames: refuse longer batches before anything is computed.
        generation: arguments for ``generate`` beyond greedy decoding.
        seed: with sampling, mixed with the prompt, so that a sample's reply does not depend on its neighbors.
    """

    def __init__(
        self,
        model: Any,
        inputs: FrameInputs,
        *,
        name: str,
        fingerprint: str,
        context_tokens: int | None = None,
        max_frames: int | None = None,
        generation: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._name = name
        self._fingerprint = fingerprint
        self._context_tokens = context_tokens
        self._max_frames = max_frames
        self._generation = plain_mapping(generation)
        self._seed = seed

    @property
    def name(self) -> str:
        """Hub id, or the name of the folder."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Equal for two chats that give the same replies on the same machine."""
        return self._fingerprint

    @property
    def time_form(self) -> str:
        """How the model's processor passes the times of frames: timestamps, whole-seconds, spacing or none."""
        return self._inputs.time_form

    @property
    def reads_video(self) -> bool:
        """True when frames go in as one video, False when as a list of images."""
        return self._inputs.as_video

    def prepare(self, prompt: str, frames: FrameBatch | None = None) -> ModelInputs:
        """What the model would read for ``prompt`` about ``frames``; no weights are used."""
        if frames is not None and self._max_frames is not None and len(frames) > self._max_frames:
            raise ModelError(
                f"{self.name} was set to at most {self._max_frames} frames and got {len(frames)}; sample fewer frames "
                "or raise max_frames"
            )
        return self._inputs.build(prompt, frames)

    def chat(self, prompt: str, frames: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        """Reply to ``prompt`` about ``frames``; greedy unless built with ``generation={"do_sample": True}``.

        A thinking model's thoughts are left out of the reply.

        Raises:
            ModelError: prompt, frames and reply do not fit into the context, or into the device's memory.
        """
        inputs = self.prepare(prompt, frames)
        self._check_budget(prompt, inputs, max_new_tokens)
        arguments = {**self._decoding(), "max_new_tokens": max_new_tokens}
        state = _random_state(self._sample_seed(prompt, frames), torch.device(self._model.device))
        with _memory_guard(self.name, inputs), torch.inference_mode(), state:
            self._forget_positions()
            output = self._model.generate(**self._on_device(inputs.tensors), **arguments)
        new = output[0, inputs.num_tokens :]
        if len(new) >= max_new_tokens:
            logger.info("%s used all %d new tokens; the reply may be cut", self.name, max_new_tokens)
        return without_thoughts(str(self._tokenizer.decode(new, skip_special_tokens=True)))

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        """Log-likelihood of each option as the reply; prompt and frames are read once for all of them.

        Raises:
            ModelError: an option without tokens, or too long a prompt.
        """
        inputs = self.prepare(prompt, frames)
        tokens = [self._inputs.token_ids(inputs.reply_prefix + option) for option in options]
        if empty := [option for option, ids in zip(options, tokens, strict=True) if not ids]:
            raise ModelError(f"cannot score the empty option {empty[0]!r}; give every option some text")
        self._check_budget(prompt, inputs, max((len(ids) for ids in tokens), default=0))
        with _memory_guard(self.name, inputs), torch.inference_mode():
            self._forget_positions()
            start = self._forward(use_cache=True, **self._on_device(inputs.tensors))
            first = start.logits[0, -1].float().log_softmax(-1)
            return [OptionScore(self._continuation(first, start.past_key_values, ids), len(ids)) for ids in tokens]

    def _continuation(self, first: Tensor, cache: Any, ids: list[int]) -> float:
        """Summed log-likelihood of ``ids`` after the prompt that filled ``cache``; ``first [v]`` is its last row."""
        total = float(first[ids[0]])
        if len(ids) == 1:
            return total
        if cache is None:
            raise ModelError(f"{self.name} returned no key-value cache, which scoring options of several tokens needs")
        read = torch.tensor([ids[:-1]], device=first.device)
        # A copy, because caches of sliding windows and linear attention cannot be cut back to the prompt.
        output = self._model(input_ids=read, past_key_values=copy.deepcopy(cache), use_cache=True)
        rows = output.logits[0].float().log_softmax(-1)  # [n - 1, v]
        wanted = torch.tensor(ids[1:], device=rows.device)
        return total + float(rows.gather(1, wanted[:, None]).sum())

    def _forward(self, **tensors: Any) -> Any:
        if "logits_to_keep" in self._forward_arguments:
            tensors["logits_to_keep"] = 1  # all logits of 10,000 tokens of a 150,000-word vocabulary are 6 GB
        return self._model(**tensors)

    @cached_property
    def _forward_arguments(self) -> frozenset[str]:
        return frozenset(inspect.signature(self._model.forward).parameters)

    @property
    def _tokenizer(self) -> Any:
        return getattr(self._inputs.processor, "tokenizer", self._inputs.processor)

    def _decoding(self) -> dict[str, Any]:
        """Greedy, over whatever the checkpoint's own generation configuration says; its penalties stay."""
        arguments: dict[str, Any] = {"do_sample": False, **self._generation}
        if not arguments["do_sample"]:
            arguments = {"temperature": None, "top_p": None, "top_k": None, **arguments}
        if getattr(self._model.generation_config, "pad_token_id", None) is None:
            end = self._model.generation_config.eos_token_id
            pad = self._tokenizer.pad_token_id
            arguments["pad_token_id"] = pad if pad is not None else end[0] if isinstance(end, list) else end
        return arguments

    def _sample_seed(self, prompt: str, frames: FrameBatch | None) -> int | None:
        """Seed of one sample, None when decoding is greedy."""
        if not self._generation.get("do_sample"):
            return None
        times = "" if frames is None else str(frames.pts_seconds.tolist())
        return seed_of(str(self._seed), prompt, times)

    def _on_device(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors on the model's device; pixels in its dtype, times never (bfloat16 would move them)."""
        placed: dict[str, Any] = {}
        for key, value in tensors.items():
            if isinstance(value, Tensor):
                value = value.to(self._model.device)
                if value.is_floating_point() and value.ndim > 1:
                    value = value.to(self._model.dtype)
            placed[key] = value
        return placed

    def _forget_positions(self) -> None:
        """Drop the offset that Qwen models keep from the last prompt; a prompt without media would inherit it."""
        for module in (self._model, getattr(self._model, "model", None)):
            if getattr(module, "rope_deltas", None) is not None:
                module.rope_deltas = None  # type: ignore[union-attr]

    def _check_budget(self, prompt: str, inputs: ModelInputs, reply_tokens: int) -> None:
        limit = self._context_tokens or _context_of(self._model.config)
        logger.info(
            "%s: %d frames, %d tokens (%d of them media), up to %d to reply, context %s",
            self.name,
            inputs.num_frames,
            inputs.num_tokens,
            inputs.num_media_tokens,
            reply_tokens,
            limit or "unknown",
        )
        if limit is None or inputs.num_tokens + reply_tokens <= limit:
            return
        advice = "shorten the prompt or max_new_tokens"
        if inputs.num_frames:
            bare = self._inputs.build(prompt).num_tokens
            each = (inputs.num_tokens - bare) / inputs.num_frames  # with the frame's label or time
            fitting = max(0, int((limit - reply_tokens - bare) / each))
            advice = f"a frame costs about {each:.0f} tokens: sample at most {fitting} of this size, or smaller ones"
        raise ModelError(
            f"{self.name} got {inputs.num_tokens} prompt tokens ({inputs.num_media_tokens} of them for the pixels of "
            f"{inputs.num_frames} frames) and {reply_tokens} for the reply, but its context is {limit}; {advice}"
        )


@contextmanager
def _random_state(seed: int | None, device: torch.device) -> Iterator[None]:
    """A seeded random state inside, the caller's afterwards; nothing at all without a seed."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _memory_guard(name: str, inputs: ModelInputs) -> Iterator[None]:
    """Turns running out of device memory into a ModelError that says what to change."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(
            f"{name} ran out of device memory on {inputs.num_frames} frames and {inputs.num_tokens} tokens; sample "
            "fewer or smaller frames, or use dtype=bfloat16"
        ) from error


def _context_of(config: Any) -> int | None:
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(length) if length else None


def _media_token_ids(config: Any, processor: Any) -> frozenset[int]:
    holders = (config, processor)
    found = (getattr(holder, name, None) for holder in holders for name in _MEDIA_TOKEN_NAMES)
    return frozenset(token for token in found if isinstance(token, int))


def hf_chat(
    source: str,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    download: bool = False,
    attn_implementation: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    frames_as: FramesAs = "auto",
    times_in_text: TimesInText = "auto",
    max_frames: int | None = None,
    context_tokens: int | None = None,
    processor_options: Mapping[str, Any] | None = None,
    template_options: Mapping[str, Any] | None = None,
    generation: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> HFChat:
    """Load a vision-language model from a folder or from the hub's cache.

    Args:
        source: a folder written by ``save_pretrained``, or a hub id such as ``Qwen/Qwen2.5-VL-3B-Instruct``.
        device: ``cpu``, ``cuda``, ``cuda:1`` …
        dtype: ``auto`` is float32 on the CPU and the checkpoint's own type elsewhere.
        revision: branch, tag or commit of the hub repository.
        trust_remote_code: run model code that comes with the weights; only with ``revision`` set to a full commit.
        download: fetch what is missing from the hub; without it only this machine is read.
        attn_implementation: ``sdpa``, ``flash_attention_2``, ``eager``; None lets transformers choose.
        device_map: spread over several devices, as transformers understands it; replaces ``device``.
        frames_as: ``video``, ``images``, or ``auto``.
        times_in_text: ``always``, ``never``, or ``auto``: where the model would not learn the times otherwise.
        max_frames: refuse longer batches.
        context_tokens: length of the context where the configuration does not say it right.
        processor_options: further arguments of the processor's call.
        template_options: further variables of the chat template.
        generation: further arguments of ``generate``.
        seed: for sampling.

    Raises:
        MissingWeightsError: neither a folder nor in the cache, and not downloadable.
        ConfigError: remote code without a pinned commit, or a dtype that does not exist.
        ModelError: not a vision-language model.
    """
    import transformers

    checkpoint = Checkpoint(source, revision, trust_remote_code, download)
    loaded = load(checkpoint, device=device, dtype=dtype, device_map=device_map, attention=attn_implementation)
    inputs = FrameInputs(
        loaded.processor,
        media_token_ids=_media_token_ids(loaded.model.config, loaded.processor),
        frames_as=frames_as,
        times_in_text=times_in_text,
        processor_options=processor_options,
        template_options=template_options,
    )
    settings = (dtype, frames_as, times_in_text, processor_options, template_options, generation, seed)
    weights = checkpoint_digest(checkpoint, loaded.commit)
    logger.info("%s: %s, times as %s", checkpoint.name, "video" if inputs.as_video else "images", inputs.time_form)
    return HFChat(
        loaded.model,
        inputs,
        name=checkpoint.name,
        fingerprint=digest("hf_chat", weights, transformers.__version__, *(_stable(s) for s in settings)),
        context_tokens=context_tokens,
        max_frames=max_frames,
        generation=generation,
        seed=seed,
    )


def _stable(setting: Any) -> str:
    """Text of a setting that does not depend on the order of its keys."""
    if isinstance(setting, Mapping):
        return "{" + ",".join(f"{key}:{_stable(setting[key])}" for key in sorted(setting)) + "}"
    return repr(setting)
