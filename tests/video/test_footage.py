"""Footage: one timeline, decoded once, with its clips and what is said."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from vidcausal.errors import ConfigError, DecodeTimeoutError, MissingMediaError, NoClipsError
from vidcausal.types import Media, Span, SpeechLine
from vidcausal.video import decode
from vidcausal.video.edit import Piece, join_clips, write_frames
from vidcausal.video.footage import MIN_CLIP_FRAMES, Clip, Footage
from vidcausal.video.frames import FrameBatch
from vidcausal.video.sampling import Fps, Uniform


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDCAUSAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three textured moving clips of 2, 1 and 3 seconds, the last one upright, and all of them behind cards."""
    folder = tmp_path_factory.mktemp("footage")
    chance = np.random.default_rng(1)
    paths = []
    for name, seconds, (rows, columns) in (("a", 2, (6, 8)), ("b", 1, (6, 8)), ("c", 3, (8, 6))):
        still = chance.integers(30, 255, (1, 3, rows, columns), dtype=np.uint8).repeat(12, 2).repeat(12, 3)
        moving = np.concatenate([np.roll(still, 3 * n, axis=3) for n in range(10 * seconds)])
        paths.append(str(write_frames(moving, folder / f"{name}.mp4", 10)))
    join_clips([Piece(path) for path in paths], folder / "cards.mp4", size=(90, 160), fps=10)
    return {"a": paths[0], "b": paths[1], "c": paths[2], "cards": str(folder / "cards.mp4")}


@pytest.fixture
def reads(monkeypatch):
    """Every call that decodes, as (path, number of frames)."""
    calls = []
    original = decode.Video.read

    def read(self, seconds, **options):
        calls.append((str(self.path), len(seconds)))
        return original(self, seconds, **options)

    monkeypatch.setattr(decode.Video, "read", read)
    return calls


def times(spans):
    return [t for span in spans for t in (span.start, span.end)]


def test_a_single_file_is_lazy_and_decoded_once(files, reads):
    footage = Footage.open(Media((files["a"],)), Uniform(5), size=24)
    key = footage.key
    assert footage.duration == pytest.approx(2.0)
    assert footage.clips == ()
    assert footage.decode_report() == {}
    assert reads == []
    assert footage.frames.data.shape == (5, 3, 24, 32)
    assert footage.frames is footage.frames
    assert footage.frames.key == key == footage.key
    footage.thumbnails()
    assert len(reads) == 1
    report = footage.decode_report()
    assert set(report) == {"backend", "cpu_fallback", "damaged", "bad_packets", "missing", "num_frames", "seconds"}
    assert report["backend"].startswith("pyav ")
    assert (report["num_frames"], report["damaged"], report["missing"]) == (5, False, 0)


def test_files_are_clips_on_one_timeline(files, reads):
    media = Media((files["a"], files["b"], files["c"]))
    footage = Footage.open(media, Uniform(6))
    assert footage.duration == pytest.approx(6.0)
    assert times(c.span for c in footage.clips) == pytest.approx([0, 2, 2, 3, 3, 6])
    assert [c.path for c in footage.clips] == list(media.videos)
    frames = footage.frames
    assert frames.data.shape[2:] == (72, 96)
    assert bool((frames.pts_seconds.diff() > 0).all())
    assert [len(footage.clip_frames(k)) for k in (1, 2, 3)] == [3, 3, 3]
    assert reads == [(files["a"], 3), (files["b"], 3), (files["c"], 3)]
    upright = footage.clip_frames(3).data
    assert int(upright[..., :10].max()) == 0
    assert int(upright[..., 40:56].max()) > 100
    with pytest.raises(ConfigError, match="1, 2, 3"):
        footage.clip_frames(4)


