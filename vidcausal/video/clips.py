"""Numbered clips inside one file: finding the "Clip 1", "Clip 2" … title cards between them.

A title card is a still picture of a few letters on a plain background, shown for 0.3 to 10 s. Cards of one video look
alike (background, letter height, place) and differ in their number; the first one opens the video and each is
followed by a clip. Cards are numbered in playing order, so nothing has to be read. Backgrounds with a gradient or a
picture are not recognized; give the spans instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidcausal.cache import DiskCache, digest
from vidcausal.errors import EmptyMediaError
from vidcausal.types import Span

if TYPE_CHECKING:
    from vidcausal.video.decode import Video
    from vidcausal.video.probe import VideoInfo

DETECTOR = "title cards 2"
"""Changes whenever the detector may give other spans, so that caches notice."""

HEIGHT = 108
"""Shorter side at which frames are looked at: letters of 1/30 of the height are still over three pixels."""

CARD_SECONDS = (0.3, 10.0)
MIN_CLIP_SECONDS = 0.2
FIRST_CARD_BEFORE = 1.5
FADE_SECONDS = 0.6

_CHUNK = 256
_PLAIN = 20
"""A pixel this near to the background's color (largest channel difference) is background."""
_INK = 60
"""A pixel this far from it is part of a letter."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TitleCard:
    """When a card is shown, fades included, and the color behind its letters."""

    span: Span
    background: tuple[int, int, int]


@dataclass(frozen=True)
class _Look:
    """What a frame looks like, as far as a title card is concerned."""

    plain: bool
    """The border and most of the picture have one color."""
    card: bool
    """Plain, and a few letters stand on it."""
    background: NDArray[np.int16]
    top: int
    bottom: int
    ink: float
    """Share of the picture's pixels that belong to letters."""
    picture: Pixels


@dataclass
class _Run:
    """Frames ``first`` to ``last`` show one still card; ``look`` is the one with the most ink (not half faded)."""

    first: int
    last: int
    look: _Look
    begin: int
    """First frame of the fade before it, ``first`` without one."""
    end: int
    """Last frame of the fade after it, ``last`` without one."""


class _Runs:
    """Collects the runs of a video whose frames come one by one; keeps few pictures."""

    def __init__(self) -> None:
        self.runs: list[_Run] = []
        self.times: list[float] = []
        self._before: _Look | None = None
        self._plain: deque[_Look] = deque(maxlen=64)
        """The latest plain frames that are no cards, without a gap up to the frame before."""

    def add(self, seconds: float, picture: Pixels) -> None:
        """The next frame."""
        look = _look(picture)
        index = len(self.times)
        self.times.append(seconds)
        latest = self.runs[-1] if self.runs else None
        if look.card:
            if latest and self._before and latest.last == index - 1 and _same_picture(self._before, look):
                latest.last = latest.end = index
                latest.look = max(latest.look, look, key=lambda one: one.ink)
            else:
                self.runs.append(_Run(index, index, look, index - self._fading_in(look), index))
        elif look.plain and latest and latest.end == index - 1 and _is_faded(look, latest.look):
            latest.end = index
        if look.plain and not look.card:
            self._plain.append(look)
        else:
            self._plain.clear()
        self._before = look

    def _fading_in(self, card: _Look) -> int:
        """How many of the frames just before are the same card, fading in."""
        count = 0
        for look in reversed(self._plain):
            if not _is_faded(look, card):
                break
            count += 1
        return count


def find_title_cards(video: Video, *, cache: DiskCache | None = None) -> tuple[TitleCard, ...]:
    """Title cards of ``video`` in playing order; empty when it has fewer than two.

    Every frame is looked at once, at 108 pixels, in chunks. With a ``cache`` the answer is kept by media digest.
    """
    key = digest(DETECTOR, video.info.digest)
    if cache is not None and isinstance(known := cache.get_json("title-cards", key), list):
        return tuple(TitleCard(Span(start, end), (r, g, b)) for start, end, (r, g, b) in known)
    found = title_cards(_small_frames(video), video.info.duration)
    if cache is not None:
        cache.put_json("title-cards", key, [[c.span.start, c.span.end, list(c.background)] for c in found])
    return found


def clip_spans(cards: Sequence[TitleCard], info: VideoInfo) -> tuple[Span, ...]:
    """What lies between the cards: one span a card, from its end to the next card or the end of the video."""
    ends = [card.span.start for card in cards[1:]] + [info.duration]
    return tuple(Span(card.span.end, end) for card, end in zip(cards, ends, strict=False))


