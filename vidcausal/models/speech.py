"""What is said in a video: Whisper through faster-whisper, with silence and music left out."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.cache import digest, sha256_of
from vidcausal.errors import MissingDependencyError, ModelError
from vidcausal.models.weights.resolver import resolve
from vidcausal.types import SpeechLine

if TYPE_CHECKING:
    from vidcausal.video.audio import Waveform

SAMPLE_RATE = 16_000
"""Samples a second that Whisper reads."""


@dataclass(frozen=True, slots=True)
class SpeechFilter:
    """What counts as speech. A segment must pass all of it, because Whisper invents words for music and noise."""

    vad_threshold: float = 0.5
    """Probability of the voice detector (Silero, inside faster-whisper) above which sound is sent to Whisper."""
    max_no_speech: float = 0.6
    """Whisper's own probability that a segment is not speech; above it a segment is dropped."""
    min_log_probability: float = -1.0
    """Mean log-probability of a segment's tokens; below it a segment is dropped (Whisper's own default)."""
    max_compression: float = 2.4
    """zlib ratio of the text; above it the text repeats itself and is dropped (Whisper's own default)."""


class Transcriber:
    """Callable from a waveform to lines of speech; see :func:`transcriber`."""

    def __init__(self, model: Any, *, name: str, weights: str, keep: SpeechFilter, language: str | None) -> None:
        self._model, self._keep, self._language = model, keep, language
        self._name, self._weights = name, weights
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Name of the weights."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of weights and settings."""
        return digest("speech", self._weights, repr(self._keep), str(self._language))

    def __call__(self, waveform: Waveform) -> tuple[SpeechLine, ...]:
        """Lines in time order, seconds from the waveform's first sample; empty where nobody speaks.

        Raises:
            ModelError: samples that are not finite numbers.
        """
        samples = _resample(waveform.samples, waveform.sample_rate)
        if len(samples) < SAMPLE_RATE // 10 or not np.any(samples):
            return ()
        with self._lock:
            segments, _ = self._model.transcribe(
                samples,
                language=self._language,
                beam_size=1,
                temperature=0.0,
                condition_on_previous_text=False,
                vad_filter=True,
                # Without them a line begins where the pause before it began.
                word_timestamps=True,
                vad_parameters={"threshold": self._keep.vad_threshold},
                no_speech_threshold=self._keep.max_no_speech,
                log_prob_threshold=self._keep.min_log_probability,
                compression_ratio_threshold=self._keep.max_compression,
            )
            found = list(segments)
        end = len(samples) / SAMPLE_RATE
        return tuple(_line(segment, end) for segment in found if self._is_speech(segment))

    def _is_speech(self, segment: Any) -> bool:
        return (
            any(character.isalnum() for character in segment.text)
            and segment.no_speech_prob <= self._keep.max_no_speech
            and segment.avg_logprob >= self._keep.min_log_probability
            and segment.compression_ratio <= self._keep.max_compression
        )


def _line(segment: Any, end: float) -> SpeechLine:
    # Whisper rounds up to its window, so an end may lie after the sound's.
    stop = min(float(segment.end), end)
    return SpeechLine(round(min(float(segment.start), stop), 3), round(stop, 3), " ".join(segment.text.split()))


def _resample(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """The samples at :data:`SAMPLE_RATE`, float32 ``[n]``."""
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ModelError(f"speech needs finite mono samples [n], got shape {samples.shape}")
    if rate == SAMPLE_RATE or not len(samples):
        return np.ascontiguousarray(samples, dtype=np.float32)
    from scipy.signal import resample_poly

    common = math.gcd(SAMPLE_RATE, rate)
    return np.asarray(resample_poly(samples, SAMPLE_RATE // common, rate // common), dtype=np.float32)


def transcriber(
    weights: str = "whisper-tiny-en",
    *,
    device: str = "cpu",
    compute_type: str = "int8",
    threads: int = 1,
    language: str | None = "en",
    keep: SpeechFilter | None = None,
    download: bool = False,
) -> Transcriber:
    """A transcriber from named weights.

    Args:
        weights: a name that ``vidcausal models`` lists, or a folder with a CTranslate2 Whisper model.
        device: ``cpu`` or ``cuda``.
        compute_type: arithmetic of CTranslate2: ``int8`` (fastest on a CPU), ``float32``, ``float16`` (CUDA).
        threads: CPU threads of one call.
        language: code of the spoken language, None to detect it (multilingual weights only).
        keep: what counts as speech.
        download: fetch weights that are not on this machine.

    Raises:
        MissingWeightsError: not on this machine; the message says how to get them.
        ModelError: the weights cannot be loaded on the device.
    """
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise MissingDependencyError("speech needs faster-whisper; run: pip install faster-whisper") from error
    folder, name, identity = _locate(weights, download)
    try:
        model = WhisperModel(
            str(folder), device=device, compute_type=compute_type, cpu_threads=threads, local_files_only=True
        )
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{name} cannot run with device={device!r}, compute_type={compute_type!r}: {error}") from error
    return Transcriber(
        model,
        name=name,
        weights=f"{identity} {compute_type}",
        keep=keep if keep is not None else SpeechFilter(),
        language=language,
    )


def _locate(weights: str, download: bool) -> tuple[Path, str, str]:
    """Folder, name and identity of a Whisper model; a folder's own model.bin is checked not to be a pickle."""
    folder = Path(weights).expanduser()
    if not (folder / "model.bin").is_file():
        found = resolve(weights, download=download)
        return found.folder, found.name, found.digest
    from vidcausal.models.weights.formats import check_format

    check_format(folder / "model.bin", "ctranslate2")
    return folder, folder.resolve().name, sha256_of(folder / "model.bin")
