from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vidcausal.cache import DiskCache
from vidcausal.errors import ModelError
from vidcausal.models.bridge import Bridge
from vidcausal.models.clip_onnx import ImageTower, Vectors, unit
from vidcausal.models.embedded import EmbeddedModel, are_captions, embedded, event_vectors, with_speech
from vidcausal.models.grounding import curve_spans, smooth
from vidcausal.models.matching import best_each, even_out, one_to_one
from vidcausal.protocols import Grounder, Recognizer, Scoring, VideoChat
from vidcausal.types import EventRecord, OptionScore, Span, SpeechLine
from vidcausal.video.footage import Clip, Footage
from vidcausal.video.frames import FrameBatch

COLORS = {"red": (220, 10, 10), "green": (10, 220, 10), "blue": (10, 10, 220)}


class ColorEyes:
    """Sees the mean color; written words are black on white, hence all alike."""

    fingerprint = "color-eyes"

    def embed_pixels(self, pixels: Tensor) -> Vectors:
        return unit(np.stack([p.float().mean((1, 2)).numpy() for p in pixels]))

    def embed(self, frames: FrameBatch) -> Vectors:
        return self.embed_pixels(frames.data)


class ColorWords:
    """Knows the names of three colors."""

    fingerprint = "color-words"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return unit(np.array([[name in text for name in COLORS] for text in texts], np.float32).reshape(-1, 3))


class Parrot:
    name = "parrot"

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def chat(self, prompt: str, *, max_new_tokens: int = 512) -> str:
        self.prompts.append(prompt)
        return f"reply of {max_new_tokens}"

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        assert frames is None
        self.prompts.append(prompt)
        return [OptionScore(-2.0, 2) for _ in options]


def model(parrot: Parrot | None = None, bank: Sequence[str] = ("a red field", "a green field", "a blue field")):
    flat = np.full(3, 0.5, np.float32)
    eye = np.eye(3, dtype=np.float32)
    bridge = Bridge(np.zeros(3, np.float32), eye, flat, eye, flat, "colors")
    language = None if parrot is None else lambda: parrot
    return EmbeddedModel(ColorEyes(), ColorWords(), bridge, language, bank=bank)


