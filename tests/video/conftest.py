from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

WIDTH, HEIGHT = 96, 64
Writer = Callable[..., Path]


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A picture with ``number`` in 8 vertical black and white bars, most significant first, over a gray gradient."""
    picture = np.full((height, width, 3), 64, dtype=np.uint8)
    picture[:, :, 1] = np.linspace(40, 90, width, dtype=np.uint8)[None, :]
    bar = width // 8
    for k in range(8):
        picture[: height // 2, k * bar : (k + 1) * bar] = 230 if number >> (7 - k) & 1 else 20
    return picture


def number_of(picture: NDArray[np.uint8]) -> int:
    """The number in a picture ``[3, h, w]`` made by :func:`numbered`, at any size."""
    _, height, width = picture.shape
    bar = width / 8
    rows = slice(height // 8, height // 3)
    bars = [picture[:, rows, int(k * bar + bar / 4) : int(k * bar + 3 * bar / 4)].mean() > 120 for k in range(8)]
    return sum(1 << (7 - k) for k, bit in enumerate(bars) if bit)


def write_video(
    path: Path,
    *,
    frames: int = 60,
    fps: int = 10,
    codec: str = "libx264",
    gop: int = 20,
    times: list[int] | None = None,
    options: dict[str, str] | None = None,
    audio: bool = False,
    pix_fmt: str = "yuv420p",
) -> Path:
    """Numbered frames; ``times`` are in ticks of ``1 / fps`` and default to 0, 1, 2 …"""
    settings = {"g": str(gop), **(options or {})}
    layout = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", container_options=layout) as container:
        stream: Any = container.add_stream(codec, rate=fps, options=settings)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        stream.codec_context.time_base = Fraction(1, fps)
        sound: Any = container.add_stream("aac", rate=16000, layout="mono") if audio else None
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(n), format="rgb24")
            frame.pts, frame.time_base = (n if times is None else times[n]), Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 16000, 0
            container.mux(sound.encode(silence))
            container.mux(sound.encode())
    return path


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small videos: 60 numbered frames, 10 a second, a key frame every 20."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "plain.mp4", options={"bf": "3"})
    write_video(folder / "nob.mp4", options={"bf": "0"})
    write_video(folder / "plain.mkv", options={"bf": "2"})
    write_video(folder / "plain.ts", options={"bf": "2"})
    write_video(folder / "open.mp4", options={"bf": "2", "x264-params": "open-gop=1"})
    write_video(folder / "refresh.mp4", options={"bf": "2", "x264-params": "intra-refresh=1"})
    write_video(folder / "vfr.mp4", times=[n + n // 3 * 2 for n in range(60)], options={"bf": "2"})
    write_video(folder / "sound.mp4", audio=True)
    write_video(folder / "bframes.avi", options={"bf": "2"})
    write_video(folder / "part2.avi", codec="mpeg4", options={"bf": "0", "b": "2M"})
    write_video(folder / "mpeg2.mpg", fps=25, codec="mpeg2video", options={"bf": "2", "b": "2M"})
    write_video(folder / "vp9.webm", codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8", "b": "500k"})
    write_video(folder / "anim.gif", codec="gif", pix_fmt="rgb8")
    write_video(folder / "shifted.mkv", times=[n + 50 for n in range(60)], options={"bf": "2"})
    return folder
