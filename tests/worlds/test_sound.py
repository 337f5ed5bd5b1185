from __future__ import annotations

import itertools

import numpy as np
import pytest

from vidcausal.errors import UnknownNameError
from vidcausal.worlds.sound import RATE, SOUNDS, waveform
from vidcausal.worlds.story import Sound


def loudness(track, start, end, rate=RATE):
    part = track[round(start * rate) : round(end * rate)].astype(np.float64)
    return float(np.sqrt((part**2).mean()))


@pytest.mark.parametrize("kind", SOUNDS)
@pytest.mark.parametrize("pitch", [0.0, 0.5, 1.0])
def test_a_sound_is_heard_at_its_time_and_not_before(kind, pitch):
    track = waveform([Sound(1.5, kind, pitch, 0.5)], 4.0)
    assert track.dtype == np.float32
    assert track.shape == (64_000,)
    assert not track[: round(1.5 * RATE)].any()
    assert loudness(track, 1.5, 1.65) > 0.03, "loud enough over the silence of a quiet room (-30 dB)"
    assert not track[round(2.5 * RATE) :].any()


def test_many_sounds_at_once_stay_below_one():
    together = [Sound(0.5, kind, pitch, 2.0) for kind in SOUNDS for pitch in (0.1, 0.5, 0.9)]
    track = waveform(together, 3.0)
    assert 0.9 < np.abs(track).max() < 1.0


def test_the_kinds_differ():
    def spectrogram(kind):
        slices = np.split(waveform([Sound(0.0, kind, 0.5, 0.4)], 0.8), 8)
        powers = [np.abs(np.fft.rfft(part)) ** 2 for part in slices]
        bands = np.array([[band.sum() for band in np.array_split(power[:400], 40)] for power in powers])
        return (bands / np.linalg.norm(bands)).ravel()

    alike = {(a, b): float(spectrogram(a) @ spectrogram(b)) for a, b in itertools.combinations(SOUNDS, 2)}
    assert max(alike.values()) < 0.8, max(alike, key=alike.get)


def test_the_pitch_can_be_heard():
    low, high = (waveform([Sound(0.0, "chime", pitch)], 0.5) for pitch in (0.0, 1.0))
    strongest = [int(np.abs(np.fft.rfft(track)).argmax()) for track in (low, high)]
    assert strongest[1] > 2 * strongest[0]


def test_sounds_beyond_the_ends_are_cut():
    track = waveform([Sound(-1.0, "click"), Sound(0.9, "buzz", 0.5, 5.0), Sound(3.0, "thud")], 1.0, rate=8000)
    assert track.shape == (8000,)
    assert not track[:7200].any()
    assert track[7300:].any()


def test_silence_has_the_right_length():
    assert waveform([], 2.5).shape == (40_000,)
    assert not waveform([], 2.5).any()


def test_an_unknown_kind():
    with pytest.raises(UnknownNameError, match="'chime'"):
        waveform([Sound(0.0, "chimes")], 1.0)
