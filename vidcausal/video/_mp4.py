"""A look at the boxes of an mp4 or mov file before FFmpeg opens it.

A few bytes of a sample table can claim billions of frames of equal size, and FFmpeg takes memory for every one of
them while opening. Only box headers and counts are read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vidcausal.errors import MediaLimitError
from vidcausal.video.limits import MediaLimits

_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"moof", b"mdat", b"styp", b"free", b"skip", b"wide", b"pnot", b"uuid"})
_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
_MAX_BOXES = 1_000_000
_OTHER_TRACKS = 8
"""Audio and text tracks may have this many times more samples than a video track may have frames."""


@dataclass
class _Track:
    kind: bytes = b""
    samples: int = 0
    per_sample: bool = True
    """False for sound where FFmpeg indexes chunks instead of samples."""


def check_sample_counts(path: Path, limits: MediaLimits) -> None:
    """Refuse an mp4 or mov file whose tables claim too many frames; other files pass unread.

    Raises:
        MediaLimitError: more frames than ``limits.max_frames``, or more boxes than any real file has.
    """
    with path.open("rb") as file:
        if file.read(8)[4:] not in _FIRST_BOXES:
            return
        tracks: list[_Track] = []
        fragments = 0
        for count, (kind, start, end) in enumerate(_boxes(file, 0, path.stat().st_size)):
            if count > _MAX_BOXES:
                raise MediaLimitError(
                    f"{path} has over {_MAX_BOXES:,} boxes; remux it, for example with ffmpeg -c copy"
                )
            if kind == b"trak":
                tracks.append(_Track())
            elif kind == b"trun":
                fragments += _number(file, start + 4)
                limits.check_length(None, fragments // (_OTHER_TRACKS + 1), str(path))
            elif tracks:
                _read_table(file, kind, start, end, tracks[-1])
    for track in tracks:
        if track.kind == b"vide" or track.per_sample:
            share = 1 if track.kind == b"vide" else _OTHER_TRACKS
            limits.check_length(None, track.samples // share, str(path))


def _read_table(file: BinaryIO, kind: bytes, start: int, end: int, track: _Track) -> None:
    if kind == b"hdlr" and end - start >= 12:
        file.seek(start + 8)
        handler = file.read(4)
        if handler in (b"vide", b"soun", b"text", b"sbtl", b"subt"):
            track.kind = handler
    elif kind in (b"stsz", b"stz2"):
        track.samples = max(track.samples, _number(file, start + 8))
    elif kind == b"stts":
        track.per_sample = not (
            track.kind == b"soun" and _number(file, start + 4) == 1 and _number(file, start + 12) == 1
        )


def _number(file: BinaryIO, offset: int) -> int:
    file.seek(offset)
    raw = file.read(4)
    return int(struct.unpack(">I", raw)[0]) if len(raw) == 4 else 0


def _boxes(file: BinaryIO, start: int, end: int, depth: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """(type, start of content, end) of every box, parents before their children."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = int(struct.unpack(">I", head[:4])[0]), head[4:8]
        content = start + 8
        if size == 1 and len(head) == 16:
            size, content = int(struct.unpack(">Q", head[8:])[0]), start + 16
        stop = end if size == 0 else start + size
        if stop < content:
            return
        yield kind, content, min(stop, end)
        if kind in _PARENTS and depth < 8:
            yield from _boxes(file, content, min(stop, end), depth + 1)
        start = stop
