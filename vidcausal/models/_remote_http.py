"""One JSON request to a server, tried again where that can help, ending in a result or in one clear error."""

from __future__ import annotations

import email.utils
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from vidcausal.errors import ConfigError, MissingDependencyError, RemoteError

logger = logging.getLogger(__name__)

_TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_ADVICE = {
    400: "check the model name, the number of images and the length of the prompt",
    401: "set the environment variable named by api_key_env to a valid key",
    403: "the key may not use this model",
    404: "check base_url (it usually ends in /v1) and the model name",
    413: "send fewer or smaller frames",
    429: "wait, or raise max_attempts",
}


@dataclass(frozen=True)
class Retries:
    """How often and how long a request is tried again.

    The wait doubles from ``first_wait`` up to ``longest_wait`` seconds; a server's ``Retry-After`` goes first, with the
    same cap.
    """

    max_attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def wait(self, attempt: int, retry_after: str | None) -> float:
        """Seconds to wait after the failed ``attempt`` (counted from 1)."""
        asked = _retry_after_seconds(retry_after)
        seconds = asked if asked is not None else self.first_wait * 2 ** (attempt - 1)
        return min(seconds, self.longest_wait)


class JsonServer:
    """POSTs JSON under ``base_url``. Connects on first use, and only to that host (redirects are not followed).

    Args:
        base_url: ``http://`` or ``https://`` address, for example ``http://localhost:8000/v1``.
        api_key_env: name of the environment variable with the key; None or an unset variable sends no key.
        timeout_seconds: for connecting and for each read.
        retries: what to try again.

    Raises:
        ConfigError: another kind of address, or one with a password in it.
    """

    def __init__(self, base_url: str, *, api_key_env: str | None, timeout_seconds: float, retries: Retries) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"base_url must be http://HOST/… or https://HOST/…, got {base_url!r}")
        if parts.username or parts.password:
            raise ConfigError("base_url contains a user name or password; put the key into an environment variable")
        self.base_url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._api_key_env = api_key_env
        self._timeout_seconds = timeout_seconds
        self._retries = retries

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's JSON object.

        Raises:
            RemoteError: no usable answer after the allowed attempts; server pages and keys are left out of it.
        """
        url = f"{self.base_url}/{path}"
        last, retry_after = "", None
        for attempt in range(1, self._retries.max_attempts + 1):
            if attempt > 1:
                seconds = self._retries.wait(attempt - 1, retry_after)
                logger.warning("%s: %s; attempt %d in %.1f s", url, last, attempt, seconds)
                self._retries.sleep(seconds)
            answer = self._attempt(url, body)
            if isinstance(answer, dict):
                return answer
            if answer.final:
                raise RemoteError(f"{url} {answer.what}")
            last, retry_after = answer.what, answer.retry_after
        raise RemoteError(f"{url} {last}; gave up after {self._retries.max_attempts} attempts")

    def _attempt(self, url: str, body: Mapping[str, Any]) -> dict[str, Any] | _Failure:
        import httpx

        try:
            response = self._client.post(url, json=body, headers=self._headers())
        except httpx.TimeoutException:
            return _Failure(f"did not answer within {self._timeout_seconds:g} s", final=False)
        except httpx.TransportError as error:
            return _Failure(f"could not be reached ({type(error).__name__})", final=False)
        if response.status_code == 200:
            return _json_object(response)
        advice = _ADVICE.get(response.status_code, "the server's own log says more")
        detail = self._without_key(_message(response))
        return _Failure(
            f"answered {response.status_code}{f' ({detail})' if detail else ''}: {advice}",
            final=response.status_code not in _TRY_AGAIN,
            retry_after=response.headers.get("retry-after"),
        )

    @cached_property
    def _client(self) -> Any:
        try:
            import httpx
        except ImportError as error:
            raise MissingDependencyError("a remote model needs httpx: pip install httpx") from error
        return httpx.Client(timeout=self._timeout_seconds, follow_redirects=False)

    def _headers(self) -> dict[str, str]:
        key = self._key()
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the key in the environment variable {self._api_key_env} has characters no key can have")
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _key(self) -> str:
        return os.environ.get(self._api_key_env, "").strip() if self._api_key_env else ""

    def _without_key(self, text: str) -> str:
        key = self._key()
        return text.replace(key, "***") if key else text


@dataclass(frozen=True)
class _Failure:
    what: str
    final: bool
    retry_after: str | None = None


def _json_object(response: Any) -> dict[str, Any] | _Failure:
    try:
        value = response.json()
    except ValueError:
        return _Failure(
            "answered 200 with something that is not JSON; is base_url an OpenAI-compatible API?", final=True
        )
    if not isinstance(value, dict):
        return _Failure(f"answered 200 with a JSON {type(value).__name__}, not an object", final=True)
    return value


def _message(response: Any) -> str:
    """The server's explanation in one short line, if it sent one as JSON; a page of HTML is nothing to show."""
    try:
        value = response.json()
    except ValueError:
        return ""
    error = value.get("error", value) if isinstance(value, dict) else None
    text = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    if not isinstance(text, str):
        return ""
    plain = re.sub(r"<[^>]*>", " ", text)
    return re.sub(r"\s+", " ", plain).strip()[:200]


def _retry_after_seconds(value: str | None) -> float | None:
    """``Retry-After`` as seconds from now: a number, or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
