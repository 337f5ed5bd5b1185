"""The drawn procedure: the same for a seed, different between seeds, true about itself."""

from __future__ import annotations

import numpy as np
import pytest

from vidcausal.errors import ConfigError
from vidcausal.video.clips import clip_spans, find_title_cards
from vidcausal.video.decode import open_video
from vidcausal.video.procedure import CAPTIONS, GOAL, render_procedure, write_shuffled_procedure

SMALL = {"size": (90, 160), "fps": 5.0}


def times(spans):
    return [t for span in spans for t in (span.start, span.end)]


def test_the_seed_decides_every_pixel():
    first = render_procedure(3, range(5), **SMALL)
    again = render_procedure(3, range(5), **SMALL)
    other = render_procedure(4, range(5), **SMALL)
    assert np.array_equal(first[0], again[0])
    assert first[1:] == again[1:]
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])
    assert first[0].dtype == np.uint8
    assert first[0].shape[1:] == (3, 90, 160)


def test_steps_are_shown_in_the_asked_order():
    frames, spans, captions, goal = render_procedure(0, [2, 0], **SMALL)
    assert captions == (CAPTIONS[2], CAPTIONS[0])
    assert goal == GOAL
    assert spans[0].start == 0
    assert spans[0].end == spans[1].start
    assert spans[1].end == pytest.approx(len(frames) / 5)
    assert all(2.5 < span.duration < 4 for span in spans)
    alone = render_procedure(0, [0], **SMALL)[0]
    assert np.array_equal(frames[round(spans[1].start * 5) :], alone)


def test_something_happens_in_every_step():
    frames, spans, _, _ = render_procedure(1, range(5), **SMALL)
    for span in spans:
        part = frames[round(span.start * 5) : round(span.end * 5)].astype(int)
        assert np.abs(part[0] - part[-1]).mean() > 0.3
        assert np.median(np.abs(np.diff(part, axis=0)).max(axis=(1, 2, 3))) > 20


def test_bad_requests():
    for arguments in ((0, []), (0, [5]), (0, [0], (8, 8)), (0, [0], (90, 160), 0)):
        with pytest.raises(ConfigError):
            render_procedure(*arguments)


@pytest.mark.parametrize("seed", range(3))
def test_the_written_video_is_true_about_itself(tmp_path, seed):
    made = write_shuffled_procedure(tmp_path / "a.mp4", seed, **SMALL)
    assert sorted(made.order) == [1, 2, 3, 4, 5]
    assert made.order not in ((1, 2, 3, 4, 5), (5, 4, 3, 2, 1))
    assert tuple(made.captions[number - 1] for number in made.order) == CAPTIONS
    video = open_video(made.path)
    found = clip_spans(find_title_cards(video), video.info)
    assert times(found) == pytest.approx(times(made.clips))
    assert made.goal == GOAL
