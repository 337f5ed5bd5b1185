"""Stories of the worlds as training rows: frames straight from the renderer, and every task as text behind them.

Kinds of rows: frames alone, where words and things are to be seen; a whole video with all tasks; one clip to be
described; shuffled clips to be ordered at once; and text alone, where records are given and reasoning is asked for.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vidcausal.models import native_text as text
from vidcausal.models.native_clock import Clock
from vidcausal.training.packing import VIDEO, Row
from vidcausal.video.edit import title_card
from vidcausal.worlds import create_world
from vidcausal.worlds.story import COLORS, Question, Split, Story, Thing
from vidcausal.worlds.world import World

T = TypeVar("T")
Ids = Callable[[str], Sequence[int]]
CARD_SECONDS = 1.0
ROWS, COLUMNS = 6, 10
"""Rows and columns of places that things are told apart by: halves, thirds and fifths of a picture."""
SHARED_WEIGHT = 0.1
"""Weight of words that all options of a question share: they only say how the narrator puts it today."""
HEIGHTS = ("top", "middle", "bottom")
SIDES = ("far left", "left", "middle", "right", "far right")
LOOKS = 5
"""How often a video's row asks where a colored thing is."""
COLOR_NAMES = tuple(COLORS)
QUERIES = 3
"""Moments that are asked for in a video at most."""
NEEDS_PICTURES = ("DC", "DL", "DO")
"""Question types whose answers do not stand in the records."""


@dataclass(frozen=True)
class Shape:
    """How videos are shown to the model.

    ``size``: side of a frame in pixels. ``frames``: of a whole video. ``clip_frames``: of a single clip, fewest and
    most. ``shuffled_frames``: of shuffled clips together. ``queries``: projected tokens a frame, or, where ``pool`` is
    not 0, none: ``pool`` tokens stand for the whole video, without times between them. ``cells``: the encoder's cells
    on a side of a frame, 0 for one every eight pixels.
    """

    size: int = 64
    frames: int = 16
    clip_frames: tuple[int, int] = (3, 6)
    shuffled_frames: int = 16
    queries: int = 4
    pool: int = 0
    cells: int = 0


@dataclass
class Example:
    """One row with its video.

    ``frames`` uint8 ``[t, s, s, 3]`` and ``times`` seconds ``[t]`` (both empty for text alone). ``words`` float32
    ``[t, w]``: which words of captions are true of each frame. ``cells`` int64 ``[m, 4]``: frame, cell, color, kind of
    things to be seen. ``present`` float32 ``[t, c * (k + g)]``: which kinds of things of each of c colors each frame
    shows, and in which of g rows and columns.
    """

    kind: str
    frames: NDArray[np.uint8]
    times: NDArray[np.float32]
    row: Row
    words: NDArray[np.float32]
    cells: NDArray[np.int64]
    present: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))