def test_title_cards_make_clips(files, reads):
    footage = Footage.open(Media((files["cards"],)), Uniform(4), numbered_clips=True)
    assert times(c.span for c in footage.clips) == pytest.approx([1, 3, 4, 5, 6, 9])
    looked = len(reads)
    for number in (1, 2, 3):
        frames = footage.clip_frames(number)
        assert len(frames) >= MIN_CLIP_FRAMES
        assert all(int(f.max()) > 30 and float(f.float().mean()) > 40 for f in frames.data)
    cards = footage.frames.between(Span(0, 1))
    assert len(cards) >= 1, "a model that reads the numbers must see the cards"
    assert len(reads) == looked + 1
    again = Footage.open(Media((files["cards"],)), Uniform(4), numbered_clips=True)
    assert again.clips == footage.clips
    assert len(reads) == looked + 1, "known title cards are not looked for again"


def test_given_spans_make_clips(files):
    spans = (Span(1, 3), Span(4, 5), Span(6, 9))
    footage = Footage.open(Media((files["cards"],), clip_spans=spans), Fps(1), numbered_clips=True)
    assert [c.span for c in footage.clips] == list(spans)
    assert [len(footage.clip_frames(k)) for k in (1, 2, 3)] >= [3, 3, 3]


def test_spans_shorter_than_a_frame_and_outside_the_video(files):
    short = Footage.open(Media((files["a"],), clip_spans=(Span(0.52, 0.55), Span(1.0, 1.0))), Uniform(2))
    assert short.clip_frames(1).pts_seconds.tolist() == pytest.approx([0.5])
    assert short.clip_frames(2).pts_seconds.tolist() == pytest.approx([1.0], abs=0.11)
    outside = Footage.open(Media((files["a"],), clip_spans=(Span(0, 1), Span(5, 6))), Uniform(2))
    with pytest.raises(ConfigError, match="clip 2"):
        _ = outside.clips


def test_sound_that_cannot_be_had_is_reported(files, monkeypatch):
    from vidcausal.video import audio

    def fail(*arguments, **options):
        raise DecodeTimeoutError("too slow")

    monkeypatch.setattr(audio, "read_waveform", fail)
    footage = Footage.open(Media((files["a"],)), Uniform(2), transcribe=lambda waveform: [])
    object.__setattr__(footage._source._infos[0], "has_audio", True)
    assert footage.speech == ()
    assert footage.decode_report() == {"speech_error": "too slow"}


def test_no_cards_is_an_error_only_for_clips(files):
    footage = Footage.open(Media((files["a"],)), Uniform(4), numbered_clips=True)
    assert len(footage.frames) == 4
    with pytest.raises(NoClipsError, match="spans"):
        _ = footage.clips
    with pytest.raises(NoClipsError):
        footage.clip_frames(1)