def shots(names: Sequence[str], each: int = 6, step: float = 0.5) -> FrameBatch:
    noise = torch.randint(0, 20, (len(names) * each, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    colors = torch.tensor([COLORS[name] for name in names for _ in range(each)])
    data = (colors[:, :, None, None] + noise).clamp(0, 255).to(torch.uint8)
    return FrameBatch(data, torch.arange(len(data)).double() * step)


def test_it_satisfies_the_protocols() -> None:
    for protocol in (Recognizer, Grounder, VideoChat, Scoring):
        assert isinstance(model(), protocol)


def test_events_are_cut_and_named_from_the_bank() -> None:
    footage = Footage.from_frames(shots(["red", "blue", "green", "red"]), duration=12.0)
    records = model().recognize(footage).records
    assert [r.caption for r in records] == ["a red field", "a blue field", "a green field", "a red field"]
    assert [(r.start, r.end) for r in records] == [(0, 3), (3, 6), (6, 9), (9, 12)]
    assert all(r.clip is None and r.source == "embedded" and 0 < r.confidence <= 1 for r in records)


def test_clips_choose_among_candidates() -> None:
    spans = [Span(0.5, 3), Span(3.5, 6), Span(6.5, 9)]
    clips = [Clip(n, span, "x") for n, span in enumerate(spans, 1)]
    footage = Footage.from_frames(shots(["blue", "red", "green"]), clips=clips)
    candidates = ["the green one", "the blue one", "the red one"]
    records = model().recognize(footage, candidates=candidates).records
    assert [r.clip for r in records] == [1, 2, 3]
    assert [r.caption for r in records] == ["the blue one", "the red one", "the green one"]
    assert [(r.start, r.end) for r in records] == [(s.start, s.end) for s in spans]


def test_a_single_clip_is_compared_with_photographs() -> None:
    footage = Footage.from_frames(shots(["green"]), clips=[Clip(1, Span(0, 3), "x")])
    (record,) = model().recognize(footage, candidates=["a red thing", "a green thing"]).records
    assert record.caption == "a green thing"


def test_a_goal_narrows_the_bank() -> None:
    bank = [f"red number {i}" for i in range(200)] + ["green paint"]
    footage = Footage.from_frames(shots(["red", "green"]))
    captions = [r.caption for r in model(bank=bank).recognize(footage, goal="mix green").records]
    assert captions[1] == "green paint"
    assert captions[0].startswith("red")


def test_speech_goes_to_the_record_it_overlaps_most() -> None:
    records = [EventRecord(0, 5, "a"), EventRecord(5, 10, "b")]
    lines = [
        SpeechLine(6, 7, "later"),
        SpeechLine(4, 5.5, " first "),
        SpeechLine(5.5, 6, "then"),
        SpeechLine(20, 21, "no"),
    ]
    assert [r.speech for r in with_speech(records, lines)] == ["first", "then later"]


def test_nothing_is_recognized_in_no_frames() -> None:
    empty = FrameBatch(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), torch.zeros(0).double())
    footage = Footage.from_frames(empty, duration=3.0)
    assert model().recognize(footage).records == ()
    assert model().ground(footage, "red") == []


def test_grounding_finds_the_shot() -> None:
    footage = Footage.from_frames(shots(["red", "blue", "green", "red"]), duration=12.0)
    best = model().ground(footage, "something blue")[0]
    assert abs(best.start - 3) <= 0.5
    assert abs(best.end - 6) <= 0.5
    assert best.score is not None
    assert best.score > 0.3


def test_spans_come_best_first_and_apart() -> None:
    pts = np.arange(40.0)
    curve = np.zeros(40)
    curve[5:9], curve[25:35] = 0.5, 0.8
    spans = curve_spans(curve, pts, 40.0)
    assert (spans[0].start, spans[0].end) == (25.0, 35.0)
    assert (spans[1].start, spans[1].end) == (5.0, 9.0)
    assert smooth(np.array([0.0, 1.0, 0.0]), pts[:3], 0.0).tolist() == [0.0, 1.0, 0.0]
    assert smooth(np.ones(5), pts[:5], 2.0) == pytest.approx(1.0)
    assert curve_spans(np.zeros(0), np.zeros(0), 3.0) == []
    assert [(s.start, s.end) for s in curve_spans(np.ones(4), pts[:4], 4.0)] == [(0.0, 4.0)]


@pytest.mark.parametrize("seed", range(5))
def test_scores_order_the_spans_and_none_is_below_the_average(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spans = curve_spans(smooth(rng.normal(size=60), np.arange(60.0), 1.5), np.arange(60.0), 60.0, max_spans=8)
    scores = [span.score for span in spans if span.score is not None]
    assert len(scores) == len(spans) > 1
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0


def test_events_begin_at_the_cuts_of_a_shot_finder() -> None:
    class Finder:
        fingerprint = "finder"

        def boundaries(self, frames: Iterable[FrameBatch]) -> list[float]:
            return [float(next(iter(frames)).pts_seconds[4]) - 0.2]

    footage = Footage.from_frames(shots(["red"]), duration=3.0)
    plain, with_shots = model(), replace(model(), shots=Finder())
    assert [(r.start, r.end) for r in plain.recognize(footage).records] == [(0.0, 3.0)]
    assert [(r.start, r.end) for r in with_shots.recognize(footage).records] == [(0.0, 1.8), (1.8, 3.0)]
    assert plain.fingerprint != with_shots.fingerprint


@pytest.mark.weights("clip-vit-b16-image-int8", "all-minilm-l6-v2", "text-bridge", "transnetv2")
def test_the_cut_of_the_city_clip_is_found_to_the_frame() -> None:
    from vidcausal.demo import asset
    from vidcausal.types import Media
    from vidcausal.video.sampling import Fps

    with Footage.open(Media((str(asset("city.mp4")),)), Fps(2), size=224) as footage:
        records = embedded(language=None, cache=False, shots="transnetv2").recognize(footage).records
    assert any(abs(record.start - 4.64) < 1e-3 for record in records)


def test_numbered_clips_get_different_words_and_events_need_not() -> None:
    frames = shots(["red", "red", "blue"])
    bank = ("a red field", "another red field", "a blue field")
    clips = tuple(Clip(i + 1, Span(3.0 * i, 3.0 * i + 3), "x.mp4") for i in range(3))
    numbered = model(bank=bank).recognize(Footage.from_frames(frames, clips=clips)).records
    assert sorted(r.caption for r in numbered) == sorted(bank)
    assert numbered[2].caption == "a blue field"


def test_options_about_the_whole_video_are_told_apart_where_nothing_changes() -> None:
    frames = shots(["green", "green"])
    scores = model().score_options("What is it?", ["a red field", "a green field"], frames)
    assert scores[1].mean > scores[0].mean + 1.0


def test_matching_shares_out_or_lets_each_choose() -> None:
    scores = np.array([[0.9, 0.8, 0.0], [0.9, 0.1, 0.0], [0.5, 0.4, 0.3]])
    assert [m.text for m in best_each(scores)] == [0, 0, 0]
    assert [m.text for m in one_to_one(scores)] == [1, 0, 2]
    assert even_out(scores).mean(0) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(even_out(scores[:1]), scores[:1], rtol=1e-6)


def test_event_without_a_frame_takes_the_nearest() -> None:
    vectors = np.eye(3, dtype=np.float32)
    rows = event_vectors(vectors, np.array([0.0, 1.0, 2.0]), [Span(0.0, 2.0), Span(1.9, 1.95)])
    assert rows.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]


def test_prompts_about_frames_carry_the_table() -> None:
    parrot = Parrot()
    made = model(parrot)
    assert made.chat("What comes last?", shots(["red", "green"]), max_new_tokens=7) == "reply of 7"
    assert "a red field\n" in parrot.prompts[0]
    assert parrot.prompts[0].endswith("What comes last?")
    made.chat("Only text")
    assert parrot.prompts[1] == "Only text"


def test_options_join_language_and_pictures() -> None:
    parrot = Parrot()
    frames = shots(["red", "red", "green"])
    options = ["it is blue now", "it turns green"]
    plain = model(parrot).score_options("What happens?", ["4", "5"], frames)
    assert [o.mean for o in plain] == [-1.0, -1.0]
    mixed = model(parrot).score_options("What happens?", options, frames)
    assert mixed[1].mean > mixed[0].mean
    assert all(o.mean <= -1.0 and o.num_tokens == 2 for o in mixed)
    alone = model().score_options("What happens?", options, frames)
    assert np.exp([o.mean for o in alone]).sum() == pytest.approx(1.0, abs=1e-4)
    assert alone[1].mean > alone[0].mean


def test_without_a_language_model_prompts_are_refused() -> None:
    for ask in (lambda: model().chat("hi"), lambda: model().score_options("hi", ["yes", "no"])):
        with pytest.raises(ModelError, match="smollm2-135m-instruct"):
            ask()


def test_captions_are_told_from_labels() -> None:
    assert are_captions(["a dog runs", "put down."])
    assert are_captions(["soup", "a cake"])
    assert not are_captions(["yes", "no"])
    assert not are_captions(["three times", "soup", "4"])
    assert not are_captions(["two", "none"])
    assert not are_captions(["Clip 1, Clip 2", "Clip 2, Clip 1"])
    assert not are_captions([])


def test_fingerprint_follows_the_settings() -> None:
    assert model().fingerprint == model().fingerprint
    assert model().fingerprint != model(bank=["a red field"]).fingerprint


@pytest.mark.weights("clip-vit-b16-image-int8")
def test_picture_vectors_are_cached_by_key(tmp_path: Path) -> None:
    frames = shots(["red", "blue"], each=1)
    keyed = FrameBatch(frames.data, frames.pts_seconds, key="k")
    first = ImageTower(threads=1, cache=DiskCache(tmp_path)).embed(keyed)
    tower = ImageTower(threads=1, cache=DiskCache(tmp_path))
    tower.embed_pixels = None  # type: ignore[assignment, method-assign]
    np.testing.assert_array_equal(tower.embed(keyed), first)
    assert first.shape == (2, 512)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)


@pytest.mark.weights("clip-vit-b16-image-int8", "all-minilm-l6-v2", "text-bridge")
def test_the_published_model_tells_day_from_night() -> None:
    pixels = torch.zeros(8, 3, 64, 96, dtype=torch.uint8)
    pixels[:4, 2, :32], pixels[:4, 1, :32], pixels[:4, 1, 32:] = 235, 180, 150
    pixels[4:] = 12
    pixels[4:, :, 10:22, 60:72] = 240
    footage = Footage.from_frames(FrameBatch(pixels, torch.arange(8).double()))
    made = embedded(language=None, threads=1, cache=False)
    candidates = ["a green meadow under a blue sky", "the moon in a dark night"]
    records = made.recognize(footage, candidates=candidates).records
    assert [r.caption for r in records] == candidates
