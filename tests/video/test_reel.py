"""Stretches of files, one after the other: numbered clips whose times tell nothing about where they come from."""

from __future__ import annotations

import numpy as np
import pytest

from vidcausal.errors import ConfigError
from vidcausal.types import Media, Span
from vidcausal.video.edit import write_frames
from vidcausal.video.footage import Footage
from vidcausal.video.sampling import Fps, KeepAll, NearestKeyframe, Uniform


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Six seconds, ten frames a second; frame k is of gray level 4 k."""
    frames = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[:, None], 3 * 32 * 32, 1).reshape(60, 3, 32, 32)
    return str(write_frames(frames, tmp_path_factory.mktemp("reel") / "gray.mp4", 10))


def seconds_of(frames) -> np.ndarray:
    """Where in the file each frame comes from, by its gray level."""
    return frames.data.float().mean((1, 2, 3)).numpy() / 40


def reel(video, *spans, policy=None):
    media = Media((video,) * len(spans), tuple(Span(*span) for span in spans))
    return Footage.open(media, policy or Uniform(12))


def test_clips_follow_one_another_in_the_shown_order(video):
    footage = reel(video, (4.0, 5.5), (0.5, 2.0), (2.5, 3.5))
    assert footage.duration == pytest.approx(4.0)
    assert [(c.number, c.span.start, c.span.end) for c in footage.clips] == [
        (1, 0.0, pytest.approx(1.5)),
        (2, pytest.approx(1.5), pytest.approx(3.0)),
        (3, pytest.approx(3.0), pytest.approx(4.0)),
    ]
    times = footage.frames.pts_seconds.numpy()
    assert (np.diff(times) > 0).all()
    for number, start in ((1, 4.0), (2, 0.5), (3, 2.5)):
        inside = footage.clip_frames(number)
        assert len(inside) >= 3
        shift = start - footage.clips[number - 1].span.start
        assert seconds_of(inside) == pytest.approx(inside.pts_seconds.numpy() + shift, abs=0.06)


def test_a_policy_plans_over_the_clips_alone(video):
    footage = reel(video, (4.0, 5.0), (0.0, 1.0), policy=Fps(5.0))
    assert len(footage.frames) == 10
    shown = seconds_of(footage.frames)
    assert ((shown < 1.05) | (shown > 3.95)).all()
    assert len(reel(video, (1.0, 2.0), (3.0, 4.0), policy=NearestKeyframe(Uniform(4))).frames) >= 4


def test_every_frame_of_the_clips_once(video):
    footage = reel(video, (4.0, 5.0), (0.0, 1.0), policy=KeepAll(60))
    pieces = list(footage.every_frame((16, 16)))
    assert [len(piece) for piece in pieces] == [10, 10]
    assert len(footage.frames) == 20
    assert seconds_of(pieces[0]).min() == pytest.approx(4.0, abs=0.06)


def test_the_key_knows_the_order_of_the_clips(video):
    keys = {reel(video, *spans).key for spans in [((0, 1), (2, 3)), ((2, 3), (0, 1)), ((0, 1), (2, 3.5))]}
    assert len(keys) == 3
    assert reel(video, (0, 1), (2, 3)).key == reel(video, (0, 1), (2, 3)).key


def test_a_clip_shorter_than_a_frame_shows_what_was_on_the_screen(video):
    footage = reel(video, (3.02, 3.05), (1.0, 2.0))
    only = footage.clip_frames(1)
    assert seconds_of(only) == pytest.approx([3.0], abs=0.06)
    assert only.pts_seconds[0] >= 0


def test_what_does_not_fit_is_refused(video):
    with pytest.raises(ConfigError, match="2 clip spans were given with 3 files"):
        Footage.open(Media((video,) * 3, (Span(0, 1), Span(1, 2))), Uniform(4))
    with pytest.raises(ConfigError, match="clip 2 .* lies outside"):
        _ = reel(video, (0, 1), (60, 61)).duration