def test_keys_name_what_they_depend_on(files, tmp_path):
    subtitles = tmp_path / "s.srt"
    subtitles.write_text("1\n00:00:00,500 --> 00:00:01,000\nhello\n")

    def key(*names, policy=None, spans=(), said=None, **options):
        media = Media(tuple(files[n] for n in names), clip_spans=spans, subtitles=said)
        return Footage.open(media, policy or Uniform(4), **options).key

    keys = [
        key("a"), key("b"), key("a", "b"), key("b", "a"), key("a", policy=Uniform(5)), key("a", size=24),
        key("a", size=(24, 24)), key("a", spans=(Span(0, 1),)), key("a", numbered_clips=True),
        key("a", said=str(subtitles)), key("a", transcribe=lambda waveform: []),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key("a") == keys[0]
    subtitles.write_text("1\n00:00:00,500 --> 00:00:01,000\ngoodbye\n")
    assert key("a", said=str(subtitles)) not in keys


def test_speech_comes_from_the_subtitle_file_or_the_transcriber(files, tmp_path):
    (tmp_path / "s.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nhello\n")
    footage = Footage.open(Media((files["a"],), subtitles=str(tmp_path / "s.srt")), Uniform(4))
    assert footage.speech == (SpeechLine(0.5, 1.0, "hello"),)
    silent = Footage.open(Media((files["a"],)), Uniform(4), transcribe=lambda w: pytest.fail("there is no sound"))
    assert silent.speech == ()


@pytest.mark.data
def test_speech_of_later_files_is_moved(shared_data):
    paths = tuple(str(shared_data / "videos" / n) for n in ("hammering_vas.mp4", "pancake_flip_kinetics.mkv"))
    heard = []

    def transcribe(waveform):
        heard.append(waveform.duration)
        return [SpeechLine(1.0, 2.0, f"after {len(heard)}")]

    footage = Footage.open(Media(paths), Uniform(4), transcribe=transcribe)
    first = footage.clips[1].span.start
    assert footage.speech == (SpeechLine(1.0, 2.0, "after 1"), SpeechLine(first + 1, first + 2, "after 2"))
    assert footage.speech is footage.speech
    assert heard == pytest.approx([10.0, 10.33], abs=0.1)


def test_bad_media(files, tmp_path):
    with pytest.raises(ConfigError):
        Footage.open(Media(()), Uniform(4))
    with pytest.raises(ConfigError, match="spans"):
        Footage.open(Media((files["a"], files["b"]), clip_spans=(Span(0, 1),)), Uniform(4))
    with pytest.raises(MissingMediaError):
        Footage.open(Media((files["a"], str(tmp_path / "none.mp4"))), Uniform(4))


def test_thumbnails_are_small_jpegs(files):
    footage = Footage.open(Media((files["a"],)), Uniform(9))
    pictures = footage.thumbnails(4, height=36)
    assert len(pictures) == 4
    assert [t for t, _ in pictures] == pytest.approx([0, 0.7, 1.2, 1.9], abs=0.11)
    image = Image.open(io.BytesIO(pictures[0][1]))
    assert (image.format, image.size) == ("JPEG", (48, 36))
    assert footage.thumbnails(0) == []


def test_a_second_look_decodes_nothing(files, reads):
    first = Footage.open(Media((files["cards"],)), Uniform(9), numbered_clips=True)
    seen, clips = first.thumbnails(5), first.clips
    looked = len(reads)
    again = Footage.open(Media((files["cards"],)), Uniform(9), numbered_clips=True)
    assert (again.thumbnails(5), again.clips, again.key) == (seen, clips, first.key)
    assert len(reads) == looked
    assert again.decode_report() == {}


def test_frames_in_memory():
    frames = FrameBatch(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4, dtype=torch.float64))
    clips = (Clip(1, Span(0, 2), "x"), Clip(2, Span(2, 4), "x"))
    footage = Footage.from_frames(frames, clips=clips, speech=[SpeechLine(0, 1, "hi")])
    assert footage.duration == 4.0
    assert len(footage.clip_frames(2)) == 2
    assert footage.decode_report() == {}
    brighter = FrameBatch(torch.ones(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4, dtype=torch.float64))
    keys = {footage.key, Footage.from_frames(frames).key, Footage.from_frames(brighter).key}
    assert len(keys) == 3
    with Footage.from_frames(frames, clips=clips, speech=[SpeechLine(0, 1, "hi")]) as again:
        assert again.key == footage.key


def test_every_frame_comes_once_in_pieces_on_the_one_timeline(files, monkeypatch):
    monkeypatch.setattr("vidcausal.video._files.PIECE_SECONDS", 0.7)
    paths = [files["a"], files["b"]]
    with Footage.open(Media(tuple(paths)), Uniform(2)) as footage:
        pieces = list(footage.every_frame((27, 48)))
        infos = [decode.open_video(path).info for path in paths]
    assert {tuple(piece.data.shape[1:]) for piece in pieces} == {(3, 27, 48)}
    expected = np.concatenate([infos[0].pts_seconds, infos[1].pts_seconds + infos[0].duration])
    np.testing.assert_allclose(torch.cat([piece.pts_seconds for piece in pieces]).numpy(), expected, atol=1e-6)
