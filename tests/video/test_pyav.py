from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vidcausal.errors import DecodeTimeoutError
from vidcausal.video import _pyav
from vidcausal.video.decode import open_video
from vidcausal.video.probe import VideoInfo, probe
from vidcausal.video.request import RawFrames, ReadRequest
from vidcausal.video.sampling import At, Uniform

from .conftest import number_of

NAMES = [
    "plain.mp4", "nob.mp4", "plain.mkv", "plain.ts", "open.mp4", "refresh.mp4", "vfr.mp4", "sound.mp4", "bframes.avi",
    "part2.avi", "mpeg2.mpg", "vp9.webm", "anim.gif", "shifted.mkv",
]  # fmt: skip


def read(info: VideoInfo, indices: Any, **options: Any) -> RawFrames:
    return _pyav.read_frames(ReadRequest(info, tuple(sorted({int(i) for i in indices})), **options))


def every_frame(path: Path) -> list[NDArray[np.uint8]]:
    """All displayed frames in order, decoded in one go on one thread, without index, seek or skipping."""
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        return [f.to_ndarray(format="rgb24", interpolation="BICUBIC") for f in container.decode(stream)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("indices", [[0], [59], [19, 20, 21, 39, 40, 41], [3, 33, 34, 55], range(60)])
def test_the_numbers_in_the_pictures(videos: Path, name: str, indices: Any) -> None:
    info = probe(videos / name)
    raw = read(info, indices)
    assert [number_of(p) for p in raw.data.numpy()] == sorted(indices)
    assert list(raw.pts_seconds) == [float(info.pts_seconds[i]) for i in indices]
    assert raw.bad_packets == 0


@pytest.mark.parametrize("name", NAMES)
def test_pixels_equal_a_full_decode(videos: Path, name: str) -> None:
    whole = every_frame(videos / name)
    indices = [2, 18, 22, 40, 47]
    raw = read(probe(videos / name), indices)
    for picture, index in zip(raw.data.permute(0, 2, 3, 1).numpy(), indices, strict=True):
        assert np.array_equal(picture, whole[index])


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_thread_counts_give_the_same_pixels(videos: Path, threads: int) -> None:
    info = probe(videos / "plain.mp4")
    one = read(info, range(0, 60, 7), threads=1)
    assert (read(info, range(0, 60, 7), threads=threads).data == one.data).all()


def test_resizing_happens_while_decoding(videos: Path) -> None:
    raw = read(probe(videos / "plain.mp4"), [5, 25], size=(128, 192))
    assert raw.data.shape == (2, 3, 128, 192)
    assert raw.data.is_contiguous()
    assert [number_of(p) for p in raw.data.numpy()] == [5, 25]


def test_few_packets_are_decoded_for_key_frames(videos: Path) -> None:
    info = probe(videos / "plain.mp4")
    assert read(info, [0, 20, 40]).total_packets == 3
    assert read(info, [41]).total_packets <= 5


def test_deadline(videos: Path) -> None:
    with pytest.raises(DecodeTimeoutError, match="in time"):
        read(probe(videos / "plain.mp4"), range(60), deadline_seconds=0.0)


def test_a_zeroed_stretch_is_left_out_and_counted(videos: Path, tmp_path: Path) -> None:
    data = bytearray((videos / "nob.mp4").read_bytes())
    start = len(data) - 1500
    data[start : start + 700] = bytes(700)
    (tmp_path / "zeroed.mp4").write_bytes(data)
    info = probe(tmp_path / "zeroed.mp4")
    runs = [read(info, range(60), threads=threads) for threads in (1, 0)]
    assert 0 < len(runs[0].pts_seconds) < 60
    assert runs[0].bad_packets > 0
    assert runs[0].pts_seconds == runs[1].pts_seconds
    assert (runs[0].data == runs[1].data).all()


def test_only_the_cpu() -> None:
    assert _pyav.unavailable("cpu") is None
    assert "CPU" in (_pyav.unavailable("cuda") or "")
    assert _pyav.version() == av.__version__


VALID = {
    "cfr_bf3.mp4": 0, "cfr.mkv": 0, "cfr.ts": 0, "frag.mp4": 0, "opengop.mp4": 0, "vfr.mp4": 0, "offset5.mp4": 0,
    "editlist_cut.mp4": 0, "editlist2.mp4": 99, "hevc10.mp4": 0, "vp9.webm": 0, "av1.mkv": 0, "oneframe.mp4": 0,
}  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("name", VALID)
def test_frames_and_times_of_odd_files(shared_data: Path, name: str) -> None:
    batch = open_video(shared_data / "adversarial" / name).sample(Uniform(16))
    for picture, seconds in zip(batch.data.numpy(), batch.pts_seconds.tolist(), strict=True):
        bits = [picture[:, 6:18, 16 * k + 10 : 16 * k + 22].mean() > 120 for k in range(16)]
        number = sum(1 << k for k, bit in enumerate(bits) if bit)
        assert (number - VALID[name]) / 30 == pytest.approx(seconds, abs=1e-3)
    assert not batch.damaged


@pytest.mark.data
@pytest.mark.parametrize("name", ["cockatoo_seek_trap.mp4", "city_cc0.mpg", "hmdb51_cartwheel.avi", "nasa_13013.mp4"])
def test_real_files_that_trip_seeking(shared_data: Path, name: str) -> None:
    path = shared_data / "videos" / name
    info = probe(path)
    indices = sorted({*info.keyframes.tolist()[:4], *info.keyframes.tolist()[-1:], info.num_frames - 1})
    whole = every_frame(path)
    assert len(whole) == info.num_frames
    raw = read(info, indices)
    for picture, index in zip(raw.data.permute(0, 2, 3, 1).numpy(), indices, strict=True):
        assert np.array_equal(picture, whole[index])


@pytest.mark.data
def test_rotation_is_that_of_ffmpeg(shared_data: Path) -> None:
    import subprocess

    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    path = shared_data / "adversarial" / "rot90.mp4"
    command = [ffmpeg, "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    theirs = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    ours = open_video(path).sample(At((0.0,))).data[0].permute(1, 2, 0).numpy()
    assert ours.shape == (320, 240, 3)
    assert np.array_equal(ours, theirs.reshape(ours.shape))


@pytest.mark.data
@pytest.mark.slow
def test_seeking_equals_a_full_decode_on_every_real_video(shared_data: Path) -> None:
    for path in sorted((shared_data / "videos").iterdir()):
        if path.suffix == ".json":
            continue
        info = probe(path)
        whole = every_frame(path)
        assert len(whole) == info.num_frames, path.name
        indices = {int(i) for i in np.linspace(0, info.num_frames - 1, 11).round()} | set(info.keyframes.tolist()[:5])
        raw = read(info, indices)
        for picture, index in zip(raw.data.permute(0, 2, 3, 1).numpy(), sorted(indices), strict=True):
            assert np.array_equal(picture, whole[index]), (path.name, index)
