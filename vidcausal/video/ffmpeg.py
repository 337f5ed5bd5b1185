"""The ffmpeg program: where it is, and how it is run.

Command lines are built with ffmpeg-python. Every process has a deadline, gets no standard input, and opens only local
files of the containers that :mod:`vidcausal.video.limits` allows.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from vidcausal.errors import DecodeError, DecodeTimeoutError, MissingDependencyError, OutputError
from vidcausal.video.limits import CONTAINERS, PROTOCOLS

_REFUSED = ("Permission denied", "No space left", "Disk quota exceeded", "Read-only file system")
_UNFINISHED = ("Error writing trailer", "Error closing file")


def executable(encoder: str | None = None) -> str:
    """Path of ffmpeg: the one on the PATH, else the one that the package imageio-ffmpeg brings.

    With an ``encoder``, the first of them that has it.

    Raises:
        MissingDependencyError: there is none.
    """
    found = [path for path in (shutil.which("ffmpeg"), _bundled()) if path]
    if not found:
        raise MissingDependencyError(
            "no ffmpeg on the PATH and no imageio-ffmpeg; run: pip install imageio-ffmpeg (or install ffmpeg)"
        )
    able = [path for path in found if encoder is None or encoder in _told(path, "-encoders").split()]
    if not able:
        raise MissingDependencyError(
            f"{found[0]} cannot encode {encoder}; run: pip install imageio-ffmpeg, which brings one that can"
        )
    return able[0]


def _bundled() -> str | None:
    try:
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


@functools.lru_cache(maxsize=16)
def _told(program: str, question: str) -> str:
    """What ``program`` prints when asked ``-version`` or ``-encoders``; nothing when it does not run."""
    command = [program, "-hide_banner", question]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def version(program: str | None = None) -> str:
    """Version of ``program`` (default: :func:`executable`) as it prints it, for example ``"7.0.2-static"``."""
    words = _told(program or executable(), "-version").split()
    return words[2] if len(words) > 2 else "unknown"


def variable_rate(encoder: str | None = None) -> dict[str, str]:
    """The output option that keeps every frame at its own time; it was renamed in ffmpeg 5.1."""
    numbers = re.match(r"[a-zA-Z]*(\d+)\.(\d+)", version(executable(encoder)))
    old = numbers is not None and (int(numbers[1]), int(numbers[2])) < (5, 1)
    return {"vsync": "vfr"} if old else {"fps_mode": "vfr"}


def library() -> Any:
    """The module ffmpeg-python, imported when it is first needed.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("ffmpeg")
    except ImportError as error:
        raise MissingDependencyError("ffmpeg-python is not installed; run: pip install ffmpeg-python") from error


def file_url(path: str | os.PathLike[str]) -> str:
    """``path`` as ffmpeg must be told it: absolute and after ``file:``, so that no ``-`` or ``:`` in it means more."""
    return f"file:{Path(path).absolute()}"


def media_input(path: str | os.PathLike[str], **options: Any) -> Any:
    """An ffmpeg-python input node for a file that was probed, with the protocol and container allow-lists set."""
    return library().input(
        file_url(path),
        protocol_whitelist=",".join(PROTOCOLS),
        format_whitelist=",".join(CONTAINERS),
        **options,
    )


def run(
    node: Any, *, deadline: float, source: str = "", limit_bytes: int | None = None, encoder: str | None = None
) -> bytes:
    """Run an ffmpeg-python output node and return its standard output.

    Args:
        node: what ``ffmpeg.output(...)`` gave.
        deadline: seconds after which the process is killed.
        source: the file it is about, for error messages.
        limit_bytes: more output than this is an error.
        encoder: an encoder that the program must have.

    Raises:
        DecodeTimeoutError: it did not end in time.
        DecodeError: it ended with an error; the message has ffmpeg's last lines.
        OutputError: the file to be written cannot be written.
    """
    node = node.global_args("-nostdin", "-hide_banner", "-loglevel", "error")
    command = library().compile(node, cmd=executable(encoder), overwrite_output=True)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=deadline,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise DecodeTimeoutError(
            f"ffmpeg did not finish {source or 'its work'} within {deadline:.0f} s and was killed; "
            "give a shorter span or a smaller file"
        ) from error
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    said = " | ".join(lines[-3:])[-500:] or f"exit code {done.returncode}"
    # Up to ffmpeg 5 a file that could not be ended because the disk was full is an exit code of 0.
    if done.returncode != 0 or any(trouble in said for trouble in _UNFINISHED):
        if any(refused in said for refused in _REFUSED):
            raise OutputError(f"ffmpeg cannot write its output: {said}; choose a writable folder with free space")
        raise DecodeError(f"ffmpeg failed on {source or 'its input'}: {said}")
    if limit_bytes is not None and len(done.stdout) > limit_bytes:
        raise DecodeError(f"ffmpeg gave {len(done.stdout)} bytes for {source}, more than the {limit_bytes} expected")
    return done.stdout
