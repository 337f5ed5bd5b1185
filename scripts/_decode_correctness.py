"""Are they the frames that were asked for? A table over files that carry their frame number in their pixels.

Bit k of a frame's number is a square around rows 6..17, columns 16k+10..16k+21: 1 where its mean is over 120.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidcausal.errors import VidcausalError
from vidcausal.video import ffmpeg
from vidcausal.video.decode import open_video
from vidcausal.video.frames import FrameBatch
from vidcausal.video.sampling import At, SamplingPolicy, Uniform

FPS = 30.0
VALID: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("cfr_bf0.mp4", "cfr_bf3.mp4", "fast.mp4", "cfr.mkv", "cfr.ts", "frag.mp4"), (0, 600)),
    **dict.fromkeys(("opengop.mp4", "vfr2.mp4", "offset5.mp4", "editlist_cut.mp4", "rot90.mp4"), (0, 600)),
    **dict.fromkeys(("hevc10.mp4", "vp9.webm", "av1.mkv"), (0, 300)),
    "vfr.mp4": (0, 428),
    "editlist2.mp4": (99, 501),
    "oneframe.mp4": (0, 1),
}
"""Number of the first displayed frame, and how many there are."""
OFFSETS = {"cfr.ts": 132000 / 90000, "frag.mp4": 1024 / 15360, "offset5.mp4": 5.0, "editlist_cut.mp4": 1014 / 15360}
"""Container seconds of the first displayed frame, where not 0."""
TOLERANCES = {"vfr2.mp4": 0.034}
"""Seconds by which a time may miss the rule: times of vfr2's slow part (6 a second) were rounded to a 30th."""


@dataclass(frozen=True)
class Damage:
    """What 16 uniform frames of a damaged file give with PyAV, as recorded with PyAV 18.1 (FFmpeg 8.1.2)."""

    delivered: int
    readable: int
    flagged: bool


DAMAGED = {
    "bitflip_few.mp4": Damage(16, 16, True),
    "bitflip_many.mp4": Damage(13, 1, True),
    "zeroed_mid.mp4": Damage(11, 10, True),
    "trunc_fast_half.mp4": Damage(15, 15, True),
    "trunc_half.mkv": Damage(16, 16, True),
    "trunc_half.ts": Damage(16, 16, False),
    "trunc_half_frag.mp4": Damage(15, 15, True),
}
REFUSED = {
    **dict.fromkeys(("audio_only.m4a", "audio_only.mp4"), "no_video"),
    **dict.fromkeys(("random.mp4", "text.mp4", "trunc_head.mp4", "trunc_nomoov.mp4"), "unreadable"),
    "zero.mp4": "empty",
    "no_such_file.mp4": "missing",
}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    file: str
    backend: str
    expected: str
    got: str
    ok: bool


def frame_number(picture: NDArray[np.uint8]) -> int:
    """The number coded in a picture ``[3, h, w]``."""
    bits = [picture[:, 6:18, 16 * k + 10 : 16 * k + 22].mean() > 120 for k in range(16)]
    return sum(1 << k for k, bit in enumerate(bits) if bit)


def true_seconds(file: str, number: int) -> float:
    """When frame ``number`` is shown, counted from the first displayed frame."""
    if file == "vfr2.mp4" and number > 300:
        return 300 / FPS + (number - 300) / 6.0
    return (number - VALID[file][0]) / FPS


def check(folder: Path, backends: list[str]) -> list[Row]:
    """All rows for ``folder``; the damaged files and the refusals are judged on PyAV only."""
    rows = [_valid_row(folder / file, backend) for file in VALID for backend in backends]
    for backend in backends:
        judged = backend == "pyav"
        rows += [_damaged_row(folder / file, backend, expected, judged) for file, expected in DAMAGED.items()]
        rows += [_refused_row(folder / file, backend, code) for file, code in REFUSED.items()]
    return rows


def _valid_row(path: Path, backend: str) -> Row:
    first, count = VALID[path.name]
    try:
        video = open_video(path, backend=backend)
        info = video.info
        keys = np.unique(
            np.clip(np.concatenate([info.keyframes - 1, info.keyframes, info.keyframes + 1]), 0, count - 1)
        )
        policies: list[SamplingPolicy] = [Uniform(16), At(tuple(info.pts_seconds[keys[keys < info.num_frames]]))]
        exact = asked = 0
        worst = 0.0
        for policy in policies:
            plan = policy.plan(info)
            batch = video.sample(policy)
            good, off = _exact(path.name, batch)
            exact, asked, worst = exact + good, asked + len(plan), max(worst, off)
        offset = abs(info.start_offset - OFFSETS.get(path.name, 0.0))
        ok = exact == asked and info.num_frames == count and offset < 1e-3
        note = ""
        if path.name == "rot90.mp4":
            turned = _rotation_difference(path, video.sample(At((0.0,))))
            ok, note = ok and turned == 0, f", {turned:.1f} from ffmpeg's autorotate"
        got = f"{exact}/{asked} frames, {info.num_frames} in all, pts off by {worst * 1e3:.2f} ms{note}"
    except VidcausalError as error:
        ok, got = False, f"{error.code}: {error}"
    return Row(path.name, backend, f"exact, {count} frames from {first}", got, ok)


def _exact(file: str, batch: FrameBatch) -> tuple[int, float]:
    """How many frames show the number that belongs to their time, and the largest error of a time in seconds."""
    good, worst = 0, 0.0
    for picture, seconds in zip(batch.data.numpy(), batch.pts_seconds.tolist(), strict=True):
        upright = np.rot90(picture, k=-1, axes=(1, 2)) if file == "rot90.mp4" else picture
        off = abs(true_seconds(file, frame_number(upright)) - seconds)
        good += off < TOLERANCES.get(file, 1e-3)
        worst = max(worst, off)
    return good, worst


def _rotation_difference(path: Path, batch: FrameBatch) -> float:
    """Mean difference of our first frame from what the ffmpeg program shows."""
    options = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    command = [ffmpeg.executable(), "-v", "error", "-i", str(path), *options]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    ours = batch.data[0].permute(1, 2, 0).numpy()
    theirs = np.frombuffer(raw, dtype=np.uint8).reshape(ours.shape)
    return float(np.abs(ours.astype(int) - theirs.astype(int)).mean())


def _damaged_row(path: Path, backend: str, expected: Damage, judged: bool) -> Row:
    want = f"{expected.delivered}/16 frames, {expected.readable} readable, damaged={expected.flagged}"
    try:
        batch = open_video(path, backend=backend).sample(Uniform(16))
    except VidcausalError as error:
        return Row(path.name, backend, want, f"{error.code}: {str(error)[:80]}", not judged)
    readable = sum(
        abs(frame_number(picture) / FPS - seconds) < 1e-3
        for picture, seconds in zip(batch.data.numpy(), batch.pts_seconds.tolist(), strict=True)
    )
    got = Damage(len(batch), readable, batch.damaged)
    text = f"{got.delivered}/16 frames, {got.readable} readable, damaged={got.flagged}, {batch.bad_packets} bad packets"
    return Row(path.name, backend, want, text, got == expected or not judged)


def _refused_row(path: Path, backend: str, code: str) -> Row:
    try:
        batch = open_video(path, backend=backend).sample(Uniform(4))
    except VidcausalError as error:
        return Row(path.name, backend, f"error {code!r}", f"error {error.code!r}", error.code == code)
    return Row(path.name, backend, f"error {code!r}", f"{len(batch)} frames", False)