class Storyteller:
    """Makes examples of one world.

    Args:
        world: its name.
        tokenizer: of :mod:`vidcausal.models.native_text`.
        shape: how videos are shown.
        split: which stories.
        kinds: all kinds of things of all worlds, in a fixed order.
        words: whether examples say which words are true of each frame.
    """

    def __init__(
        self,
        world: str,
        tokenizer: Any,
        shape: Shape,
        *,
        split: Split,
        kinds: Sequence[str],
        words: bool = True,
    ) -> None:
        self.world: World = create_world(world)
        self.shape, self.split = shape, split
        self.tokenizer = tokenizer
        self.ids: Ids = _cached_ids(tokenizer)
        self.bos, self.eos = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)
        self.kinds = {kind: number for number, kind in enumerate(kinds)}
        self.num_words = len(tokenizer) if words else 0

    # ---- a whole video -------------------------------------------------------------------------------------------

    def video(self, seed: int) -> Example:
        """All tasks about a whole video."""
        story = self.world.tell(seed, self.split)
        rng = self.world.random(seed, self.split, "training")
        times = frame_times(story.duration, self.shape.frames, rng)
        frames, cells, present = self._look(story, times, rng)
        clock = Clock(times)
        row = self._video_root(clock.shown)
        events = [(clock.nearest(e.start), clock.nearest(e.end), e.caption) for e in story.events]
        describe = self._add(row, f"\n{text.DESCRIBE}\n", text.event_lines(events), 0, "describe", end=False)
        row.add([self.eos], answer=0, parent=describe, task="describe")
        for number in rng.sample(range(len(events)), min(QUERIES, len(events))):
            start, end, _ = events[number]
            wording = rng.choice(story.events[number].wordings)
            self._add(row, f"\nwhen {wording}\n", text.span_text(start, end), 0, "ground")
        for question in self.world.questions(story):
            self._ask(row, "\n", question, 0, "ask")
            if rng.random() < 0.5:
                self._ask(row, "", question, describe, "recall")
        self._look_for_things(row, story, times, clock, rng)
        return Example("video", frames, _array(clock.shown), row, self._words(story, times), cells, present)

    def frames(self, seed: int) -> Example:
        """A whole video without any task: only what is to be seen in each frame is learned, which costs little."""
        story = self.world.tell(seed, self.split)
        rng = self.world.random(seed, self.split, "training")
        times = frame_times(story.duration, self.shape.frames, rng)
        frames, cells, present = self._look(story, times, rng)
        row = Row()
        row.add([self.bos], answer=1)
        return Example("frames", frames, _array(Clock(times).shown), row, self._words(story, times), cells, present)

    def reasoning(self, seed: int) -> Example:
        """Records given as text, reasoning asked for; goals and steps to be ordered."""
        story = self.world.tell(seed, self.split)
        row = Row()
        lines = text.event_lines((round(e.start, 1), round(e.end, 1), e.caption) for e in story.events)
        root = row.add([self.bos, *self.ids(f"{text.DESCRIBE}\n{lines}")], answer=10**9)
        for question in self.world.questions(story):
            if question.type not in NEEDS_PICTURES:
                self._ask(row, "", question, root, "reason")
        return self._without_video("reasoning", row)

    def ordering(self, seed: int) -> Example | None:
        """Captions of shuffled clips to be ordered, as a list and in pairs; None where a story has no clips."""
        story = self.world.tell(seed, self.split)
        if len(story.clips) < 2:
            return None
        rng = self.world.random(seed, self.split, "ordering")
        row = Row()
        captions, answer = shuffled([clip.caption for clip in story.clips], rng)
        table = "".join(f"clip {number}: {caption}\n" for number, caption in enumerate(captions, start=1))
        prompt = [self.bos, *self.ids(f"{table}order {story.goal}\n")]
        reply = self.ids(", ".join(map(str, answer)))
        row.add([*prompt, *reply, self.eos], answer=len(prompt), task="order")
        goal = row.add([self.bos, *self.ids(f"two steps {story.goal}\n")], answer=10**9)
        numbers = range(len(story.clips))
        pairs = [(i, j) for i in numbers for j in numbers if i < j and _always_before(story, i, j)]
        for i, j in rng.sample(pairs, min(3, len(pairs))):
            both = self.ids(f"1. {story.clips[i].caption}\n2. {story.clips[j].caption}")
            row.add([*both, self.eos], answer=0, parent=goal, task="pair")
        return self._without_video("ordering", row)

    # ---- clips ---------------------------------------------------------------------------------------------------

    def clip(self, seed: int, count: int) -> Example | None:
        """One clip of a story in ``count`` frames to be described; None where a story has no clips."""
        story = self.world.tell(seed, self.split)
        if not story.clips:
            return None
        rng = self.world.random(seed, self.split, "clip")
        clip = rng.choice(story.clips)
        inside = frame_times(clip.end - clip.start, count, rng)
        times = [clip.start + time for time in inside]
        frames, cells, present = self._look(story, times, rng)
        clock = Clock(inside)
        row = self._video_root(clock.shown)
        events = [
            (clock.nearest(e.start - clip.start), clock.nearest(e.end - clip.start), e.caption)
            for e in story.events
            if min(e.end, clip.end) - max(e.start, clip.start) > 0.5 * (e.end - e.start)
        ]
        self._add(row, f"\n{text.DESCRIBE}\n", text.event_lines(events), 0, "describe clip")
        return Example("clip", frames, _array(clock.shown), row, self._words(story, times), cells, present)

    def shuffled_clips(self, seed: int, count: int, *, cards: bool) -> Example | None:
        """``count`` shuffled clips, behind title cards or end to end, to be ordered at once; None where a story has
        fewer.
        """
        story = self.world.tell(seed, self.split)
        if len(story.clips) < count:
            return None
        rng = self.world.random(seed, self.split, "shuffled")
        kept = sorted(rng.sample(range(len(story.clips)), count))
        places, answer = shuffled(kept, rng)
        frames, times, now, spans = [], list[float](), 0.0, list[tuple[float, float]]()
        for number, place in enumerate(places, start=1):
            clip = story.clips[place]
            if cards:
                frames.append(_card(number, self.shape.size)[None])
                times.append(now + CARD_SECONDS / 2)
                now += CARD_SECONDS
            inside = frame_times(clip.end - clip.start, self.shape.shuffled_frames // count, rng)
            scenes = [self.world.scene(story, clip.start + time) for time in inside]
            frames.append(self._painted(story, scenes, rng))
            times += [now + time for time in inside]
            spans.append((now, now + clip.end - clip.start))
            now += clip.end - clip.start
        clock = Clock(times)
        told = [f"{clock.told(start):.1f} {clock.told(end):.1f}" for start, end in spans]
        table = "".join(f"clip {number} {span}\n" for number, span in enumerate(told, start=1))
        row = self._video_root(clock.shown)
        self._add(row, f"\n{table}order {story.goal}\n", ", ".join(map(str, answer)), 0, "order directly")
        words = np.zeros((len(times), 0), np.float32)
        return Example("shuffled", np.concatenate(frames), _array(clock.shown), row, words, np.zeros((0, 4), np.int64))

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _video_root(self, shown: Sequence[float]) -> Row:
        row = Row()
        ids = [self.bos, *[VIDEO] * self.shape.pool]
        for time in () if self.shape.pool else shown:
            ids += [*self.ids(text.TIME_FORMAT.format(time)), *[VIDEO] * self.shape.queries]
        row.add(ids, answer=len(ids))
        return row

    def _add(self, row: Row, prompt: str, answer: str, parent: int, task: str, *, end: bool = True) -> int:
        before = self.ids(prompt)
        ids = [*before, *self.ids(answer), *([self.eos] if end else [])]
        return row.add(ids, answer=len(before), parent=parent, task=task)

    def _ask(self, row: Row, before: str, question: Question, parent: int, task: str) -> None:
        """A question and its right option, whose words that all options share count little."""
        prompt = self.ids(f"{before}{question.text}\n")
        options = [self.ids(option) for option in question.options]
        shared = set(options[0]).intersection(*options[1:]) | {self.eos}
        answer = [*options[question.answer], self.eos]
        weights = [SHARED_WEIGHT if token in shared else 1.0 for token in answer]
        ids = [*prompt, *answer]
        row.add(ids, answer=len(prompt), parent=parent, weights=weights, task=f"{task} {question.type}")

    def _look_for_things(
        self, row: Row, story: Story, times: Sequence[float], clock: Clock, rng: random.Random
    ) -> None:
        """Where colored things are at some of the frames: what stands still is in no caption, and few questions ask."""
        _, static = self.world.stage(story)
        for frame in (rng.randrange(len(times)) for _ in range(LOOKS)):
            seen = (*self.world.scene(story, times[frame]), *static)
            things = [thing for thing in seen if thing.color and 0 <= thing.x < 1 and 0 <= thing.y < 1]
            if things:
                thing = rng.choice(things)
                place = f"{HEIGHTS[int(thing.y * len(HEIGHTS))]} {SIDES[int(thing.x * len(SIDES))]}"
                when = text.TIME_FORMAT.format(clock.shown[frame])
                self._add(row, f"\nwhere is the {thing.color} {thing.kind} at {when}\n", place, 0, "look")

    def _without_video(self, kind: str, row: Row) -> Example:
        size = self.shape.size
        empty = np.zeros((0, size, size, 3), np.uint8)
        return Example(
            kind, empty, np.zeros(0, np.float32), row, np.zeros((0, 0), np.float32), np.zeros((0, 4), np.int64)
        )

    def _look(
        self, story: Story, times: Sequence[float], rng: random.Random
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32]]:
        _, static = self.world.stage(story)
        scenes = [self.world.scene(story, time) for time in times]
        frames = self._painted(story, scenes, rng)
        cells = [
            self._cell(frame, thing)
            for frame, scene in enumerate(scenes)
            for thing in (*scene, *(static if rng.random() < 0.25 else ()))
            if 0 <= thing.x < 1 and 0 <= thing.y < 1
        ]
        present = np.zeros((len(times), len(COLOR_NAMES), len(self.kinds) + ROWS + COLUMNS), np.float32)
        for frame, scene in enumerate(scenes):
            for thing in (*scene, *static):
                if thing.color is not None and 0 <= thing.x < 1 and 0 <= thing.y < 1:
                    kind = self.kinds[f"{self.world.name}/{thing.kind}"]
                    row, column = (
                        len(self.kinds) + place for place in (int(thing.y * ROWS), ROWS + int(thing.x * COLUMNS))
                    )
                    present[frame, COLOR_NAMES.index(thing.color), [kind, row, column]] = 1
        return frames, np.array(cells, np.int64).reshape(-1, 4), present.reshape(len(times), -1)

    def _painted(self, story: Story, scenes: Sequence[Sequence[Thing]], rng: random.Random) -> NDArray[np.uint8]:
        """Frames at the model's size: drawn at it, or (every second time) twice as large and averaged.

        A video file is larger than the model's frames and is made smaller before it is seen, which softens edges.
        """
        scale = rng.choice((1, 2))
        color, static = self.world.stage(story)
        painter, size = self.world.painter, self.shape.size
        frames = painter.paint(painter.backdrop(color, static, scale * size), scenes)
        if scale == 1:
            return frames
        quarters = [frames[:, y::2, x::2].astype(np.uint16) for y in (0, 1) for x in (0, 1)]
        return ((quarters[0] + quarters[1] + quarters[2] + quarters[3] + 2) // 4).astype(np.uint8)

    def _cell(self, frame: int, thing: Thing) -> tuple[int, int, int, int]:
        side = self.shape.cells or self.shape.size // 8
        cell = int(thing.y * side) * side + int(thing.x * side)
        color = -1 if thing.color is None else COLOR_NAMES.index(thing.color)
        return frame, cell, color, self.kinds[f"{self.world.name}/{thing.kind}"]

    def _words(self, story: Story, times: Sequence[float]) -> NDArray[np.float32]:
        words = np.zeros((len(times), self.num_words), np.float32)
        for event in story.events if self.num_words else ():
            ids = list(self.ids(event.caption))
            for frame, time in enumerate(times):
                if event.start <= time <= event.end:
                    words[frame, ids] = 1
        return words


def all_kinds(worlds: Sequence[str]) -> list[str]:
    """Every kind of thing of the worlds, ``world/kind``, sorted."""
    return sorted(f"{name}/{kind}" for name in worlds for kind in create_world(name).sprites)


def narration(worlds: Sequence[str], count: int = 3000) -> set[str]:
    """What the narrators say in ``count`` stories of each world: captions, goals, questions, options, prompts."""
    said = {prompt.replace("{", " ").replace("}", " ") for prompt in text.PROMPTS.values()}
    said |= {"clip order two steps when events", "where is the at", *HEIGHTS, *SIDES}
    for name in worlds:
        world = create_world(name)
        for seed in range(count):
            story = world.tell(seed, "composition" if seed % 4 == 0 else "train")
            said.add(story.goal)
            for event in (*story.events, *story.unseen):
                said.update(event.wordings)
            for question in world.questions(story):
                said.update((question.text, *question.options))
    return said


def frame_times(duration: float, count: int, rng: random.Random) -> list[float]:
    """``count`` times: the middles of equal parts, or anywhere in them, or evenly spaced from the first to the last."""
    step, kind = duration / count, rng.randrange(3)
    if kind == 0 or count == 1:
        return [(number + 0.5) * step for number in range(count)]
    if kind == 1:
        return [(number + 0.1 + 0.8 * rng.random()) * step for number in range(count)]
    return [number * 0.99 * duration / (count - 1) for number in range(count)]


def shuffled(items: Sequence[T], rng: random.Random) -> tuple[list[T], list[int]]:
    """The items in a random order, and the 1-based places in which they then stand, first to last."""
    places = list(range(len(items)))
    rng.shuffle(places)
    return [items[place] for place in places], [places.index(number) + 1 for number in range(len(items))]


def _always_before(story: Story, first: int, second: int) -> bool:
    return all(order.index(first) < order.index(second) for order in story.valid_orders)


def _array(times: Sequence[float]) -> NDArray[np.float32]:
    return np.array(times, np.float32)


def _cached_ids(tokenizer: object) -> Ids:
    @functools.lru_cache(maxsize=200_000)
    def ids(words: str) -> tuple[int, ...]:
        return tuple(tokenizer(words, add_special_tokens=False)["input_ids"])  # type: ignore[operator]

    return ids


@functools.lru_cache(maxsize=64)
def _card(number: int, size: int) -> NDArray[np.uint8]:
    return title_card(f"Clip {number}", (size, size))
