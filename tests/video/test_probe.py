from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from vidcausal.errors import EmptyMediaError, MediaError, MissingMediaError, NoVideoStreamError, UnreadableMediaError
from vidcausal.video._h264 import starts_decoding
from vidcausal.video.probe import probe


@pytest.mark.parametrize("name", ["plain.mp4", "nob.mp4", "plain.mkv", "plain.ts", "open.mp4", "vp9.webm", "part2.avi"])
def test_index_of_constant_rate(videos: Path, name: str) -> None:
    info = probe(videos / name)
    assert info.num_frames == 60
    assert np.allclose(info.pts_seconds, np.arange(60) / 10, atol=1e-3)
    assert info.keyframes.tolist() == [0, 20, 40]
    assert info.duration == pytest.approx(6.0, abs=2e-3)
    assert info.fps == pytest.approx(10, rel=1e-3)
    assert info.is_constant_rate
    assert not info.truncated
    assert (info.width, info.height, info.rotation) == (96, 64, 0)
    assert not info.has_audio


def test_variable_rate_and_offsets(videos: Path) -> None:
    vfr = probe(videos / "vfr.mp4")
    assert not vfr.is_constant_rate
    assert vfr.pts_seconds[3] == pytest.approx(0.5)
    shifted = probe(videos / "shifted.mkv")
    assert shifted.start_offset == pytest.approx(5.0)
    assert shifted.pts_seconds[0] == 0
    assert not shifted.truncated
    assert probe(videos / "plain.ts").start_offset > 0


def test_recovery_points_of_intra_refresh_are_no_key_frames(videos: Path) -> None:
    assert probe(videos / "refresh.mp4").keyframes.tolist() == [0]


def test_slice_types_in_both_packagings() -> None:
    # first_mb 0 is the bit 1; slice_type 7 (I) is 0001000, 5 (P) is 00110.
    intra, inter = bytes([0x61, 0b10001000]), bytes([0x61, 0b10011000])
    idr, note = bytes([0x65, 0x80]), bytes([0x06, 0x05, 0x01])
    record = b"\x01\x64\x00\x1f\xff"
    for units, expected in (([note, idr], True), ([note, intra], True), ([note, inter], False), ([note], True)):
        prefixed = b"".join(len(u).to_bytes(4, "big") + u for u in units)
        started = b"".join(b"\0\0\0\1" + u for u in units)
        assert starts_decoding(prefixed, record) is expected
        assert starts_decoding(started, None) is expected


def test_sound_is_noticed_and_audio_alone_is_refused(videos: Path, tmp_path: Path) -> None:
    import av

    assert probe(videos / "sound.mp4").has_audio
    path = tmp_path / "only.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(NoVideoStreamError, match="audio"):
        probe(path)


def test_what_is_not_a_video(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingMediaError):
        probe(tmp_path / "none.mp4")
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 50)
    (tmp_path / "random.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    whole = (videos / "plain.mp4").read_bytes()
    (tmp_path / "nomoov.mp4").write_bytes(whole[: whole.index(b"moov") + 20])
    with pytest.raises(EmptyMediaError):
        probe(tmp_path / "zero.mp4")
    for name in ("text.mp4", "random.mp4", "nomoov.mp4"):
        with pytest.raises(UnreadableMediaError, match="not a video"):
            probe(tmp_path / name)


def test_a_header_without_frames(tmp_path: Path) -> None:
    import av

    path = tmp_path / "none.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(MediaError) as caught:
        probe(path)
    assert caught.value.code in ("empty", "unreadable", "no_video")


def test_a_cut_off_file_says_so(videos: Path, tmp_path: Path) -> None:
    whole = (videos / "nob.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) - 1200])
    info = probe(tmp_path / "half.mp4")
    assert 0 < info.num_frames < 60
    assert info.truncated
    assert info.claimed_duration == pytest.approx(6.0)


def test_a_recording_cut_in_a_group_starts_at_the_first_whole_picture(videos: Path, tmp_path: Path) -> None:
    data = (videos / "plain.ts").read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[188 * 24 :])
    info = probe(tmp_path / "cut.ts")
    assert info.keyframes[0] == 0
    assert info.num_frames < 60


def test_digest_follows_content_not_name(videos: Path, tmp_path: Path) -> None:
    first = probe(videos / "plain.mp4")
    shutil.copy(videos / "plain.mp4", tmp_path / "other.mp4")
    assert probe(tmp_path / "other.mp4").digest == first.digest
    shutil.copy(videos / "nob.mp4", tmp_path / "other.mp4")
    assert probe(tmp_path / "other.mp4").digest != first.digest
    assert len(first.digest) == 64


@pytest.mark.data
def test_edit_lists_rotation_and_offsets(shared_data: Path) -> None:
    folder = shared_data / "adversarial"
    assert probe(folder / "editlist2.mp4").num_frames == 501
    assert probe(folder / "offset5.mp4").start_offset == pytest.approx(5.0)
    turned = probe(folder / "rot90.mp4")
    assert (turned.width, turned.height, turned.rotation) == (240, 320, 270)


@pytest.mark.data
def test_metadata_that_is_not_utf8(shared_data: Path) -> None:
    assert probe(shared_data / "videos" / "hmdb51_cartwheel.avi").num_frames == 83
