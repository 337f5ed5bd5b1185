"""Speech recognition: lines with times where somebody speaks, nothing where nobody does."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vidcausal.errors import ForbiddenWeightsError, ModelError, UnknownNameError
from vidcausal.models.speech import SpeechFilter, Transcriber, transcriber
from vidcausal.types import SpeechLine
from vidcausal.video.audio import Waveform, read_waveform

RATE = 16_000


def segment(text: str, start: float = 0.0, end: float = 1.0, **changes: float) -> Any:
    return SimpleNamespace(
        **{
            "text": text,
            "start": start,
            "end": end,
            "no_speech_prob": 0.1,
            "avg_logprob": -0.3,
            "compression_ratio": 1.2,
            **changes,
        }
    )


class FakeWhisper:
    """Answers with given segments and remembers what it was asked."""

    def __init__(self, *segments: Any) -> None:
        self.segments, self.heard, self.settings = segments, np.zeros(0, np.float32), dict[str, Any]()

    def transcribe(self, samples: np.ndarray, **settings: Any) -> tuple[Iterator[Any], None]:
        self.heard, self.settings = samples, settings
        return iter(self.segments), None


def listen(model: FakeWhisper, samples: np.ndarray, rate: int = RATE) -> tuple[SpeechLine, ...]:
    chat = Transcriber(model, name="fake", weights="0", keep=SpeechFilter(), language="en")
    return chat(Waveform(samples.astype(np.float32), rate))


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def test_lines_are_tidied_and_end_with_the_sound() -> None:
    model = FakeWhisper(segment("  crack \n the egg ", 0.1234, 1.5), segment(" then stir", 1.5, 30.0))
    assert listen(model, tone(2.0)) == (SpeechLine(0.123, 1.5, "crack the egg"), SpeechLine(1.5, 2.0, "then stir"))
    assert model.settings["vad_filter"] is True


@pytest.mark.parametrize(
    "changes", [{"no_speech_prob": 0.7}, {"avg_logprob": -1.2}, {"compression_ratio": 3.0}], ids=str
)
def test_segments_that_are_probably_no_speech_are_dropped(changes: dict[str, float]) -> None:
    assert listen(FakeWhisper(segment("Thank you.", **changes), segment("stir")), tone(2.0)) == (
        SpeechLine(0.0, 1.0, "stir"),
    )


def test_punctuation_alone_is_no_speech() -> None:
    assert listen(FakeWhisper(segment(" ... "), segment("♪")), tone(2.0)) == ()


def test_other_rates_are_resampled() -> None:
    model = FakeWhisper()
    listen(model, tone(1.0, 44_100), 44_100)
    assert len(model.heard) == RATE
    middle = slice(1000, -1000)  # filters ring at the ends
    np.testing.assert_allclose(model.heard[middle], tone(1.0)[middle], atol=0.01)


def test_silence_and_no_sound_need_no_model() -> None:
    model = FakeWhisper(segment("invented"))
    assert listen(model, np.zeros(RATE)) == ()
    assert listen(model, np.zeros(0)) == ()
    assert model.settings == {}


def test_bad_samples_and_bad_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="finite mono"):
        listen(FakeWhisper(), np.full(RATE, np.nan))
    with pytest.raises(ModelError, match="finite mono"):
        listen(FakeWhisper(), np.zeros((2, RATE)))
    with pytest.raises(UnknownNameError):
        transcriber("whisper-huge")
    (tmp_path / "model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ForbiddenWeightsError, match="pickle"):
        transcriber(str(tmp_path))


def test_the_fingerprint_names_the_settings() -> None:
    prints = {
        Transcriber(None, name="a", weights=w, keep=k, language=lang).fingerprint
        for w in ("1", "2")
        for k in (SpeechFilter(), SpeechFilter(max_no_speech=0.5))
        for lang in ("en", None)
    }
    assert len(prints) == 8


@pytest.mark.weights("whisper-tiny-en")
def test_noise_and_music_give_no_lines() -> None:
    hear = transcriber()
    time = np.arange(10 * RATE) / RATE
    chord = sum(0.1 * np.sin(2 * np.pi * f * time) * (1 + np.sin(5 * time)) for f in (220, 277, 330, 440))
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * RATE)
    for sound in (noise, chord):
        assert hear(Waveform(np.asarray(sound, dtype=np.float32), RATE)) == ()


@pytest.mark.data
@pytest.mark.weights("whisper-tiny-en")
def test_a_narrator_is_understood(shared_data: Path) -> None:
    lines = transcriber()(read_waveform(shared_data / "videos" / "nasa_13013.mp4"))
    text = " ".join(line.text for line in lines).lower()
    for word in ("space telescope", "clean rooms", "goddard", "maryland"):
        assert word in text
    assert all(0 <= line.start <= line.end <= 13.2 for line in lines)
    assert [line.start for line in lines] == sorted(line.start for line in lines)
