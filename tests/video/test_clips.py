"""Title cards: found on every style of plain card, not found where there are none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from vidcausal.cache import DiskCache
from vidcausal.video.clips import clip_spans, find_title_cards, title_cards
from vidcausal.video.decode import open_video
from vidcausal.video.edit import title_card

FPS = 15


def scene(seed, count, size=(108, 192)):
    """Frames of a textured picture that moves."""
    picture = np.random.default_rng(seed).integers(20, 235, (9, 16, 3), dtype=np.uint8)
    big = np.asarray(Image.fromarray(picture).resize((size[1] + 40, size[0]), Image.Resampling.BICUBIC))
    return [big[:, k % 40 : k % 40 + size[1]] for k in range(count)]


def card(text, count, size=(108, 192), **style):
    big = Image.fromarray(title_card(text, (360, 640), **style))
    return [np.asarray(big.resize((size[1], size[0]), Image.Resampling.BOX))] * count


def timed(frames):
    return [(k / FPS, frame) for k, frame in enumerate(frames)], len(frames) / FPS


def shuffled(lengths, card_frames=15, first=1, **style):
    frames, spans = [], []
    for number, length in enumerate(lengths, first):
        frames += card(f"Clip {number}", card_frames, **style)
        spans.append((len(frames) / FPS, (len(frames) + length) / FPS))
        frames += scene(number, length)
    return frames, spans


STYLES = {
    "white on black": {},
    "black on white": {"background": (255, 255, 255), "color": (0, 0, 0)},
    "white on blue": {"background": (30, 60, 160)},
    "yellow on dark green": {"background": (10, 70, 40), "color": (250, 230, 60)},
    "small letters": {"letter_height": 0.06},
    "large letters": {"letter_height": 0.32},
    "gray on gray": {"background": (60, 60, 60), "color": (190, 190, 190)},
}


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_cards_of_any_plain_style_are_found(style):
    frames, spans = shuffled([30, 12, 50, 8], **style)
    pairs, duration = timed(frames)
    cards = title_cards(pairs, duration)
    assert [(c.span.end) for c in cards] == pytest.approx([start for start, _ in spans])
    assert cards[0].span.start == 0
    assert cards[0].background == style.get("background", (0, 0, 0))


def test_two_digit_numbers_and_short_cards():
    frames, spans = shuffled([10] * 12, card_frames=6)
    pairs, duration = timed(frames)
    assert len(title_cards(pairs, duration)) == 12


def test_a_fade_belongs_to_the_card():
    sharp = card("Clip 2", 12)
    fade = [(frame * k / 6).astype(np.uint8) for k, frame in enumerate(sharp[:6])]
    frames = card("Clip 1", 15) + scene(1, 30) + fade + sharp + fade[::-1] + scene(2, 30)
    pairs, duration = timed(frames)
    cards = title_cards(pairs, duration)
    assert [c.span.start for c in cards] == pytest.approx([0, 46 / FPS], abs=0.01)
    assert cards[1].span.end == pytest.approx((45 + 6 + 12 + 5) / FPS, abs=0.01)


def test_a_dark_start_of_a_clip_belongs_to_the_clip():
    dark = [np.zeros((108, 192, 3), np.uint8)] * 7
    frames = card("Clip 1", 15) + scene(1, 30) + dark + card("Clip 2", 15) + dark + scene(2, 30)
    pairs, duration = timed(frames)
    times = [t for c in title_cards(pairs, duration) for t in (c.span.start, c.span.end)]
    assert times == pytest.approx([0, 1, 52 / FPS, 67 / FPS])


def test_compression_noise_does_not_matter():
    chance = np.random.default_rng(0)
    frames, spans = shuffled([20, 20, 20])
    noisy = [np.clip(f.astype(int) + chance.integers(-4, 5, f.shape), 0, 255).astype(np.uint8) for f in frames]
    pairs, duration = timed(noisy)
    assert len(title_cards(pairs, duration)) == 3


NOT_CARDS = {
    "no cards": lambda: scene(1, 60),
    "one card": lambda: card("Clip 1", 15) + scene(1, 40),
    "black between shots": lambda: [np.zeros((108, 192, 3), np.uint8)] * 15 + scene(1, 30)
    + [np.zeros((108, 192, 3), np.uint8)] * 15 + scene(2, 30),
    "one and the same screen again and again": lambda: (card("Pause", 15) + scene(1, 20)) * 3,
    "cards that start in the middle": lambda: scene(9, 60) + shuffled([20, 20])[0],
    "text in front of a picture": lambda: [
        np.where(c > 128, c, s) for c, s in zip(card("Clip 1", 60), scene(1, 60), strict=True)
    ],
}  # fmt: skip


@pytest.mark.parametrize("frames", NOT_CARDS.values(), ids=NOT_CARDS)
def test_what_is_not_a_row_of_cards_gives_none(frames):
    pairs, duration = timed(frames())
    assert title_cards(pairs, duration) == ()


def test_an_end_screen_is_no_clip():
    frames = shuffled([20, 20])[0] + card("Clip 9", 20)
    pairs, duration = timed(frames)
    assert len(title_cards(pairs, duration)) == 2


@pytest.mark.data
def test_real_shuffled_videos(shared_data, tmp_path):
    cache = DiskCache(tmp_path)
    for question in json.loads((shared_data / "vcr_style/questions.json").read_text()):
        video = open_video(shared_data / question["video_file"])
        cards = find_title_cards(video, cache=cache)
        spans = [(s.start, s.end) for s in clip_spans(cards, video.info)]
        expected = [(c["start"], c["end"]) for c in question["clips"]]
        assert len(spans) == len(expected)
        assert np.abs(np.subtract(spans, expected)).max() < 0.15
        again = find_title_cards(open_video(shared_data / question["video_file"]), cache=cache)
        assert again == cards
    assert cache.hits == 3


ORDINARY = ("hmdb51_cartwheel.avi", "physics_inertia_puck.avi", "physics_ball_throw.avi", "bedroom_kids_jump.mp4",
            "kinetics_WUzgd7C1pWA_segway.mp4", "tempcompass_1021488277.gif", "french_gp_1906.ogv")  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_videos_have_no_cards(shared_data, name):
    assert find_title_cards(open_video(shared_data / "videos" / name)) == ()


@pytest.mark.data
@pytest.mark.slow
def test_no_video_of_the_collection_has_cards(shared_data):
    files = sorted(p for p in (shared_data / "videos").iterdir() if p.suffix != ".json")
    assert [p.name for p in files if find_title_cards(open_video(p))] == []
