"""Sound stands on the clock of the frames, whatever the container's clock says."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from vidcausal.errors import (
    DecodeError,
    DecodeTimeoutError,
    ForbiddenMediaError,
    MediaError,
    MissingDependencyError,
    MissingMediaError,
    NoVideoStreamError,
)
from vidcausal.types import Span
from vidcausal.video import ffmpeg
from vidcausal.video.audio import read_waveform
from vidcausal.video.decode import open_video
from vidcausal.video.probe import probe


def make(path, *options, sound=True):
    """A black video that flashes white, with a beep, from 1.2 to 1.4 s."""
    flash = "color=black:s=64x48:r=25:d=2.4,drawbox=c=white:t=fill:enable='between(t,1.2,1.39)'"
    beep = "aevalsrc='if(between(t,1.2,1.4),0.8*sin(2*PI*880*t),0)':d=2.4:s=44100"
    inputs = ["-f", "lavfi", "-i", flash] + (["-f", "lavfi", "-i", beep] if sound else [])
    command = [ffmpeg.executable(), "-nostdin", "-y", "-loglevel", "error", *inputs, *options, f"file:{path}"]
    subprocess.run(command, check=True, timeout=60)
    return path


def flash_of(path):
    with open_video(path) as video:
        frames = video.read(video.info.pts_seconds.tolist())
    bright = frames.data.float().mean((1, 2, 3)) > 128
    return float(frames.pts_seconds[bright.nonzero()[0, 0]])


def beep_of(waveform):
    return float(np.flatnonzero(np.abs(waveform.samples) > 0.2)[0]) / waveform.sample_rate


CASES = {
    "plain.mp4": [],
    "starts at five.mkv": ["-output_ts_offset", "5"],
    "stream.ts": ["-bf", "2"],
    "-odd:name.mp4": [],
    "late picture.mkv": ["-filter_complex", "[0:v]trim=start=0.6[v]", "-map", "[v]", "-map", "1:a"],
    "late sound.mkv": ["-filter_complex", "[1:a]atrim=start=0.7[a]", "-map", "0:v", "-map", "[a]"],
}


@pytest.mark.parametrize("name", CASES)
def test_the_beep_is_heard_with_the_flash(tmp_path, name):
    path = make(tmp_path / name, *CASES[name], "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac")
    flash = flash_of(path)
    waveform = read_waveform(path)
    assert waveform.samples.dtype == np.float32
    assert beep_of(waveform) == pytest.approx(flash, abs=0.03)
    assert waveform.duration == pytest.approx(probe(path).duration, abs=0.1)
    part = read_waveform(path, span=Span(flash - 0.3, flash + 0.5))
    assert beep_of(part) == pytest.approx(0.3, abs=0.03)
    assert part.duration == pytest.approx(0.8, abs=1e-3)


def test_another_rate_and_no_sound(tmp_path):
    loud = make(tmp_path / "a.mp4", "-c:a", "aac")
    assert read_waveform(loud, 8000).sample_rate == 8000
    assert beep_of(read_waveform(loud, 8000)) == pytest.approx(1.2, abs=0.01)
    silent = read_waveform(make(tmp_path / "b.mp4", sound=False))
    assert (len(silent.samples), silent.duration) == (0, 0.0)


def test_playlists_urls_and_foreign_files_are_refused(tmp_path):
    target = make(tmp_path / "seg.ts", "-c:a", "aac")
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\nfile://{target}\n#EXT-X-ENDLIST\n")
    concat = tmp_path / "concat.mp4"
    concat.write_text(f"ffconcat version 1.0\nfile {target.name}\n")
    link = tmp_path / "inside" / "link.ts"
    link.parent.mkdir()
    link.symlink_to(target)
    for source in (
        playlist,
        concat,
        "http://127.0.0.1:9/a.mp4",
        f"concat:{target}|{target}",
        f"subfile,,start,0,end,9,,:{target}",
    ):
        with pytest.raises(ForbiddenMediaError):
            read_waveform(source)
    with pytest.raises(ForbiddenMediaError):
        read_waveform(link, media_root=link.parent)
    with pytest.raises(MissingMediaError):
        read_waveform(tmp_path / "none.mp4")


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:2,\nfile://{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"]
)
def test_ffmpeg_itself_opens_no_playlist(tmp_path, text):
    target = make(tmp_path / "seg.ts", "-c:a", "aac")
    playlist = tmp_path / "list.mp4"
    playlist.write_text(text.format(target))
    node = ffmpeg.media_input(playlist).output("pipe:1", format="null")
    with pytest.raises(DecodeError):
        ffmpeg.run(node, deadline=20)


def test_not_a_video(tmp_path):
    (tmp_path / "text.mp4").write_text("hello " * 100)
    with pytest.raises(MediaError):
        read_waveform(tmp_path / "text.mp4")
    only = tmp_path / "only.m4a"
    make(only, "-map", "1:a", "-c:a", "aac", "-f", "mp4")
    with pytest.raises(NoVideoStreamError):
        read_waveform(only)


def test_ffmpeg_is_killed_at_its_deadline(tmp_path):
    node = ffmpeg.library().input("color=black:s=64x64:r=30", format="lavfi", re=None).output("pipe:1", format="null")
    with pytest.raises(DecodeTimeoutError):
        ffmpeg.run(node, deadline=0.7)


def test_no_ffmpeg_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(ffmpeg.shutil, "which", lambda name: None)
    monkeypatch.setattr(ffmpeg.importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match="pip install imageio-ffmpeg"):
        ffmpeg.executable()
    with pytest.raises(MissingDependencyError, match="pip install ffmpeg-python"):
        ffmpeg.library()


def test_an_ffmpeg_without_the_encoder_is_passed_over(monkeypatch, tmp_path):
    poor = tmp_path / "ffmpeg"
    poor.write_text("#!/bin/sh\necho 'ffmpeg version 4.4.2-poor'\n")
    poor.chmod(0o755)
    good = ffmpeg._bundled()
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda name: str(poor))
    assert ffmpeg.executable() == str(poor)
    assert ffmpeg.version() == "4.4.2-poor"
    assert ffmpeg.variable_rate() == {"vsync": "vfr"}
    if good is not None:
        assert ffmpeg.executable("libx264") == good
    monkeypatch.setattr(ffmpeg, "_bundled", lambda: None)
    with pytest.raises(MissingDependencyError, match="libx264"):
        ffmpeg.executable("libx264")
