"""The default model that needs no hub: small open weights that travel in packages, and a bridge of our own.

Frames become CLIP vectors; the video is cut where they change; every event gets the words that fit it best, out of
the caller's candidates or out of a bank of phrases; speech is added as text. A small language model answers prompts
about the resulting table.

What it can see: kinds of scenes, objects, animals, food, vehicles, and coarse activities whose objects differ. What it
cannot: who does what to whom, left and right, counting, small changes of state, fine actions with the same objects,
text in the picture. Its words are the nearest phrase of a fixed list, not a description. ``docs/model_cards/`` has
the figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from vidcausal.cache import DiskCache, digest
from vidcausal.errors import ModelError
from vidcausal.models.boundaries import Floats, Segmenter
from vidcausal.models.bridge import Bridge, Words, load_bridge
from vidcausal.models.clip_onnx import ImageEncoder, ImageTower, Vectors
from vidcausal.models.grounding import curve_spans, smooth
from vidcausal.models.matching import TEMPERATURE, Match, best_each, even_out, one_to_one, softmax
from vidcausal.models.minilm import TextEncoder, TextTower
from vidcausal.models.phrases import phrase_bank
from vidcausal.models.shots import FRAME_SIZE as SHOT_SIZE
from vidcausal.models.shots import shot_detector
from vidcausal.types import EventRecord, OptionScore, Recognition, Span, SpeechLine, record_table
from vidcausal.video.footage import Footage
from vidcausal.video.frames import FrameBatch

SOURCE = "embedded"
CAVEAT = (
    "Made with the small default weights: they see kinds of scenes, objects, food, animals and coarse activities, not "
    "who does what to whom, left and right, counts or fine motions; they pick words from a fixed list or from given "
    "captions, and the 135M language model orders steps little better than chance. Name a better model with --model "
    "or a better reasoner with --reasoner."
)
_NOT_SHOWN = frozenset(
    (
        *("yes", "no", "true", "false", "none", "never", "once", "twice", "both", "neither", "all", "other"),
        *("before", "after", "first", "last", "left", "right"),
        *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    )
)
"""Words that are answers and that no picture shows."""
_TABLE_PROMPT = "A video was watched. What was seen, in order:\n{table}\n\n{prompt}"


class ScoringChat(Protocol):
    """A language model that chats and scores options."""

    @property
    def name(self) -> str: ...

    def chat(self, prompt: str, *, max_new_tokens: int = 512) -> str: ...

    def score_options(
        self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None
    ) -> list[OptionScore]: ...


class ShotFinder(Protocol):
    """Finds the cuts of a video from all of its frames (:class:`vidcausal.models.shots.ShotDetector`)."""

    @property
    def fingerprint(self) -> str: ...

    def boundaries(self, frames: FrameBatch | Iterable[FrameBatch]) -> list[float]: ...


@dataclass(frozen=True)
class Matching:
    """How words are chosen.

    ``goal_phrases``: with a goal and without candidates, only so many phrases of the bank, the nearest to the goal in
    meaning, are looked at (0: the whole bank). ``one_to_one``: numbered clips, which show different steps, get
    different texts, chosen jointly, instead of each clip choosing on its own. ``vision_weight``: see
    :meth:`EmbeddedModel.score_options`. ``smoothing_seconds``: width of the average over the similarity curve of a
    query.
    """

    goal_phrases: int = 120
    one_to_one: bool = True
    vision_weight: float = 1.0
    smoothing_seconds: float = 0.75


@dataclass(frozen=True)
class _View:
    """Picture vectors ``[t, d_v]`` of frames, their times ``[t]`` and where the last one ends, in seconds."""

    vectors: Vectors
    pts: Floats
    end: float


@dataclass(frozen=True)
class EmbeddedModel:
    """Recognizes, grounds, chats and scores with a picture tower, a text tower, a bridge and a language model.

    ``language`` builds the language model the first time that a prompt needs one; None leaves recognition and
    grounding only. ``shots`` finds cuts to the frame, at which events begin; without it they are seen in the sampled
    frames only. ``cache`` keeps vectors of texts. It satisfies Recognizer, Grounder, VideoChat and Scoring.
    """

    images: ImageEncoder
    texts: TextEncoder
    bridge: Bridge
    language: Callable[[], ScoringChat] | None = None
    segmenter: Segmenter = field(default_factory=Segmenter)
    shots: ShotFinder | None = None
    matching: Matching = field(default_factory=Matching)
    bank: Sequence[str] = field(default_factory=phrase_bank)
    cache: DiskCache | None = None

    @cached_property
    def words(self) -> Words:
        """Texts as vectors of the space in which pictures are compared."""
        return Words(self.images, self.texts, self.bridge, cache=self.cache)

    @property
    def name(self) -> str:
        """``embedded``."""
        return SOURCE

    @property
    def caveat(self) -> str:
        """What a report says above results of this model."""
        return CAVEAT

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights and of the settings that records depend on."""
        towers = (self.images.fingerprint, self.texts.fingerprint, self.bridge.fingerprint)
        parts = (*towers, self.segmenter.key, "" if self.shots is None else self.shots.fingerprint)
        return digest("embedded 1", *parts, repr(self.matching), *self.bank)

    # ---- recognition -------------------------------------------------------------------------------------------

    def recognize(self, footage: Footage, *, goal: str = "", candidates: Sequence[str] = ()) -> Recognition:
        """One record a numbered clip, else one an event, in time order, each with its speech.

        Args:
            footage: the frames, clips and speech.
            goal: what the video is about; narrows the bank of phrases when there are no candidates.
            candidates: captions to choose from.
        """
        view = self._look(footage.frames, footage.duration)
        if footage.clips:
            spans = [clip.span for clip in footage.clips]
            numbers: list[int | None] = [clip.number for clip in footage.clips]
        else:
            spans = self._events(view, self._cuts(footage))
            numbers = [None] * len(spans)
        return Recognition(with_speech(self._records(view, spans, numbers, goal, candidates), footage.speech))

    def _look(self, frames: FrameBatch, end: float) -> _View:
        vectors = self.images.embed(frames) if len(frames) else np.zeros((0, len(self.bridge.image_mean)), np.float32)
        return _View(vectors, frames.pts_seconds.numpy(), end)

    def _cuts(self, footage: Footage) -> list[float]:
        return [] if self.shots is None else self.shots.boundaries(footage.every_frame(SHOT_SIZE))

    def _events(self, view: _View, cuts: Sequence[float] = ()) -> list[Span]:
        return self.segmenter.segment(view.vectors, view.pts, view.end, cuts)

    def _records(
        self, view: _View, spans: Sequence[Span], numbers: Sequence[int | None], goal: str, candidates: Sequence[str]
    ) -> list[EventRecord]:
        if not spans or len(view.pts) == 0:
            return []
        events = event_vectors(view.vectors, view.pts, spans)
        texts = tuple(dict.fromkeys(candidates))
        if texts:
            scores = self.candidate_scores(events, texts)
        else:
            places = self._phrases(goal)
            texts = tuple(self.bank[i] for i in places)
            scores = self._phrase_scores(events, places)
        numbered = numbers[0] is not None
        shared = self.matching.one_to_one and numbered and len(texts) >= len(spans)
        matches: list[Match] = one_to_one(scores) if shared else best_each(scores)
        return [
            EventRecord(span.start, span.end, texts[m.text], clip, confidence=round(m.confidence, 4), source=SOURCE)
            for span, clip, m in zip(spans, numbers, matches, strict=True)
        ]

    def candidate_scores(self, events: Vectors, candidates: Sequence[str]) -> Vectors:
        """How well each candidate fits each event of one video, ``[n, m]``; only differences inside the video count.

        Args:
            events: picture vectors of the events ``[n, d_v]``.
            candidates: captions, of which each event is one.
        """
        pictures = self.bridge.pictures(events, self._background(events))
        return even_out(pictures @ self.words.embed(candidates).T)

    def _phrase_scores(self, events: Vectors, places: Sequence[int]) -> Vectors:
        """How well each of these phrases of the bank fits each event, ``[n, m]``; by the map alone, which is fast.

        Among all phrases also what stays the same in the video matters (a kitchen stays a kitchen), so that only half
        of its own mean is taken away, and half of the mean of photographs.
        """
        background = (self._background(events) + self.bridge.image_mean) / 2
        phrases = self.bridge.sentences(self._bank_vectors[list(places)])
        return np.asarray(self.bridge.pictures(events, background) @ phrases.T)

    def _background(self, vectors: Vectors) -> Vectors:
        """What all pictures of the video share; for a single one, what photographs share."""
        return np.asarray(vectors.mean(0), np.float32) if len(vectors) > 1 else self.bridge.image_mean

    @cached_property
    def _bank_vectors(self) -> Vectors:
        """Sentence vectors ``[m, d_t]`` of the bank, in its order; kept in the cache."""
        key = digest("bank", self.texts.fingerprint, *self.bank)
        stored = self.cache.get_arrays("sentences", key) if self.cache is not None else None
        if stored is not None and len(stored["vectors"]) == len(self.bank):
            return np.asarray(stored["vectors"], np.float32)
        vectors = self.texts.embed(self.bank)
        if self.cache is not None:
            self.cache.put_arrays("sentences", key, {"vectors": vectors})
        return vectors

    def _phrases(self, goal: str) -> list[int]:
        """Places in the bank: all, or those nearest to the goal in meaning."""
        if not goal.strip() or not 0 < self.matching.goal_phrases < len(self.bank):
            return list(range(len(self.bank)))
        nearness = self._bank_vectors @ self.texts.embed([goal])[0]
        return sorted(int(i) for i in np.argsort(-nearness, kind="stable")[: self.matching.goal_phrases])

    # ---- grounding ---------------------------------------------------------------------------------------------

    def ground(self, footage: Footage, query: str) -> list[Span]:
        """Spans that fit ``query``, best first; the score is a z-score of the similarity inside a span."""
        frames = footage.frames
        if len(frames) == 0:
            return []
        pts = frames.pts_seconds.numpy()
        curve = smooth(self._curves(frames, [query])[:, 0], pts, self.matching.smoothing_seconds)
        return curve_spans(curve, pts, footage.duration)

    def _curves(self, frames: FrameBatch, texts: Sequence[str]) -> Vectors:
        """Similarity of every frame with every text, ``[t, m]``."""
        vectors = self.images.embed(frames)
        return np.asarray(self.bridge.pictures(vectors, self._background(vectors)) @ self.words.embed(texts).T)

    # ---- prompts -----------------------------------------------------------------------------------------------

    def chat(self, prompt: str, frames: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        """The language model's reply to ``prompt``, after the table of what was recognized in ``frames``.

        Raises:
            ModelError: the model was built without a language model.
        """
        return self._language.chat(self._with_table(prompt, frames), max_new_tokens=max_new_tokens)

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        """Log-likelihood of the options given the table and the prompt, and how well captions fit the pictures.

        With frames, and when every option names something a picture can show, an option's log-likelihood per token is
        ``language + vision_weight * log p``, where ``p`` is the softmax (temperature 0.05) over the options
        of two similarities added up: the highest smoothed one to any frame, without what all frames share (a moment),
        and that of the mean frame, without what photographs share (the whole video). Otherwise it is the language
        model's alone; without a language model it is ``log p`` alone, with the words as tokens.

        Raises:
            ModelError: neither a language model nor frames with captions as options are there.
        """
        seen = (
            self._log_shares(frames, options) if frames is not None and len(frames) and are_captions(options) else None
        )
        if self.language is None:
            if seen is None:
                raise ModelError(_NO_LANGUAGE)
            counts = [max(len(option.split()), 1) for option in options]
            return [OptionScore(float(s) * n, n) for s, n in zip(seen, counts, strict=True)]
        said = self._language.score_options(self._with_table(prompt, frames), options)
        if seen is None:
            return said
        weight = self.matching.vision_weight
        pairs = zip(said, seen, strict=True)
        return [OptionScore(o.log_likelihood + o.num_tokens * weight * float(s), o.num_tokens) for o, s in pairs]

    def _log_shares(self, frames: FrameBatch, options: Sequence[str]) -> Vectors:
        curves = self._curves(frames, options)
        pts, width = frames.pts_seconds.numpy(), self.matching.smoothing_seconds
        moment = np.array([smooth(curves[:, i], pts, width).max() for i in range(len(options))])
        mean = self.images.embed(frames).mean(0, keepdims=True)
        whole = (self.bridge.pictures(mean, self.bridge.image_mean) @ self.words.embed(options).T)[0]
        return np.log(np.maximum(softmax(moment + whole, TEMPERATURE), 1e-12))

    @cached_property
    def _language(self) -> ScoringChat:
        if self.language is None:
            raise ModelError(_NO_LANGUAGE)
        return self.language()

    def _with_table(self, prompt: str, frames: FrameBatch | None) -> str:
        if frames is None or len(frames) == 0:
            return prompt
        view = self._look(frames, float(frames.pts_seconds[-1]))
        spans = self._events(view)
        records = self._records(view, spans, [None] * len(spans), "", ())
        return _TABLE_PROMPT.format(table=record_table(records), prompt=prompt)


_NO_LANGUAGE = (
    "this embedded model has no language model, it only recognizes and grounds; build it with "
    "language='smollm2-135m-instruct', or give the strategy a reasoner of its own"
)


def event_vectors(vectors: Vectors, pts: Floats, spans: Sequence[Span]) -> Vectors:
    """Mean vector of the frames of each span, float32 ``[n, d]``; a span between two frames takes the nearest one."""
    rows = []
    for span in spans:
        inside = (pts >= span.start - 5e-4) & (pts < span.end - 5e-4)
        if not inside.any():
            inside[int(np.abs(pts - (span.start + span.end) / 2).argmin())] = True
        rows.append(vectors[inside].mean(0))
    return np.asarray(rows, dtype=np.float32)


def with_speech(records: Sequence[EventRecord], lines: Sequence[SpeechLine]) -> tuple[EventRecord, ...]:
    """The records with every spoken line in the one record that it overlaps longest; lines outside of all are left."""
    from dataclasses import replace

    said: dict[int, list[str]] = {}
    for line in sorted(lines, key=lambda line: line.start):
        shared = [min(r.end, line.end) - max(r.start, line.start) for r in records]
        if shared and max(shared) > 0:
            said.setdefault(shared.index(max(shared)), []).append(line.text.strip())
    return tuple(replace(r, speech=" ".join(said[i])) if i in said else r for i, r in enumerate(records))


def are_captions(options: Sequence[str]) -> bool:
    """True when every option names something that a picture can show, and none is a list of clips."""
    return bool(options) and all(
        not _NOT_SHOWN.issuperset(re.findall(r"[^\W\d_]{2,}", option.lower()))
        and not re.search(r"\bclip\s*\d", option, re.IGNORECASE)
        for option in options
    )


def embedded(
    language: str | None = "smollm2-135m-instruct",
    *,
    device: str = "cpu",
    dtype: str = "auto",
    download: bool = False,
    threads: int | None = None,
    two_views: bool = True,
    cache: bool = True,
    shots: str | None = None,
    min_event_seconds: float = 1.0,
    max_events: int = 60,
    goal_phrases: int = 120,
    one_to_one: bool = True,
    vision_weight: float = 1.0,
) -> EmbeddedModel:
    """The embedded model with its published weights.

    Args:
        language: weights of the language model that answers prompts; None for recognition and grounding only.
        device: where the language model runs; the towers run on the CPU.
        dtype: precision of the language model.
        download: fetch weights that are not on this machine.
        threads: threads of the picture tower; None for all cores.
        two_views: look at every frame twice, its middle square and the whole (see :class:`ImageTower`).
        cache: keep picture vectors on disk.
        shots: weights of a shot detector (``transnetv2``), which looks at every frame; None finds cuts in the sampled
            frames, which costs nothing.
        min_event_seconds: shortest event.
        max_events: most events of a video.
        goal_phrases: see :class:`Matching`.
        one_to_one: see :class:`Matching`.
        vision_weight: see :class:`Matching`.

    Raises:
        MissingWeightsError: weights are not here and ``download`` is false.
    """
    store = DiskCache() if cache else None
    images = ImageTower(threads=threads, two_views=two_views, cache=store, download=download)

    def build_language() -> ScoringChat:
        from vidcausal.models.language import language_model

        return language_model(weights=language, device=device, dtype=dtype, download=download)

    return EmbeddedModel(
        images=images,
        texts=TextTower(download=download),
        bridge=load_bridge(),
        language=None if language is None else build_language,
        segmenter=Segmenter(min_seconds=min_event_seconds, max_events=max_events),
        shots=None if shots is None else shot_detector(shots, device=device, download=download),
        matching=Matching(goal_phrases=goal_phrases, one_to_one=one_to_one, vision_weight=vision_weight),
        cache=store,
    )
