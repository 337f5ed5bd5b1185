"""What a story sounds like: eight kinds of sounds, computed from formulas.

Noise comes from an integer hash of the sample's number, not from a random generator, so that the same sounds give the
same amplitudes in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from vidcausal.errors import UnknownNameError
from vidcausal.worlds.story import Sound

Wave = NDArray[np.float64]
Synth = Callable[[Wave, float, float], Wave]
"""``synth(t, seconds, pitch)``: amplitudes at ``t`` seconds after the sound begins."""

RATE = 16_000
LOUDEST = 0.95
"""No amplitude is larger, however many sounds fall together."""
_GAIN = 0.6


def _noise(t: Wave) -> Wave:
    """White noise in [-1, 1): a multiplicative hash of the sample number with its high bits folded in."""
    x = np.arange(1, len(t) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0


def _smooth(wave: Wave, width: int) -> Wave:
    """Mean over ``width`` samples: takes the high frequencies away. Scaled so that noise stays as loud."""
    sums = np.cumsum(np.concatenate([np.zeros(width), wave]))
    return np.asarray((sums[width:] - sums[:-width]) / np.sqrt(width))


def _tone(t: Wave, hertz: float) -> Wave:
    return np.sin(2 * np.pi * hertz * t)


def _swell(t: Wave, seconds: float, edge: float = 0.02) -> Wave:
    """0 at both ends and 1 between, so that a lasting sound begins and ends without a crack."""
    return np.clip(np.minimum(t, seconds - t) / min(edge, seconds / 2), 0.0, 1.0)


def _click(t: Wave, seconds: float, pitch: float) -> Wave:
    return np.exp(-t / 0.008) * (0.7 * _tone(t, 1200 + 1800 * pitch) + 0.5 * _noise(t))


def _thud(t: Wave, seconds: float, pitch: float) -> Wave:
    hertz = 70 + 90 * pitch
    # The pitch falls while the body comes to rest: phase is the integral of hertz * (1 + exp(-t / 0.03)).
    body = np.sin(2 * np.pi * hertz * (t + 0.03 * (1 - np.exp(-t / 0.03))))
    return np.exp(-t / 0.07) * body + 0.5 * np.exp(-t / 0.01) * _smooth(_noise(t), 4)


def _chime(t: Wave, seconds: float, pitch: float) -> Wave:
    hertz = 660 * 2 ** (pitch * 1.5)
    partials = ((1.0, 0.6, 1.0), (2.76, 0.3, 0.5), (5.4, 0.15, 0.25))
    fade = max(0.12, seconds / 2)
    ring: Wave = np.sum([a * np.exp(-t / (fade * d)) * _tone(t, hertz * f) for f, a, d in partials], axis=0)
    return ring


def _pour(t: Wave, seconds: float, pitch: float) -> Wave:
    bubbles = 0.6 + 0.4 * _tone(t, 11 + 6 * pitch)
    rising = np.sin(2 * np.pi * (300 + 400 * pitch) * t * (1 + 0.25 * t / seconds))
    return _swell(t, seconds, 0.05) * bubbles * (0.4 * _noise(t) + 0.2 * rising)


def _creak(t: Wave, seconds: float, pitch: float) -> Wave:
    wobble = 2 * np.pi * (180 + 160 * pitch) * t + 9 * np.sin(2 * np.pi * 5.5 * t)
    saw: Wave = np.sum([np.sin(k * wobble) / k for k in range(1, 7)], axis=0)
    return 0.5 * _swell(t, seconds) * saw * (0.7 + 0.3 * _tone(t, 23))


def _whoosh(t: Wave, seconds: float, pitch: float) -> Wave:
    arch = np.sin(np.pi * np.clip(t / seconds, 0, 1)) ** 0.5
    return arch * 0.6 * _smooth(_noise(t), 3 + round(9 * (1 - pitch)))


def _tick(t: Wave, seconds: float, pitch: float) -> Wave:
    return np.exp(-t / 0.015) * (_tone(t, 1800 + 900 * pitch) + 0.6 * _tone(t, 3100 + 900 * pitch)) * 0.7


def _buzz(t: Wave, seconds: float, pitch: float) -> Wave:
    # Odd harmonics that hardly fade: a harsh sound, unlike the soft low ones.
    harsh: Wave = np.sum([_tone(t, (110 + 60 * pitch) * k) / k**0.3 for k in range(1, 17, 2)], axis=0)
    return 0.3 * _swell(t, seconds) * harsh


SOUNDS: dict[str, Synth] = {
    "click": _click,
    "thud": _thud,
    "chime": _chime,
    "pour": _pour,
    "creak": _creak,
    "whoosh": _whoosh,
    "tick": _tick,
    "buzz": _buzz,
}
"""How each kind of sound is computed."""
_RING = 0.4
"""Struck things ring on after the seconds that the story gives them."""
_STRUCK = ("click", "thud", "chime", "tick")


def waveform(sounds: Iterable[Sound], duration: float, rate: int = RATE) -> NDArray[np.float32]:
    """The sound track of a story: amplitudes float32 ``[round(duration * rate)]``, all below 1.

    Args:
        sounds: what is to be heard; each begins exactly at its time.
        duration: seconds.
        rate: samples a second.

    Raises:
        UnknownNameError: there is no such kind of sound.
    """
    track = np.zeros(max(0, round(duration * rate)))
    for sound in sounds:
        if sound.kind not in SOUNDS:
            raise UnknownNameError("sound", sound.kind, SOUNDS)
        first = round(sound.time * rate)
        seconds = max(sound.seconds, 0.05)
        count = min(len(track) - first, round((seconds + _RING * (sound.kind in _STRUCK)) * rate))
        if first < 0 or count <= 0:
            continue
        t = np.arange(count) / rate
        track[first : first + count] += _GAIN * SOUNDS[sound.kind](t, seconds, min(max(sound.pitch, 0.0), 1.0))
    return (LOUDEST * np.tanh(track)).astype(np.float32)
