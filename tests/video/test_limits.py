from __future__ import annotations

import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from vidcausal.errors import (
    EmptyMediaError,
    ForbiddenMediaError,
    MediaError,
    MediaLimitError,
    MissingMediaError,
)
from vidcausal.video.decode import open_video
from vidcausal.video.limits import MediaLimits, check_codec, check_path
from vidcausal.video.probe import probe


@pytest.mark.parametrize(
    "source",
    [
        "http://127.0.0.1:9/a.mp4",
        "https://example.org/a.mp4",
        "file:///etc/passwd",
        "concat:a.mp4|b.mp4",
        "subfile,,start,0,end,100,,:a.mp4",
        "crypto+file:a.mp4",
        "data:video/mp4;base64,AAAA",
        "a.mp4\0b",
    ],
)
def test_urls_and_protocols_are_refused(source: str) -> None:
    with pytest.raises(ForbiddenMediaError, match="local files"):
        check_path(source)
    with pytest.raises(ForbiddenMediaError):
        open_video(source)


def test_a_url_makes_no_request() -> None:
    hits: list[str] = []

    class Trap(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)

    server = HTTPServer(("127.0.0.1", 0), Trap)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ForbiddenMediaError):
            open_video(f"http://127.0.0.1:{server.server_port}/a.mp4")
    finally:
        server.shutdown()
    assert hits == []


def test_media_root_holds_after_links_and_dots(tmp_path: Path, videos: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "in.mp4").write_bytes((videos / "plain.mp4").read_bytes())
    (root / "link.mp4").symlink_to(videos / "plain.mp4")
    assert check_path(root / "in.mp4", root) == (root / "in.mp4").resolve()
    for outside in (root / "link.mp4", root / ".." / "x.mp4", videos / "plain.mp4", root.parent / "root2" / "a.mp4"):
        with pytest.raises(ForbiddenMediaError, match="media root"):
            check_path(outside, root)


def test_missing_folder_and_colon_names(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingMediaError, match="does not exist"):
        check_path(tmp_path / "none.mp4")
    with pytest.raises(MissingMediaError, match="folder"):
        check_path(tmp_path)
    (tmp_path / "a:b.mp4").write_bytes((videos / "plain.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert probe("./a:b.mp4").num_frames == 60


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8"])
def test_playlists_are_refused(tmp_path: Path, videos: Path, name: str) -> None:
    target = (videos / "plain.ts").resolve()
    texts = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{target}\n#EXT-X-ENDLIST\n",
        f"\ufeff\n#EXTM3U\n{target}\n",
        "ffconcat version 1.0\nfile plain.ts\n",
        '<?xml version="1.0"?><MPD></MPD>',
    )
    (tmp_path / "plain.ts").write_bytes(target.read_bytes())
    for text in texts:
        (tmp_path / name).write_text(text)
        with pytest.raises(ForbiddenMediaError, match="playlist"):
            open_video(tmp_path / name)


def test_hidden_playlist_still_opens_nothing(tmp_path: Path, videos: Path) -> None:
    (tmp_path / "x.mp4").write_text(f"# a comment\nffconcat version 1.0\nfile {videos / 'plain.ts'}\n")
    with pytest.raises(MediaError):
        probe(tmp_path / "x.mp4")


def test_an_unlisted_codec_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "yuv4.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("snow", rate=10, options={"strict": "experimental"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(ForbiddenMediaError, match="snow"):
        probe(path)
    check_codec("h264", "x")


def _raw(path: Path, width: int, height: int, times: tuple[int, ...] = (0,), codec: str = "rawvideo") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1)
        stream.width, stream.height, stream.pix_fmt = width, height, "gray" if codec == "rawvideo" else "yuvj420p"
        for t in times:
            frame = av.VideoFrame(width, height, stream.pix_fmt)
            frame.pts = t
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_frames_too_large_are_refused(tmp_path: Path) -> None:
    for width, height, codec in ((7680, 4320, "mjpeg"), (100_000, 1, "rawvideo")):
        path = _raw(tmp_path / f"{width}.mkv", width, height, codec=codec)
        started = time.process_time()
        with pytest.raises(MediaLimitError, match=str(width)):
            probe(path)
        assert time.process_time() - started < 1.0


def test_a_gif_that_claims_65535_pixels_a_side_is_refused(tmp_path: Path, videos: Path) -> None:
    data = bytearray((videos / "anim.gif").read_bytes())
    data[6:10] = struct.pack("<HH", 65535, 65535)
    (tmp_path / "huge.gif").write_bytes(data)
    with pytest.raises(MediaError):
        probe(tmp_path / "huge.gif")


def test_ten_hours_are_refused(tmp_path: Path) -> None:
    path = _raw(tmp_path / "long.mkv", 16, 16, times=(0, 36_000))
    with pytest.raises(MediaLimitError, match="long"):
        probe(path)
    assert probe(path, limits=MediaLimits(max_seconds=1e6)).num_frames == 2


@pytest.mark.parametrize("count", [2_000_000, 4_000_000_000])
def test_an_inflated_sample_table_is_refused_unopened(tmp_path: Path, videos: Path, count: int) -> None:
    data = bytearray((videos / "nob.mp4").read_bytes())
    at = data.index(b"stsz")
    data[at + 8 : at + 16] = struct.pack(">II", 10, count)
    (tmp_path / "claim.mp4").write_bytes(data)
    with pytest.raises(MediaLimitError, match="frames"):
        probe(tmp_path / "claim.mp4")


def test_an_inflated_fragment_is_refused_unopened(tmp_path: Path, videos: Path) -> None:
    fragment = struct.pack(">I4s", 16, b"trun") + struct.pack(">II", 0, 4_000_000_000)
    traf = struct.pack(">I4s", 8 + len(fragment), b"traf") + fragment
    moof = struct.pack(">I4s", 8 + len(traf), b"moof") + traf
    (tmp_path / "frag.mp4").write_bytes((videos / "nob.mp4").read_bytes() + moof)
    with pytest.raises(MediaLimitError, match="frames"):
        probe(tmp_path / "frag.mp4")


def test_frame_and_byte_caps(videos: Path) -> None:
    for limits in (MediaLimits(max_frames=10), MediaLimits(max_bytes=100), MediaLimits(max_seconds=1)):
        with pytest.raises(MediaLimitError):
            probe(videos / "plain.mkv", limits=limits)
    with pytest.raises(ValueError, match="max_frames must be positive"):
        MediaLimits(max_frames=0)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(EmptyMediaError):
        open_video(tmp_path / "zero.mp4")