def title_cards(frames: Iterable[tuple[float, Pixels]], duration: float) -> tuple[TitleCard, ...]:
    """Title cards among ``(seconds, RGB picture [h, w, 3])`` pairs of all frames in playing order."""
    found = _Runs()
    for seconds, picture in frames:
        found.add(seconds, picture)
    times = found.times
    ends = [*times[1:], duration]
    shortest, longest = CARD_SECONDS
    runs = [run for run in found.runs if shortest <= ends[run.last] - times[run.first] + 1e-6 <= longest]
    chosen = _one_style(runs, times)
    spans = [_with_fades(run, times, ends) for run in chosen]
    while spans and duration - spans[-1].end < MIN_CLIP_SECONDS:
        spans.pop()
    too_near = any(b.start - a.end < MIN_CLIP_SECONDS for a, b in zip(spans, spans[1:], strict=False))
    if len(spans) < 2 or too_near:
        return ()
    colors = [tuple(int(c) for c in run.look.background) for run in chosen]
    return tuple(TitleCard(span, (r, g, b)) for span, (r, g, b) in zip(spans, colors, strict=False))


def _small_frames(video: Video) -> Iterator[tuple[float, Pixels]]:
    pts = video.info.pts_seconds
    for start in range(0, len(pts), _CHUNK):
        try:
            batch = video.read([float(t) for t in pts[start : start + _CHUNK]], size=HEIGHT)
        except EmptyMediaError:  # a damaged stretch; there may be cards after it
            continue
        pictures = batch.data.permute(0, 2, 3, 1).cpu().numpy()
        yield from zip(batch.pts_seconds.tolist(), pictures, strict=True)


def _look(picture: Pixels) -> _Look:
    height, width = picture.shape[:2]
    rim = max(2, height // 18)
    border = np.concatenate(
        [
            picture[:rim].reshape(-1, 3),
            picture[-rim:].reshape(-1, 3),
            picture[:, :rim].reshape(-1, 3),
            picture[:, -rim:].reshape(-1, 3),
        ]
    )
    background = np.median(border, axis=0).astype(np.int16)
    near_border = np.abs(border.astype(np.int16) - background).max(axis=1) <= _PLAIN
    if near_border.mean() < 0.985:
        return _Look(False, False, background, 0, 0, 0.0, picture)
    distance = np.abs(picture.astype(np.int16) - background).max(axis=2)
    plain = bool((distance <= _PLAIN).mean() >= 0.6)
    letters = distance >= _INK
    ink = float(letters.mean())
    rows = np.flatnonzero(letters.any(axis=1))
    if not plain or len(rows) == 0 or not 0.0006 <= ink <= 0.25:
        return _Look(plain, False, background, 0, 0, ink, picture)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    # Letters leave gaps; a shape that fills its box, or a box as high as the picture, is an object on a plain ground.
    columns = np.flatnonzero(letters.any(axis=0))
    box = letters[top:bottom, columns[0] : columns[-1] + 1]
    card = bottom - top <= 0.6 * height and float(box.mean()) <= 0.85 and box.shape[1] >= box.shape[0]
    return _Look(plain, card, background, top, bottom, ink, picture)


def _same_picture(a: _Look, b: _Look) -> bool:
    """No letter moved and no color changed between two frames."""
    change = np.abs(a.picture.astype(np.int16) - b.picture).max(axis=2)
    return float(change.mean()) < 6.0 and float((change > 48).mean()) < 0.001


def _same_style(a: _Look, b: _Look) -> bool:
    """The same kind of card: background, height and place of the letters, amount of ink."""
    height = a.picture.shape[0]
    tall_a, tall_b = a.bottom - a.top, b.bottom - b.top
    return (
        int(np.abs(a.background - b.background).max()) <= 24
        and abs(tall_a - tall_b) <= max(2, 0.35 * max(tall_a, tall_b))
        and abs(a.top + a.bottom - b.top - b.bottom) <= 0.16 * height
        and max(a.ink, b.ink) <= 2.0 * min(a.ink, b.ink) + 0.002
    )


def _one_style(runs: Sequence[_Run], times: Sequence[float]) -> list[_Run]:
    """Runs that look like the card that opens the video and are not all one picture."""
    opening = [run for run in runs if times[run.first] - times[0] <= FIRST_CARD_BEFORE]
    if not opening:
        return []
    group = [run for run in runs if run.first >= opening[0].first and _same_style(opening[0].look, run.look)]
    for k, run in enumerate(group):
        for other in group[k + 1 :]:
            change = np.abs(run.look.picture.astype(np.int16) - other.look.picture)
            if int(change.max()) < 40:
                return []
    return group


def _is_faded(look: _Look, card: _Look) -> bool:
    """A plain frame in which the letters of ``card`` can still, or already, be seen."""
    on_card = np.abs(card.picture.astype(np.int16) - card.background).max(axis=2)
    here = np.abs(look.picture.astype(np.int16) - look.background).max(axis=2)
    contrast = float(here[on_card >= _INK].mean())
    return contrast >= 6 and float((on_card > _PLAIN)[here >= contrast / 2].mean()) >= 0.7


def _with_fades(run: _Run, times: Sequence[float], ends: Sequence[float]) -> Span:
    """The card with at most ``FADE_SECONDS`` of fade at each side."""
    start = max(times[run.begin], times[run.first] - FADE_SECONDS)
    end = min(ends[run.end], ends[run.last] + FADE_SECONDS)
    return Span(start, end)
