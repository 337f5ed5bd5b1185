"""decord, for parity with published numbers that used it. It hangs and leaks, so every read is a child process.

Known wrong, silently: open GOPs (frames after a seek), which a child process cannot help. MPEG-TS, where the first
GOP is lost, and files whose frames it counts differently (edit lists) are refused.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidcausal.errors import DecodeError, DecoderCrashError, DecodeTimeoutError
from vidcausal.video.request import RawFrames, ReadRequest

_CHILD = Path(__file__).with_name("_decord_child.py")
_REFUSED = ("mpegts",)


def version() -> str:
    """Version of the installed decord."""
    return importlib.metadata.version("decord")


def unavailable(device: str) -> str | None:
    """Why decord cannot be used here; None when it can."""
    if device != "cpu":
        return "the decord wheel decodes on the CPU only"
    if importlib.util.find_spec("decord") is None:
        return "decord is not installed (pip install decord; there is no wheel for arm64)"
    return None


def read_frames(request: ReadRequest) -> RawFrames:
    """Decode in a child process that is killed at the deadline.

    Raises:
        DecodeTimeoutError: decord did not answer in time.
        DecoderCrashError: the child process died.
        DecodeError: decord cannot read the file, counts its frames differently, or is known to read it wrongly.
    """
    info = request.info
    if any(name in info.container.split(",") for name in _REFUSED):
        raise DecodeError(f"{info.path}: decord loses frames of {info.container} files; use the backend pyav")
    deadline = request.deadline_seconds
    if deadline is None:
        deadline = 20.0 + 0.5 * info.duration + 0.1 * len(request.indices)
    height, width = request.size or (info.height, info.width)
    with tempfile.TemporaryDirectory(prefix="vidcausal-", dir=_fast_folder()) as folder:
        files = {name: str(Path(folder) / name) for name in ("request", "output", "reply")}
        content = {
            "path": str(Path(info.path).absolute()),
            "seconds": [float(info.pts_seconds[i]) for i in request.indices],
            "num_frames": info.num_frames,
            "size": [height, width],
            "threads": request.threads,
            "output": files["output"],
            "reply": files["reply"],
            "alarm": math.ceil(deadline) + 5,
        }
        Path(files["request"]).write_text(json.dumps(content), encoding="utf-8")
        run_child([sys.executable, str(_CHILD), files["request"]], deadline, info.path)
        return _collect(files, request)


def _fast_folder() -> str | None:
    """Shared memory where there is plenty of it, else the usual temporary folder."""
    with contextlib.suppress(OSError):
        disk = os.statvfs("/dev/shm")
        if os.access("/dev/shm", os.W_OK) and disk.f_bavail * disk.f_frsize > 4 * 2**30:
            return "/dev/shm"
    return None


def run_child(command: Sequence[str], deadline: float, source: str) -> None:
    """Run a decoder process; kill it with all it started when it outlives ``deadline`` seconds.

    Raises:
        DecodeTimeoutError: it was killed.
        DecoderCrashError: it ended by a signal or with an exit code.
    """
    child = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = child.wait(timeout=deadline)
    except subprocess.TimeoutExpired:
        raise DecodeTimeoutError(
            f"{source}: the decoder gave no answer within {deadline:.0f} s and was killed; use the backend pyav"
        ) from None
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if code == -signal.SIGALRM:
        raise DecodeTimeoutError(f"{source}: the decoder gave no answer in time and ended itself; use the backend pyav")
    if code != 0:
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        raise DecoderCrashError(f"{source}: the decoder's process ended {how}; use the backend pyav")


def _collect(files: dict[str, str], request: ReadRequest) -> RawFrames:
    try:
        reply: dict[str, Any] = json.loads(Path(files["reply"]).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DecoderCrashError(f"{request.info.path}: the decoder's process left no answer; use pyav") from error
    if "error" in reply:
        raise DecodeError(f"{request.info.path}: {reply['error']}; use the backend pyav")
    height, width = reply["shape"]
    count = len(reply["seconds"])
    pixels = np.fromfile(files["output"], dtype=np.uint8, count=count * height * width * 3)
    frames = torch.from_numpy(pixels.reshape(count, height, width, 3)).permute(0, 3, 1, 2).contiguous()
    return RawFrames(data=frames, pts_seconds=tuple(float(t) for t in reply["seconds"]))
