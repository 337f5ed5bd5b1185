"""A vision-language model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama, a hosted API) as a chat.

Nothing is sent anywhere unless the user names the server. What is sent: the prompt, and the frames as JPEG pictures,
each after its time in words ("Frame at 3.2 s:"), because these servers have no common way to pass times.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from vidcausal.cache import digest
from vidcausal.errors import ConfigError, ModelError, RemoteError, UnknownNameError
from vidcausal.models._chat_times import FrameTimes
from vidcausal.models._remote_http import JsonServer, Retries
from vidcausal.parsing import without_thoughts
from vidcausal.types import OptionScore
from vidcausal.video.frames import FrameBatch
from vidcausal.video.pictures import encode_jpeg

logger = logging.getLogger(__name__)

ScoringWay = Literal["none", "vllm", "completions"]


class RemoteChat:
    """A :class:`~vidcausal.protocols.VideoChat` over a server. It cannot score options; :class:`ScoringRemoteChat` can.

    Args:
        server: where requests go.
        model: the model's name on that server.
        max_images: more frames than this are refused (servers fail on them late and unclearly).
        max_side: frames are scaled down until their longer side has this many pixels.
        max_request_bytes: cap on the pictures of one request, before base64.
        jpeg_quality: 1 to 95.
        temperature: None leaves it to the server.
        extra: further fields of the request body.
        max_tokens_field: ``max_completion_tokens`` for models that reject ``max_tokens``.
    """

    def __init__(
        self,
        server: JsonServer,
        model: str,
        *,
        max_images: int = 64,
        max_side: int = 512,
        max_request_bytes: int = 20_000_000,
        jpeg_quality: int = 85,
        temperature: float | None = 0.0,
        extra: Mapping[str, Any] | None = None,
        max_tokens_field: str = "max_tokens",
    ) -> None:
        self._server = server
        self._model = model
        self._max_images = max_images
        self._max_side = max_side
        self._max_request_bytes = max_request_bytes
        self._jpeg_quality = jpeg_quality
        self._temperature = temperature
        self._extra = dict(extra or {})
        self._max_tokens_field = max_tokens_field

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._model

    @property
    def fingerprint(self) -> str:
        """Hash of server, model and settings. What weights the server really runs cannot be known from here."""
        pictures = f"{self._max_side} {self._jpeg_quality}"
        settings = f"{self._temperature} {sorted(self._extra.items())!r}"
        return digest("remote_chat", self._server.base_url, self._model, pictures, settings)

    def chat(self, prompt: str, frames: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        """The server's reply to ``prompt`` about ``frames``, without the thoughts of a thinking model.

        Raises:
            RemoteError: no usable answer within the allowed attempts.
            ModelError: more or larger pictures than allowed.
        """
        body = {**self._body(self._user(prompt, frames)), self._max_tokens_field: max_new_tokens}
        return _reply_text(self._server.post("chat/completions", body), self._server.base_url)

    def _body(self, *messages: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "messages": list(messages)}
        if self._temperature is not None:
            body["temperature"] = self._temperature
        return {**body, **self._extra}

    def _user(self, prompt: str, frames: FrameBatch | None) -> dict[str, Any]:
        if frames is None:
            return {"role": "user", "content": prompt}
        parts: list[dict[str, Any]] = []
        labels = FrameTimes.of(frames.pts_seconds.tolist()).labels()
        for label, picture in zip(labels, self._pictures(frames), strict=True):
            parts.append({"type": "text", "text": f"Frame at {label}:"})
            url = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
            parts.append({"type": "image_url", "image_url": {"url": url}})
        parts.append({"type": "text", "text": prompt})
        return {"role": "user", "content": parts}

    def _pictures(self, frames: FrameBatch) -> list[bytes]:
        if len(frames) == 0:
            raise ModelError("the remote chat got an empty FrameBatch; sample at least one frame")
        if len(frames) > self._max_images:
            raise ModelError(
                f"{self.name} may be sent {self._max_images} frames a request and got {len(frames)}; sample fewer, or "
                "raise max_images if the server allows it"
            )
        box = (self._max_side, self._max_side)
        pictures = [encode_jpeg(frame, box, self._jpeg_quality) for frame in frames.data.cpu()]
        size = sum(map(len, pictures))
        logger.info("%s: sending %d pictures, %.1f MB", self.name, len(pictures), size / 1e6)
        if size > self._max_request_bytes:
            raise ModelError(
                f"{len(pictures)} pictures take {size} bytes, more than max_request_bytes={self._max_request_bytes}; "
                "lower max_side or sample fewer frames"
            )
        return pictures


class ScoringRemoteChat(RemoteChat):
    """A remote chat on a server that gives log-probabilities of the prompt, which makes options scorable.

    ``vllm``: ``/chat/completions`` with ``prompt_logprobs`` and ``continue_final_message`` (fields of vLLM's own), with
    pictures. ``completions``: the older ``/completions`` with ``echo`` and ``logprobs``, text only, no chat template.
    """

    def __init__(self, server: JsonServer, model: str, *, way: ScoringWay = "vllm", **settings: Any) -> None:
        super().__init__(server, model, **settings)
        self._way = way

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        """Log-likelihood of each option as the reply, one request an option.

        Raises:
            RemoteError: the server does not give log-probabilities of the prompt.
            ModelError: frames with a server that is asked through ``/completions``.
        """
        if self._way == "completions":
            if frames is not None:
                raise ModelError(
                    "scoring through /completions reads no frames; use scoring=vllm, or ask without frames"
                )
            return [self._echoed(prompt, option) for option in options]
        user = self._user(prompt, frames)
        start = len(self._prompt_logprobs(user)) if options else 0
        return [self._continued(user, option, start) for option in options]

    def _continued(self, user: dict[str, Any], option: str, start: int) -> OptionScore:
        rows = self._prompt_logprobs(user, {"role": "assistant", "content": option})[start:]
        if not rows:
            raise RemoteError(f"{self._server.base_url} counted no tokens for the option {option!r}")
        return OptionScore(sum(_chosen(row) for row in rows), len(rows))

    def _prompt_logprobs(self, *messages: dict[str, Any]) -> list[Any]:
        """One entry a prompt token: None for the first, else token id to log-probability, the actual token first."""
        continued = len(messages) > 1
        body = {
            **self._body(*messages),
            self._max_tokens_field: 1,
            "prompt_logprobs": 0,
            "add_generation_prompt": not continued,
            "continue_final_message": continued,
        }
        rows = self._server.post("chat/completions", body).get("prompt_logprobs")
        if not isinstance(rows, list):
            raise RemoteError(
                f"{self._server.base_url} sent no prompt_logprobs: it is not vLLM, or does not allow them; use "
                "scoring=none or scoring=completions"
            )
        return rows

    def _echoed(self, prompt: str, option: str) -> OptionScore:
        text = f"{prompt}\n{option}"
        body = {"model": self._model, "prompt": text, "max_tokens": 0, "echo": True, "logprobs": 0, "temperature": 0}
        answer = self._server.post("completions", {**body, **self._extra})
        try:
            found = answer["choices"][0]["logprobs"]
            starts, values = list(found["text_offset"]), list(found["token_logprobs"])
        except (KeyError, IndexError, TypeError) as error:
            raise RemoteError(
                f"{self._server.base_url} sent no log-probabilities of the prompt; use scoring=none"
            ) from error
        ends = [*starts[1:], len(text)]  # a token may hold the line break and the option's first letters
        inside = [end > len(prompt) + 1 and start < len(text) for start, end in zip(starts, ends, strict=True)]
        chosen = [value for value, wanted in zip(values, inside, strict=False) if wanted and value is not None]
        if not chosen:
            raise RemoteError(f"{self._server.base_url} counted no tokens for the option {option!r}")
        return OptionScore(float(sum(chosen)), len(chosen))


def _chosen(row: Any) -> float:
    """Log-probability of the token that stands in the prompt: vLLM lists it first, before the likeliest ones."""
    try:
        return float(next(iter(row.values()))["logprob"])
    except (AttributeError, StopIteration, KeyError, TypeError) as error:
        raise RemoteError("the server's prompt_logprobs have an unknown form; use scoring=none") from error


def _reply_text(answer: Mapping[str, Any], where: str) -> str:
    try:
        choice = answer["choices"][0]
        content = choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        keys = ", ".join(sorted(map(str, answer)))[:100]
        raise RemoteError(f"{where} sent no choices[0].message.content (got the keys {keys or 'none'})") from error
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise RemoteError(
            f"{where} sent no text (finish_reason {choice.get('finish_reason')!r}); a thinking model may have used all "
            "its tokens: raise max_new_tokens"
        )
    return without_thoughts(content)


def remote_chat(
    base_url: str,
    model: str,
    *,
    api_key_env: str | None = "OPENAI_API_KEY",
    scoring: ScoringWay = "none",
    timeout_seconds: float = 120.0,
    max_attempts: int = 5,
    first_wait: float = 1.0,
    longest_wait: float = 60.0,
    max_images: int = 64,
    max_side: int = 512,
    max_request_bytes: int = 20_000_000,
    jpeg_quality: int = 85,
    temperature: float | None = 0.0,
    extra: Mapping[str, Any] | None = None,
    max_tokens_field: str = "max_tokens",
) -> RemoteChat:
    """A chat over an OpenAI-compatible server. Nothing is sent before the first question.

    Args:
        base_url: for example ``http://localhost:8000/v1``.
        model: the model's name on that server.
        api_key_env: name of the environment variable that holds the key; unset sends none. The key is never logged.
        scoring: how to get log-probabilities of options: ``none`` (the chat then cannot score), ``vllm`` or
            ``completions``.
        timeout_seconds: for connecting and for each read.
        max_attempts: how often a request is tried at most; 429, 5xx, timeouts and lost connections are tried again.
        first_wait: seconds before the second attempt, doubled for each further one.
        longest_wait: cap on that, and on what ``Retry-After`` may ask for.
        max_images: see :class:`RemoteChat`, as for the arguments that follow.
        max_side: longer side of the pictures in pixels.
        max_request_bytes: cap on the pictures of one request.
        jpeg_quality: 1 to 95.
        temperature: None leaves it to the server.
        extra: further fields of the request body.
        max_tokens_field: ``max_completion_tokens`` where the server wants it.

    Raises:
        ConfigError: an address that is not http(s), or an argument out of range.
    """
    if scoring not in (ways := get_args(ScoringWay)):
        raise UnknownNameError("way of scoring", scoring, ways)
    if max_attempts < 1 or max_images < 1 or max_side < 16 or not 1 <= jpeg_quality <= 95:
        raise ConfigError(
            "remote_chat needs max_attempts >= 1, max_images >= 1, max_side >= 16 and jpeg_quality in 1..95, got "
            f"{max_attempts}, {max_images}, {max_side}, {jpeg_quality}"
        )
    server = JsonServer(
        base_url,
        api_key_env=api_key_env,
        timeout_seconds=timeout_seconds,
        retries=Retries(max_attempts, first_wait, longest_wait),
    )
    settings: dict[str, Any] = {
        "max_images": max_images,
        "max_side": max_side,
        "max_request_bytes": max_request_bytes,
        "jpeg_quality": jpeg_quality,
        "temperature": temperature,
        "extra": extra,
        "max_tokens_field": max_tokens_field,
    }
    if scoring == "none":
        return RemoteChat(server, model, **settings)
    return ScoringRemoteChat(server, model, way=scoring, **settings)
