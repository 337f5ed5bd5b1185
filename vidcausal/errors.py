"""The errors vidcausal raises.

Every message says what was got, what is allowed and what to do next. ``code`` is a short, stable word for logs,
``predictions.jsonl`` and ``--json`` output; ``exit_code`` is what the command line returns (1: an input failed,
2: bad usage).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


def closest(name: str, allowed: Iterable[str], *, most: int = 1) -> list[str]:
    """Up to ``most`` of the allowed names that ``name`` was probably meant to be, the nearest first."""
    return difflib.get_close_matches(name, list(allowed), n=most, cutoff=0.5)


def first_line(error: BaseException, longest: int = 300) -> str:
    """The first line of an error's message that says something, its type where the message is empty."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:longest]


class VidcausalError(Exception):
    """Base of every error that vidcausal raises on purpose."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1


class ConfigError(VidcausalError):
    """A configuration or argument that cannot work (misspelt key, wrong type, forbidden target)."""

    code = "config"
    exit_code = 2


class UnknownNameError(ConfigError):
    """A model, strategy, benchmark, backend … that does not exist.

    Args:
        kind: what was looked up, for example ``"model"``.
        name: what was asked for.
        allowed: the names that exist; the nearest ones are offered in the message.
    """

    code = "unknown_name"

    def __init__(self, kind: str, name: str, allowed: Iterable[str]) -> None:
        names = sorted(allowed)
        near = closest(name, names, most=3)
        hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(names) or 'none'}.")
        self.kind = kind
        self.name = name


class MissingDependencyError(VidcausalError):
    """An optional library is not installed; the message names the pip command."""

    code = "missing_dependency"
    exit_code = 2


class OutputError(VidcausalError):
    """An output folder or file cannot be written."""

    code = "output"
    exit_code = 2

    @classmethod
    def at(cls, path: object, error: OSError, advice: str = "choose a writable folder") -> OutputError:
        """The error for what the system said when ``path`` was written, and what to do."""
        return cls(f"cannot write {path}: {error.strerror or error}; {advice}")


class RunFolderError(OutputError):
    """A run folder belongs to another configuration or is in use by another process."""

    code = "run_folder"


class DataError(VidcausalError):
    """An annotation, prediction or manifest file that is missing or malformed."""

    code = "data"
    exit_code = 2


# ---- media ----------------------------------------------------------------------------------------------------


class MediaError(VidcausalError):
    """A video, audio or subtitle input that could not be used."""

    code = "media"


class MissingMediaError(MediaError):
    """The path does not exist or is not a file."""

    code = "missing"


class EmptyMediaError(MediaError):
    """The file has no bytes, or no frame could be decoded from it."""

    code = "empty"


class UnreadableMediaError(MediaError):
    """No container that we allow was recognized in the file (text, random bytes, no index …)."""

    code = "unreadable"


class NoVideoStreamError(MediaError):
    """The file is a valid container without a video stream."""

    code = "no_video"


class ForbiddenMediaError(MediaError):
    """Refused before decoding: a URL, a protocol, a container, a codec or a path outside the media root."""

    code = "forbidden"


class MediaLimitError(MediaError):
    """The header claims more pixels, seconds or frames than the limits allow."""

    code = "limit"


class NoClipsError(MediaError):
    """Numbered clips were asked for, and the video has neither title cards nor given spans."""

    code = "no_clips"


class DecodeError(MediaError):
    """A decoder failed on a file that was opened."""

    code = "decode"


class DamagedMediaError(DecodeError):
    """Too many packets were bad, or frames are missing, and the caller asked for strict reading."""

    code = "damaged"


class DecodeTimeoutError(DecodeError):
    """A decoder did not answer before its deadline; its process was killed."""

    code = "timeout"


class DecoderCrashError(DecodeError):
    """The child process of a decoder died."""

    code = "crashed"


# ---- weights and models ---------------------------------------------------------------------------------------


class WeightsError(VidcausalError):
    """Weights that cannot be used."""

    code = "weights"


class MissingWeightsError(WeightsError):
    """The weights are not on this machine; the message has the one line that gets them."""

    code = "missing_weights"


class WeightsIntegrityError(WeightsError):
    """A file's sha256 or size differs from the manifest."""

    code = "weights_integrity"


class ForbiddenWeightsError(WeightsError):
    """A format that can run code on load (pickle) was offered."""

    code = "forbidden_weights"


class ModelError(VidcausalError):
    """A model cannot do what was asked (no video input, too many frames for its context …)."""

    code = "model"


class RemoteError(ModelError):
    """A server did not give a usable answer within the allowed attempts."""

    code = "remote"
