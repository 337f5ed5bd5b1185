"""Subtitles of every format become plain lines on the clock of the frames."""

from __future__ import annotations

import subprocess

import pytest

from vidcausal.errors import EmptyMediaError, MediaError, MissingMediaError, UnreadableMediaError
from vidcausal.types import SpeechLine
from vidcausal.video import ffmpeg
from vidcausal.video.probe import probe
from vidcausal.video.subtitles import playback_start, read_embedded_subtitles, read_subtitles

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Beat</i> the <font color="#ff0000">eggs</font>
&amp; the milk

2
00:00:03,000 --> 00:00:04,000
{\\an8}Pour it in
"""

VTT = """WEBVTT

NOTE a comment

00:01.000 --> 00:02.500 align:start
<v Anna>Beat the eggs
&amp; the milk

00:03.000 --> 00:04.000
<c.yellow>Pour</c> it in
"""

ASS = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\b1}Beat the eggs{\\b0}\\N& the milk
Comment: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,not shown
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,Pour it in
"""

LINES = (SpeechLine(1.0, 2.5, "Beat the eggs & the milk"), SpeechLine(3.0, 4.0, "Pour it in"))


@pytest.mark.parametrize(("name", "text"), [("a.srt", SRT), ("a.vtt", VTT), ("a.ass", ASS)])
def test_formats_give_the_same_lines(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_subtitles(tmp_path / name) == LINES


def test_encodings_and_shift(tmp_path):
    path = tmp_path / "x.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\nCrème brûlée\n".encode("cp1252"))
    assert read_subtitles(path)[0].text == "Crème brûlée"
    path.write_bytes(SRT.encode("utf-16"))
    assert read_subtitles(path) == LINES
    path.write_bytes(b"\xef\xbb\xbf" + SRT.encode())
    moved = read_subtitles(path, shift=-1.5)
    assert [(line.start, line.end) for line in moved] == [(0.0, 1.0), (1.5, 2.5)]
    assert read_subtitles(path, shift=-3.0) == (SpeechLine(0.0, 1.0, "Pour it in"),)


def test_a_repeated_line_is_one_line(tmp_path):
    cues = "".join(f"{k}\n00:00:0{k},000 --> 00:00:0{k + 1},000\nsame words\n\n" for k in range(1, 4))
    (tmp_path / "x.srt").write_text(cues)
    assert read_subtitles(tmp_path / "x.srt") == (SpeechLine(1.0, 4.0, "same words"),)


def test_bad_subtitle_files(tmp_path):
    with pytest.raises(MissingMediaError):
        read_subtitles(tmp_path / "none.srt")
    empty = tmp_path / "empty.srt"
    empty.write_text("")
    with pytest.raises(EmptyMediaError):
        read_subtitles(empty)
    wrong = tmp_path / "wrong.srt"
    wrong.write_text("just some words")
    with pytest.raises(UnreadableMediaError, match=r"\.srt, \.vtt"):
        read_subtitles(wrong)
    with pytest.raises(MediaError):
        read_subtitles("http://127.0.0.1:9/a.srt")


@pytest.mark.parametrize(("suffix", "codec", "offset"), [("mkv", "srt", 0), ("mkv", "ass", 5), ("mp4", "mov_text", 0)])
def test_embedded_streams(tmp_path, suffix, codec, offset):
    (tmp_path / "s.srt").write_text(SRT)
    path = tmp_path / f"v.{suffix}"
    picture = ["-f", "lavfi", "-i", "color=red:s=64x48:r=10:d=5"]
    subtitles = ["-i", str(tmp_path / "s.srt"), "-c:s", codec, "-output_ts_offset", str(offset)]
    command = [ffmpeg.executable(), "-nostdin", "-y", "-loglevel", "error", *picture, *subtitles, str(path)]
    subprocess.run(command, check=True, timeout=60)
    info = probe(path)
    assert info.subtitle_streams == 1
    assert info.start_offset == pytest.approx(offset)
    lines = read_embedded_subtitles(info)
    assert [line.text for line in lines] == [line.text for line in LINES]
    assert [line.start for line in lines] == pytest.approx([1.0, 3.0], abs=0.02)


def test_no_stream_no_lines(tmp_path):
    path = tmp_path / "v.mp4"
    command = [
        ffmpeg.executable(),
        "-nostdin",
        "-y",
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        "color=red:s=64x48:d=1",
    ]
    subprocess.run([*command, str(path)], check=True, timeout=60)
    assert read_embedded_subtitles(probe(path)) == ()


@pytest.mark.parametrize(("late", "offset"), [(0.0, 0), (0.0, 5), (0.8, 0)])
def test_a_subtitle_file_counts_from_the_start_of_playback(tmp_path, late, offset):
    path = tmp_path / "v.mkv"
    streams = ["-f", "lavfi", "-i", "color=red:s=64x48:r=10:d=3", "-f", "lavfi", "-i", "anullsrc=d=3:r=16000"]
    picture = ["-filter_complex", f"[0:v]trim=start={late}[v]", "-map", "[v]", "-map", "1:a", "-c:a", "flac"]
    command = [ffmpeg.executable(), "-nostdin", "-y", "-loglevel", "error", *streams, *picture]
    subprocess.run([*command, "-output_ts_offset", str(offset), str(path)], check=True, timeout=60)
    info = probe(path)
    assert info.start_offset == pytest.approx(offset + late, abs=0.01)
    assert playback_start(info) == pytest.approx(-late, abs=0.01)
