"""The default reader: PyAV with its own FFmpeg, exact by presentation time.

How a read goes: the wanted positions are grouped by the key frame that decoding must start from. Each group is decoded
from its key frame to its last wanted frame; between groups the decoder is flushed and the file is either sought (mov,
matroska: they have an index) or read on without decoding (the rest: seeking by time lands anywhere there). Inside a
group, pictures that nothing refers to and nobody wants are skipped. Every picture is matched by its time; what a
first pass did not find is looked for once more by decoding from the start.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation, VideoReformatter
from torch import Tensor

from vidcausal.errors import DecodeError, DecodeTimeoutError
from vidcausal.video._container import open_video_stream, packets, timed_by_place
from vidcausal.video.limits import MediaLimits
from vidcausal.video.probe import VideoInfo, clockwise_rotation
from vidcausal.video.request import RawFrames, ReadRequest

_SEEKABLE = frozenset({"mov", "matroska"})
_SKIPPABLE = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})
"""Codecs whose pictures marked "not referred to" can be skipped without changing any other picture."""
_MAX_THREADS = 4
_SEEK_OVER = 64
"""Frames that are read over without decoding rather than sought over."""
_X264_BUILD = re.compile(rb"x264 - core (\d+)")


def version() -> str:
    """Version of PyAV."""
    return str(av.__version__)


def unavailable(device: str) -> str | None:
    """None on the CPU; PyAV has no route to CUDA memory here."""
    return None if torch.device(device).type == "cpu" else "PyAV decodes on the CPU only"


def read_frames(request: ReadRequest) -> RawFrames:
    """Decode the requested frames; those that cannot be had are left out.

    Raises:
        DecodeTimeoutError: the deadline passed.
        MediaError: the file can no longer be opened.
    """
    threads = request.threads or min(_MAX_THREADS, os.cpu_count() or 1)
    job = _read(request, threads)
    if job.bad and threads > 1:
        # What a decoder conceals depends on its number of threads; a damaged file shall look the same everywhere.
        job = _read(request, 1)
    return job.result(request)


def _read(request: ReadRequest, threads: int) -> _Job:
    job = _Job.of(request)
    _Pass(job, request, threads).run(whole=False)
    if job.pending and job.sought:
        _Pass(job, request, threads).run(whole=True)
    return job


@dataclass
class _Job:
    """What is wanted, what was found, and what went wrong; lives through both passes."""

    pending: set[int]
    """Positions not yet found."""
    rows: dict[int, int]
    """Output row of every wanted position."""
    pixels: Tensor
    deadline: float | None
    bad: int = 0
    fed: int = 0
    sought: bool = False
    reformatter: VideoReformatter = field(default_factory=VideoReformatter)

    @classmethod
    def of(cls, request: ReadRequest) -> _Job:
        info = request.info
        height, width = request.size or (info.height, info.width)
        limit = request.deadline_seconds
        return cls(
            pending=set(request.indices),
            rows={index: row for row, index in enumerate(request.indices)},
            pixels=torch.empty((len(request.indices), 3, height, width), dtype=torch.uint8),
            deadline=None if limit is None else time.monotonic() + limit,
        )

    def check_deadline(self, path: str) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise DecodeTimeoutError(
                f"{path}: decoding did not finish in time ({len(self.pending)} of {len(self.rows)} frames still "
                "missing); ask for fewer frames, use NearestKeyframe, or allow more time"
            )

    def keep(self, position: int, frame: Any) -> None:
        """Convert and store a decoded frame if it is wanted."""
        if position not in self.pending:
            return
        height, width = self.pixels.shape[2:]
        turn = clockwise_rotation(frame)
        if turn in (90, 270):
            height, width = width, height
        rgb = self.reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=Interpolation.BICUBIC, threads=1
        )
        plane = rgb.planes[0]
        rows = np.frombuffer(plane, dtype=np.uint8).reshape(height, plane.line_size)
        image = rows[:, : width * 3].reshape(height, width, 3)
        if turn:
            image = np.rot90(image, k=-turn // 90)
        np.copyto(self.pixels[self.rows[position]].numpy(), image.transpose(2, 0, 1))
        self.pending.discard(position)

    def result(self, request: ReadRequest) -> RawFrames:
        found = [index for index in request.indices if index not in self.pending]
        pixels = self.pixels
        if self.pending:
            pixels = pixels[[self.rows[index] for index in found]]
        times = tuple(float(request.info.pts_seconds[index]) for index in found)
        return RawFrames(pixels, times, bad_packets=self.bad, total_packets=self.fed)


def _limits(info: VideoInfo) -> MediaLimits:
    """No tighter than what the probe accepted, and never without a cap on pixels (a stream may grow midway)."""
    pixels = max(MediaLimits().max_pixels, info.width * info.height)
    return MediaLimits(pixels, max_side=2**20, max_seconds=1e9, max_frames=2**40, max_bytes=2**60)


class _Lost(Exception):
    """A seek or a skip did not arrive at the key frame it was meant for."""


class _Pass:
    """One walk through the file."""

    def __init__(self, job: _Job, request: ReadRequest, threads: int) -> None:
        self.job = job
        self.threads = threads
        self.info = request.info
        self.bad = 0
        """Packets the decoder rejected, and pictures it marked as corrupt."""
        self.fed = 0
        self.shown = 0

    def run(self, *, whole: bool) -> None:
        """Decode what is pending: by groups, or from the start to the last wanted frame when ``whole``."""
        with open_video_stream(self.info.path, _limits(self.info)) as (container, stream):
            self.container, self.stream, self.context = container, stream, stream.codec_context
            self.context.thread_count = self.threads
            self.context.thread_type = "AUTO" if self.threads > 1 else "NONE"
            times = (self.info.pts_seconds + self.info.start_offset) / float(stream.time_base)
            self.pts = np.rint(times).astype(np.int64)
            self.by_place = timed_by_place(container, stream)
            self.can_skip = self.info.codec in _SKIPPABLE and not self.by_place
            self.source: Iterator[Any] = packets(container, stream)
            try:
                if whole or self.by_place:
                    self._decode_whole()
                else:
                    self._decode_groups()
            except av.error.FFmpegError as error:
                raise DecodeError(f"{self.info.path}: decoding failed ({error}); the file may be damaged") from error
        self.job.bad = max(self.job.bad, self.bad)
        self.job.fed = max(self.job.fed, self.fed)

    # ---- the two ways to walk -----------------------------------------------------------------------------------

    def _decode_whole(self) -> None:
        for packet in self.source:
            self._feed(packet, floor=0)
            if not self.job.pending:
                return
        self._drain(floor=0)

    def _decode_groups(self) -> None:
        seekable = bool(_SEEKABLE & set(self.info.container.split(",")))
        self.primer = self._find_primer()
        groups = list(self._groups())
        reached = 0
        for n, (start, last) in enumerate(groups):
            try:
                if start > 0:
                    self.context.flush_buffers()
                    if seekable and start - reached > _SEEK_OVER:
                        self._seek(start)
                    self._skip_to(start)
                following = groups[n + 1][0] if n + 1 < len(groups) else None
                self._decode_group(start, last, following)
            except _Lost:
                return
            reached = last

    def _groups(self) -> Iterator[tuple[int, int]]:
        """(key frame to start from, last wanted position), ascending; 0 stands for the start of the file."""
        keys = self.info.keyframes
        wanted = sorted(self.job.pending)
        before = np.searchsorted(keys, wanted, side="right") - 1
        starts = [int(keys[k]) if k >= 0 else 0 for k in before]
        for n, (start, position) in enumerate(zip(starts, wanted, strict=True)):
            if n + 1 == len(wanted) or starts[n + 1] != start:
                yield start, position

    def _decode_group(self, start: int, last: int, following: int | None) -> None:
        """Feed packets until every one that is shown from ``start`` to ``last`` has gone in, then drain.

        With open GOPs the next group's key frame goes in before our last picture; it is put back for that group.
        """
        low, high = int(self.pts[start]), int(self.pts[last])
        next_key = None if following is None else int(self.pts[following])
        missing = last - start + 1
        put_back: list[Any] = []
        for packet in self.source:
            if put_back or (packet is not None and next_key is not None and packet.pts == next_key):
                put_back.append(packet)
            self._feed(packet, floor=start)
            if packet is not None and packet.pts is not None and low <= packet.pts <= high and not packet.is_discard:
                missing -= 1
                if missing <= 0:
                    break
        self._drain(floor=start)
        if put_back:
            self.source = itertools.chain(put_back, self.source)

    # ---- finding a key frame ------------------------------------------------------------------------------------

    def _seek(self, start: int) -> None:
        """Move the file to the key frame at position ``start``, or a little before it."""
        target = int(self.pts[start])
        self.job.sought = True
        for early in (0.0, 2.0, 20.0):
            self.container.seek(target - int(early / self.stream.time_base), stream=self.stream)
            self.source = packets(self.container, self.stream)
            first = next((p for p in self.source if p is not None and p.pts is not None), None)
            if first is not None and first.pts <= target:
                self.source = itertools.chain([first], self.source)
                return
        raise _Lost

    def _skip_to(self, start: int) -> None:
        """Read on, without decoding, to the key frame at position ``start``; get the decoder ready for it."""
        target = int(self.pts[start])
        self.job.sought = True
        for packet in self.source:
            if packet is None or not packet.is_keyframe or packet.pts is None or packet.pts < target:
                continue
            if packet.pts > target:
                break
            self.source = itertools.chain([packet], self.source)
            if self.primer is not None:
                self._feed(self.primer, floor=start)
            return
        raise _Lost

    def _find_primer(self) -> Any:
        """The first packet, where the decoder must see it again after every flush.

        FFmpeg works around defects of old x264 builds, but learns the build only from a note in the first packet and
        forgets it when flushed: 4:4:4 streams of builds before 151 then decode to garbage without an error.
        """
        first = next((p for p in self.source if p is not None), None)
        if first is None:
            return None
        self.source = itertools.chain([first], self.source)
        build = _X264_BUILD.search(bytes(first)[:4096]) if self.info.codec == "h264" else None
        if build is None:
            return None
        old = int(build[1]) < 151 if "444" in self.info.pixel_format else int(build[1]) <= 33
        return first if old else None

    # ---- feeding the decoder ------------------------------------------------------------------------------------

    def _feed(self, packet: Any, floor: int) -> None:
        self.job.check_deadline(self.info.path)
        self.fed += 1
        if packet is None:
            self.bad += 1
            return
        if self.by_place and packet.size <= 1:
            return
        if self.can_skip:
            wanted = self._position(packet.pts) in self.job.pending
            self.context.skip_frame = "DEFAULT" if wanted else "NONREF"
        self._take(packet, floor)

    def _drain(self, floor: int) -> None:
        self._take(None, floor)

    def _take(self, packet: Any, floor: int) -> None:
        try:
            frames = self.context.decode(packet)
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, IndexError, ValueError):
            self.bad += 1
            self.shown += 1
            return
        for frame in frames:
            position = (
                self.shown if self.by_place else self._position(frame.pts if frame.pts is not None else frame.dts)
            )
            self.shown += 1
            self.bad += frame.is_corrupt
            if position >= floor:
                self.job.keep(position, frame)

    def _position(self, pts: int | None) -> int:
        """Position of a container time in the index, -1 when it is not there."""
        if pts is None:
            return -1
        found = bisect_left(self.pts, pts)
        return found if found < len(self.pts) and self.pts[found] == pts else -1
