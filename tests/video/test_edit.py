"""What is written can be read again, frame for frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidcausal.errors import ConfigError, ForbiddenMediaError, OutputError
from vidcausal.types import Span
from vidcausal.video.audio import read_waveform
from vidcausal.video.clips import clip_spans, find_title_cards
from vidcausal.video.decode import open_video
from vidcausal.video.edit import Piece, cut, join_clips, title_card, write_frames


def times(spans):
    return [t for span in spans for t in (span.start, span.end)]


def numbered(count, size=(48, 64)):
    """Frames whose gray level tells their number: 8 levels a frame, from 8."""
    levels = (8 + 8 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, 3, *size)).copy()


def numbers(path):
    with open_video(path) as video:
        frames = video.read(video.info.pts_seconds.tolist())
    return [round((float(f.float().mean()) - 8) / 8) for f in frames.data]


def test_frames_come_back(tmp_path):
    path = write_frames(numbered(20), tmp_path / "new" / "a.mp4", 10)
    info = open_video(path).info
    assert (info.num_frames, info.height, info.width, info.codec) == (20, 48, 64, "h264")
    assert info.duration == pytest.approx(2.0)
    assert numbers(path) == list(range(20))
    again = write_frames(torch.from_numpy(numbered(20)), tmp_path / "b.mp4", 10)
    assert again.read_bytes() == path.read_bytes()


def test_an_odd_size_is_padded(tmp_path):
    info = open_video(write_frames(numbered(3, (47, 63)), tmp_path / "a.mp4", 10)).info
    assert (info.height, info.width) == (48, 64)


NOT_FRAMES = (np.zeros((0, 3, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 3, 8, 8)))


@pytest.mark.parametrize("frames", NOT_FRAMES, ids=("none", "channels last", "floats"))
def test_what_is_not_frames_is_refused(tmp_path, frames):
    with pytest.raises(ConfigError, match="uint8"):
        write_frames(frames, tmp_path / "a.mp4", 10)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="writable"):
        write_frames(numbered(2), tmp_path / "file" / "a.mp4", 10)


@pytest.mark.parametrize("name", ["a.mp4", "-f.mp4", "b:c d'.mkv.mp4"])
def test_cut_is_exact(tmp_path, name):
    source = write_frames(numbered(30), tmp_path / name, 10)
    path = cut(source, Span(0.7, 1.5), tmp_path / f"out {name}")
    assert numbers(path) == list(range(7, 15))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    with pytest.raises(ConfigError, match="no frame"):
        cut(source, Span(9.0, 9.5), tmp_path / "none.mp4")
    with pytest.raises(ForbiddenMediaError):
        cut("http://127.0.0.1:9/a.mp4", Span(0, 1), tmp_path / "none.mp4")


@pytest.mark.data
@pytest.mark.parametrize("name", ["offset5.mp4", "cfr.ts", "editlist2.mp4", "vfr.mp4", "opengop.mp4"])
def test_cut_of_odd_files_starts_at_the_right_frame(shared_data, tmp_path, name):
    source = open_video(shared_data / "adversarial" / name)
    path = cut(source.info, Span(12.0, 12.4), tmp_path / "a.mp4")
    first = int(np.searchsorted(source.info.pts_seconds, 12.0 - 5e-4))
    expected = source.read([float(source.info.pts_seconds[first])]).data[0].float()
    got = open_video(path).read([0.0]).data[0].float()
    assert float((expected - got).abs().mean()) < 4
    kept = (source.info.pts_seconds >= 12.0 - 5e-4) & (source.info.pts_seconds < 12.4 - 5e-4)
    assert open_video(path).info.num_frames == int(kept.sum())


def test_joined_clips_have_cards_and_known_spans(tmp_path):
    chance = np.random.default_rng(0)
    files = []
    for k in range(3):
        still = chance.integers(0, 255, (1, 3, 6, 8), dtype=np.uint8).repeat(12, 2).repeat(12, 3)
        moving = np.concatenate([np.roll(still, 3 * n, axis=3) for n in range(20)])
        files.append(str(write_frames(moving, tmp_path / f"{k}.mp4", 10)))
    pieces = [Piece(files[2]), Piece(files[0], Span(0.5, 1.5)), Piece(files[2]), Piece(files[1])]
    spans = join_clips(pieces, tmp_path / "all.mp4", size=(90, 160), fps=10)
    assert [s.start for s in spans] == pytest.approx([1, 4, 6, 9])
    assert [s.duration for s in spans] == pytest.approx([2, 1, 2, 2])
    video = open_video(tmp_path / "all.mp4")
    assert (video.info.height, video.info.width, video.info.num_frames) == (90, 160, 110)
    assert not video.info.has_audio
    found = clip_spans(find_title_cards(video), video.info)
    assert times(found) == pytest.approx(times(spans))
    with pytest.raises(ConfigError):
        join_clips([], tmp_path / "none.mp4")


@pytest.mark.data
def test_joined_clips_keep_their_sound(shared_data, tmp_path):
    loud, silent = (str(shared_data / "videos" / n) for n in ("hammering_vas.mp4", "cat_and_monkey.mp4"))
    pieces = [Piece(silent, Span(1, 2)), Piece(loud, Span(1, 2.5))]
    spans = join_clips(pieces, tmp_path / "a.mp4", size=(90, 160), fps=10)
    whole = read_waveform(tmp_path / "a.mp4")
    assert whole.duration == pytest.approx(4.5, abs=0.05)
    assert np.abs(whole.samples[: int(spans[1].start * 16000) - 800]).max() < 0.01
    got = read_waveform(tmp_path / "a.mp4", span=spans[1]).samples
    expected = read_waveform(loud, span=Span(1, 2.5)).samples
    lag = int(np.correlate(got, expected[2000:-2000], "valid").argmax()) - 2000
    assert abs(lag) < 320  # 20 ms


def test_a_long_text_fits_its_card():
    card = title_card("Clip 1: a very long description of what follows", (90, 160))
    assert card.shape == (90, 160, 3)
    assert card[:, :4].max() == 0
    assert card[:, -4:].max() == 0
    assert card.max() > 200
