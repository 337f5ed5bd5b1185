"""Readers to compare with, each run in its own process so that its CPU time and memory are its own.

Run as a program: ``python _decode_readers.py READER FILE PATTERN SIZE THREADS`` prints one JSON object. ``cpu`` is user
plus system seconds from opening the file to the last frame, of all threads, without imports; ``base_mb`` and
``peak_mb`` are resident memory after the imports and at its highest.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from _memory import process_mb

READERS = ("vidcausal", "torchcodec", "decord", "opencv", "pyav-sequential")
PATTERNS = ("u8", "u32", "u96", "u128", "clips", "keyframes32", "index")


def wanted(pattern: str, frames: int, fps: float) -> list[int]:
    """Positions of a pattern; clips are 20 stretches of 2 s with 8 frames each, in random order, as training asks."""
    if pattern.startswith("u"):
        return [int(i) for i in np.unique(np.linspace(0, frames - 1, int(pattern[1:])).round())]
    rng = random.Random(0)
    span = int(2 * fps)
    starts = [rng.randrange(frames - span) for _ in range(20)]
    return [start + k * span // 8 for start in starts for k in range(8)]


def read_vidcausal(path: str, pattern: str, size: tuple[int, int] | None, threads: int) -> int:
    from vidcausal.video.decode import open_video
    from vidcausal.video.sampling import At, NearestKeyframe, SamplingPolicy, Uniform

    video = open_video(path, backend="pyav", threads=threads)
    info = video.info
    if pattern == "index":
        return info.num_frames
    policy: SamplingPolicy
    if pattern == "keyframes32":
        policy = NearestKeyframe(Uniform(32))
    else:
        policy = At(tuple(info.pts_seconds[wanted(pattern, info.num_frames, info.fps)]))
    return len(video.sample(policy, size=size))


def read_torchcodec(path: str, pattern: str, size: tuple[int, int] | None, threads: int) -> int:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(path, seek_mode="exact", num_ffmpeg_threads=threads)
    indices = wanted(pattern, decoder.metadata.num_frames, decoder.metadata.average_fps)
    return int(decoder.get_frames_at(indices).data.shape[0])


def read_decord(path: str, pattern: str, size: tuple[int, int] | None, threads: int) -> int:
    import decord

    options = {} if size is None else {"height": size[0], "width": size[1]}
    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=threads, **options)
    return int(reader.get_batch(wanted(pattern, len(reader), reader.get_avg_fps())).asnumpy().shape[0])


def read_opencv(path: str, pattern: str, size: tuple[int, int] | None, threads: int) -> int:
    import cv2

    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    frames, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
    chosen = set(wanted(pattern, frames, fps))
    kept = []
    for n in range(max(chosen) + 1):
        if not capture.grab():
            break
        if n in chosen:
            picture = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
            kept.append(picture if size is None else cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA))
    return len(kept)


def read_sequential(path: str, pattern: str, size: tuple[int, int] | None, threads: int) -> int:
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        chosen = set(wanted(pattern, stream.frames, float(stream.average_rate)))
        kept = []
        for n, frame in enumerate(container.decode(stream)):
            if n in chosen:
                options = {} if size is None else {"width": size[1], "height": size[0]}
                kept.append(frame.to_ndarray(format="rgb24", **options))
            if n >= max(chosen):
                break
    return len(kept)


_READ: dict[str, Callable[[str, str, Any, int], int]] = {
    "vidcausal": read_vidcausal,
    "torchcodec": read_torchcodec,
    "decord": read_decord,
    "opencv": read_opencv,
    "pyav-sequential": read_sequential,
}


def _import(reader: str) -> None:
    """Everything the reader loads lazily, so that imports count as neither time nor memory of the reading."""
    if reader == "vidcausal":
        import vidcausal.video._pyav
        import vidcausal.video.decode  # noqa: F401
    elif reader == "torchcodec":
        import torchcodec.decoders  # noqa: F401
    elif reader == "decord":
        import decord  # noqa: F401
    elif reader == "opencv":
        import cv2  # noqa: F401
    else:
        import av  # noqa: F401


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run one reader once."""
    reader, path, pattern, size, threads = sys.argv[1:6]
    shape = None if size == "full" else (int(size.split("x")[0]), int(size.split("x")[1]))
    try:
        _import(reader)
    except (ImportError, OSError, RuntimeError) as error:
        print(json.dumps({"absent": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"}))
        return
    base, started = process_mb("VmRSS"), _cpu()
    frames = _READ[reader](path, pattern, shape, int(threads))
    print(json.dumps({"cpu": _cpu() - started, "frames": frames, "base_mb": base, "peak_mb": process_mb("VmHWM")}))


if __name__ == "__main__":
    main()
