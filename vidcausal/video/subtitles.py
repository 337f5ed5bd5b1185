"""Subtitles as lines with times: SubRip, WebVTT, ASS and the streams inside a container."""

from __future__ import annotations

import html
import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcausal.errors import (
    DecodeError,
    DecodeTimeoutError,
    MediaError,
    MediaLimitError,
    MissingDependencyError,
    UnreadableMediaError,
)
from vidcausal.types import SpeechLine
from vidcausal.video import ffmpeg
from vidcausal.video.limits import MediaLimits, check_file, check_path

if TYPE_CHECKING:
    from vidcausal.video.probe import VideoInfo

MAX_BYTES = 16 * 1024 * 1024
"""A subtitle file larger than this is refused."""

_TAG = re.compile(r"<[^<>]*>")
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")


def read_subtitles(
    path: str | Path,
    *,
    shift: float = 0.0,
    media_root: str | Path | None = None,
    limits: MediaLimits | None = None,
) -> tuple[SpeechLine, ...]:
    """Lines of a .srt, .vtt, .ass or .ssa file, in time order, without tags.

    Args:
        path: the file; the format is told from its content.
        shift: seconds added to every time, see :func:`playback_start`.
        media_root: files outside this folder are refused.
        limits: allow-lists and caps; None takes the default ones.

    Raises:
        MediaError: missing, empty, forbidden, or no subtitle format was recognized.
    """
    content = subtitle_bytes(path, media_root=media_root, limits=limits)
    return _lines(_parse(_text(content), str(path)), shift)


def subtitle_bytes(path: str | Path, *, media_root: str | Path | None, limits: MediaLimits | None) -> bytes:
    """The bytes of a subtitle file after the same checks as for a video.

    Raises:
        MediaError: missing, empty, forbidden or larger than :data:`MAX_BYTES`.
    """
    checked = check_path(path, media_root)
    check_file(checked, limits or MediaLimits())
    if checked.stat().st_size > MAX_BYTES:
        raise MediaLimitError(f"{path} has {checked.stat().st_size} bytes; subtitle files may have {MAX_BYTES}")
    return checked.read_bytes()


def read_embedded_subtitles(info: VideoInfo) -> tuple[SpeechLine, ...]:
    """Lines of the first text subtitle stream of a video, seconds since its first displayed frame.

    Empty where there is no subtitle stream, or only ones made of pictures.
    """
    if info.subtitle_streams == 0:
        return ()
    deadline = 30.0 + info.size_bytes / 2e7
    for stream in range(info.subtitle_streams):
        source = ffmpeg.media_input(info.path, copyts=None)
        node = source[f"s:{stream}"].output("pipe:1", format="ass", fs=MAX_BYTES)
        try:
            text = ffmpeg.run(node, deadline=deadline, source=info.path, limit_bytes=MAX_BYTES)
        except DecodeTimeoutError:
            raise
        except DecodeError:
            continue  # made of pictures: there is no text in it
        if lines := _lines(_parse(_text(text), info.path), -info.start_offset):
            return lines
    return ()


def playback_start(info: VideoInfo) -> float:
    """When players start, in seconds since the first displayed frame: 0, or before it where sound comes first.

    Subtitle files count from there. A file that cannot be opened starts at its first frame.
    """
    from vidcausal.video._container import open_video_stream

    try:
        with open_video_stream(info.path, MediaLimits()) as (container, _):
            start = container.start_time
    except MediaError:
        return 0.0
    return 0.0 if start is None else min(start / 1e6 - info.start_offset, 0.0)


def _text(content: bytes) -> str:
    for encoding in ("utf-8-sig", "utf-16") if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("cp1252", errors="replace")


def _parse(text: str, path: str) -> Iterable[Any]:
    try:
        pysubs2: Any = importlib.import_module("pysubs2")
    except ImportError as error:
        raise MissingDependencyError("pysubs2 is not installed; run: pip install pysubs2") from error
    try:
        # Files without a style section are valid, but not recognized by their content.
        known = "ass" if "[Events]" in text and "Dialogue:" in text else None
        return list(pysubs2.SSAFile.from_string(text, format_=known))
    except Exception as error:  # pysubs2 raises many kinds for what it cannot read
        raise UnreadableMediaError(
            f"{path} is not a subtitle file that can be read ({type(error).__name__}); allowed: .srt, .vtt, .ass, .ssa"
        ) from error


def _lines(events: Iterable[Any], shift: float) -> tuple[SpeechLine, ...]:
    """Shown lines, cleaned, sorted; a line that repeats the one before it (rolling captions) extends that one."""
    found: list[SpeechLine] = []
    for event in sorted(events, key=lambda e: (e.start, e.end)):
        words = _clean(event.text)
        start, end = event.start / 1000 + shift, event.end / 1000 + shift
        if event.is_comment or event.is_drawing or not words or end <= 0 or end < start:
            continue
        if found and found[-1].text == words and start - found[-1].end < 0.05:
            found[-1] = SpeechLine(found[-1].start, max(end, found[-1].end), words)
        else:
            found.append(SpeechLine(max(start, 0.0), end, words))
    return tuple(found)


def _clean(text: str) -> str:
    """Text without ASS overrides, HTML tags and entities, on one line."""
    text = _OVERRIDE.sub("", text).replace("\\N", " ").replace("\\n", " ").replace("\\h", " ")
    return " ".join(html.unescape(_TAG.sub("", text)).split())
