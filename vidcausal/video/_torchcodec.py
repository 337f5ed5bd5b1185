"""torchcodec on the CPU and on CUDA: exact seek mode, frames asked for by time and checked by their returned time.

Source: https://github.com/pytorch/torchcodec, ``VideoDecoder.get_frames_played_at`` (0.12 and later).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidcausal.errors import DecodeError
from vidcausal.video.pictures import resize
from vidcausal.video.request import RawFrames, ReadRequest

_NO_FFMPEG = "FFmpeg's shared libraries (versions 4 to 9) are not on this machine"
_PIECE = 16
"""Frames decoded at full size before they are resized."""


def version() -> str:
    """Version of the installed torchcodec."""
    return importlib.metadata.version("torchcodec")


def unavailable(device: str) -> str | None:
    """Why torchcodec cannot be used here, one line; None when it can."""
    if importlib.util.find_spec("torchcodec") is None:
        return "torchcodec is not installed (pip install torchcodec; it also needs FFmpeg's shared libraries)"
    try:
        importlib.import_module("torchcodec.decoders")
        package = importlib.import_module("torchcodec")
    except (ImportError, OSError, RuntimeError) as error:
        return f"torchcodec {version()} does not load: {_reason(str(error))}"
    # From 0.16 on it loads without FFmpeg, for pictures only.
    if getattr(package, "ffmpeg_major_version", 0) is None:
        return f"torchcodec {version()} does not decode video: {_NO_FFMPEG}"
    if device.startswith("cuda") and not torch.cuda.is_available():
        return "torchcodec could decode on a GPU, but torch sees none"
    return None


def _reason(text: str) -> str:
    """The line of torchcodec's long import error that names the cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "unknown reason"
    missing = [line for line in lines if "cannot open shared object file" in line or "undefined symbol" in line]
    first = missing[0] if missing else lines[0]
    libraries = ("libavutil", "libavcodec", "libavformat", "libavfilter", "libswscale", "libswresample", "libavdevice")
    if any(name in first for name in libraries):
        return _NO_FFMPEG
    return first[:200]


def read_frames(request: ReadRequest) -> RawFrames:
    """Decode; on CUDA the pixels never leave the device.

    Raises:
        DecodeError: torchcodec cannot open the file, would not decode on the device that was asked for, or returns
            other frames than those asked for (MPEG-TS).
        DecodeTimeoutError: the deadline passed between two pieces.
    """
    started = time.monotonic()
    decoder = _open(request)
    info = request.info
    steps = np.diff(info.pts_seconds)
    tolerance = max(float(np.median(steps)) / 2 if len(steps) else 0.5, 1e-3)
    pieces: list[Tensor] = []
    times: list[float] = []
    for start in range(0, len(request.indices), _PIECE):
        request.check_deadline(started, len(times), "torchcodec")
        wanted = [float(info.pts_seconds[i]) for i in request.indices[start : start + _PIECE]]
        for data, returned in _played_at(decoder, [t + info.start_offset for t in wanted]):
            shown = returned - info.start_offset
            k = int(np.abs(np.asarray(wanted) - shown).argmin())
            if abs(wanted[k] - shown) > tolerance or wanted[k] in times[-_PIECE:]:
                raise DecodeError(
                    f"{info.path}: torchcodec returned the frame of {shown:.3f} s where others were asked for; use pyav"
                )
            pieces.append(_resized(data, request.size))
            times.append(wanted[k])
    height, width = request.size or (info.height, info.width)
    empty = torch.empty((0, 3, height, width), dtype=torch.uint8, device=request.device)
    return RawFrames(data=torch.stack(pieces) if pieces else empty, pts_seconds=tuple(times))


def _open(request: ReadRequest) -> Any:
    decoders: Any = importlib.import_module("torchcodec.decoders")
    path = request.info.path
    try:
        # An absolute path, because torchcodec also takes URLs.
        decoder = decoders.VideoDecoder(
            str(Path(path).absolute()),
            device=request.device,
            seek_mode="exact",
            num_ffmpeg_threads=request.threads,
            dimension_order="NCHW",
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise DecodeError(f"{path}: torchcodec cannot open it ({_reason(str(error))}); use the backend pyav") from error
    fallback = getattr(decoder, "cpu_fallback", None)
    if request.device.startswith("cuda") and fallback:
        raise DecodeError(f"{path}: the GPU does not decode this video ({fallback}); use the CPU")
    return decoder


def _played_at(decoder: Any, seconds: list[float]) -> Iterator[tuple[Tensor, float]]:
    """Frames shown at container times, with their own times; a frame that fails is left out, not its neighbors."""
    # A hair later than the frame's start, so that rounding never selects the frame before it.
    asked = [t + 1e-4 for t in seconds]
    try:
        batch = decoder.get_frames_played_at(asked)
        yield from zip(batch.data, batch.pts_seconds.tolist(), strict=True)
        return
    except (RuntimeError, ValueError, IndexError):
        pass
    for t in asked:
        try:
            frame = decoder.get_frame_played_at(t)
        except (RuntimeError, ValueError, IndexError):
            continue
        yield frame.data, float(frame.pts_seconds)


def _resized(picture: Tensor, size: tuple[int, int] | None) -> Tensor:
    if size is None or tuple(picture.shape[-2:]) == size:
        return picture
    if picture.device.type != "cpu":
        return resize(picture[None], size)[0]
    # On the CPU torch resizes uint8 itself, in a fraction of the time and memory of float32.
    return torch.nn.functional.interpolate(picture[None], size=size, mode="bilinear", antialias=True)[0]
