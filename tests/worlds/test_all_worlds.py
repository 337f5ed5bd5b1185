"""What must hold in every world, whatever happens in it."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidcausal.worlds.registry import WORLDS
from vidcausal.worlds.scm import SCM, TICK, happened
from vidcausal.worlds.sound import SOUNDS
from vidcausal.worlds.story import COLORS, QUESTION_TYPES, SPLITS, Story

from .told import COUNT, asked, every, fingerprint, frames, grid, stories, whole, world

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = [name for name, where in WORLDS.items() if where.startswith("vidcausal.")]
RENDERED = 16
"""Stories of a world whose frames are looked at."""


@pytest.fixture(params=NAMES, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- the same everywhere ----------------------------------------------------------------------------------------


def test_another_process_with_other_hashes_makes_the_same_samples() -> None:
    samples = [(kind, split, seed) for kind in NAMES for split in SPLITS for seed in (0, 3)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "4711"}
    if os.environ.get("PYTHONHASHSEED") == "4711":
        environment["PYTHONHASHSEED"] = "4712"
    arguments = [f"{kind}/{split}/{seed}" for kind, split, seed in samples]
    command = [sys.executable, str(Path(__file__).with_name("told.py")), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [fingerprint(*sample) for sample in samples]


def test_what_was_told_before_changes_nothing(name: str) -> None:
    assert stories(name)[7].events == type(world(name))().tell(7, "train").events
    story = stories(name)[7]
    times = grid(story)[::8]
    together = frames(name, story, times)
    backward = frames(name, story, times[::-1])[::-1]
    assert (together == backward).all()


def test_every_seed_and_split_is_another_story(name: str) -> None:
    told = [(story.duration, story.events, story.unseen) for story in every(name)]
    assert len({repr(one) for one in told}) > 0.99 * len(told)


# ---- the causal model -------------------------------------------------------------------------------------------


class Watched(Mapping[str, Any]):
    """Values that remember which of them were read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values_, self.read = values, set[str]()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return self.values_[key]

    def __iter__(self) -> Any:
        raise AssertionError("a mechanism looked at all values instead of its parents")

    def __len__(self) -> int:
        return len(self.values_)


def read_by(model: SCM, values: Mapping[str, Any], name: str) -> set[str]:
    watched = Watched(values)
    variable = model.variables[name]
    for noise, _ in variable.noise:
        variable.mechanism(watched, noise)
    return watched.read


def test_mechanisms_read_nothing_but_their_parents(name: str) -> None:
    for story in every(name)[::7]:
        values = story.model.run(story.noise)
        for variable in story.model.variables.values():
            assert read_by(story.model, values, variable.name) <= set(variable.parents)


def test_the_noise_is_possible_and_explains_what_happens(name: str) -> None:
    for story in every(name)[::7]:
        values = story.model.run(story.noise)
        assert set(story.noise) == set(story.model.variables)
        posterior = story.model.abduct(values)
        for variable in story.model.variables:
            assert story.noise[variable] in [noise for noise, _ in posterior[variable]]


def test_events_are_variables_that_happen(name: str) -> None:
    for story in every(name):
        values = story.model.run(story.noise)
        ids = [event.id for event in whole(story)]
        assert len(ids) == len(set(ids))
        assert all(happened(values[event]) for event in ids)


def test_causes_come_before_their_effects(name: str) -> None:
    for story in every(name):
        by_id = {event.id: event for event in whole(story)}
        for event in whole(story):
            assert set(event.causes) <= set(by_id), f"{event.id} has causes that nobody tells"
            assert set(event.causes) <= story.model.ancestors(event.id)
            assert all(by_id[cause].start < event.start for cause in event.causes)


def test_actual_causes_are_ancestors_and_exist_where_something_came_before(name: str) -> None:
    for story in every(name)[::9]:
        ids = {event.id for event in whole(story)}
        for event in story.events:
            causes = world(name).causes(story, event.id)
            assert {part for cause in causes for part in cause} <= story.model.ancestors(event.id)
            if event.causes:
                assert {part for cause in causes for part in cause} & ids, f"{event.id} has parents but no cause"
            for other in ids & story.model.ancestors(event.id):
                if not happened(story.model.run(story.noise, {other: None})[event.id]):
                    assert (other,) in causes, "what the event would not have happened without is a cause"


# ---- events -----------------------------------------------------------------------------------------------------


def test_events_lie_in_the_video_and_can_be_seen(name: str) -> None:
    for story in every(name):
        assert 10 <= story.duration <= 16
        assert story.duration / TICK == int(story.duration / TICK)
        assert 3 <= len(story.events) <= (9 if name == "procedures" else 7)
        assert list(story.events) == sorted(story.events, key=lambda event: event.start)
        for event in story.events:
            assert 0 <= event.start < event.end <= story.duration
            assert 1.0 <= event.end - event.start <= 2.5
        for event in story.unseen:
            assert event.end > story.duration
        for first, second in itertools.pairwise(story.events):
            assert second.start - first.start >= 0.5


def test_captions_tell_the_events_of_a_video_apart(name: str) -> None:
    for story in every(name):
        captions = [event.caption for event in whole(story)]
        assert len(captions) == len(set(captions))
        for event in whole(story):
            assert event.caption == event.wordings[0]
            assert len(set(event.wordings)) >= 3
            assert all(re.fullmatch(r"[a-z]+( [a-z]+)*", text) for text in event.wordings)
            assert 3 <= len(event.caption.split()) <= 7
            assert not {"a", "an", "the"} & set(event.caption.split())
            assert len(event.saliency) == 3
            assert all(0 <= rating <= 4 for rating in event.saliency)


def test_about_a_quarter_of_the_videos_end_before_an_effect_whose_cause_is_shown(name: str) -> None:
    """Either what comes next is under way when the video ends, or something that leads to it was seen."""
    told = every(name)
    cut = 0
    for story in told:
        shown = {event.id for event in story.events}
        cut += any(event.start < story.duration or shown & set(event.causes) for event in story.unseen)
        predicted = [question for question in world(name).questions(story) if question.type == "PR"]
        assert len(predicted) <= len(story.unseen), "nothing is left to be predicted"
    assert 0.15 <= cut / len(told) <= 0.4


def test_events_can_be_heard(name: str) -> None:
    for story in every(name)[::3]:
        sounds = world(name).sounds(story)
        assert [sound.time for sound in sounds] == sorted(sound.time for sound in sounds)
        assert all(0 <= sound.time <= story.duration and sound.kind in SOUNDS for sound in sounds)
        for event in story.events:
            assert any(event.start <= sound.time <= event.end for sound in sounds), f"{event.caption} is silent"


# ---- annotation and pixels --------------------------------------------------------------------------------------


def test_pixels_change_in_spans_and_nowhere_else(name: str) -> None:
    for story in every(name)[:: len(every(name)) // RENDERED]:
        times = grid(story)
        shown = frames(name, story, times)
        for (before, after), (one, other) in zip(itertools.pairwise(times), itertools.pairwise(shown), strict=True):
            if not any(event.start < after and before < event.end for event in whole(story)):
                assert (one == other).all(), f"{story.split} {story.seed}: something moves at {before} s"
        for event in story.events:
            for moment, edge in (("begin", event.start), ("end", event.end - 0.5)):
                part = frames(name, story, [edge + k / 16 for k in range(9)])
                assert (part != part[0]).any(), f"{story.split} {story.seed}: {event.caption} does not {moment} there"


def test_what_an_event_changes_is_visible(name: str) -> None:
    """At least a hundredth of the picture changes by an eighth of full brightness."""
    for story in every(name)[:: len(every(name)) // RENDERED]:
        for event in story.events:
            times = list(np.linspace(event.start, event.end, 7))
            shown = frames(name, story, times).astype(int)
            changed = (abs(shown - shown[0]).max(-1) >= 32).any(0)
            assert changed.mean() >= 0.01, f"{story.split} {story.seed}: {event.caption} can hardly be seen"


def test_without_an_event_the_video_is_the_same_until_it_would_begin(name: str) -> None:
    """Its own pixels change inside its span and not before: the counterfactual video shows which they are."""
    imagine = getattr(world(name), "counterfactual", None)
    assert imagine is not None, "a world tells what would have been"
    for story in every(name)[:: len(every(name)) // RENDERED]:
        for event in story.events:
            other = imagine(story, {event.id: None})
            assert event.id not in [kept.id for kept in whole(other)]
            before = [time for time in grid(story) if time <= event.start]
            assert (frames(name, story, before) == frames(name, other, before)).all(), f"{event.caption} shows early"
            for moment, edge in (("begins late", event.start), ("ends early", event.end - 0.5)):
                part = [edge + k / 16 for k in range(1, 9)]
                assert (frames(name, story, part) != frames(name, other, part)).any(), f"{event.caption} {moment}"


def test_the_counterfactual_story_is_what_the_model_says(name: str) -> None:
    for story in every(name)[::23]:
        for event in story.events:
            values = world(name).without(story, **{event.id: None})
            told = {kept.id for kept in whole(world(name).counterfactual(story, {event.id: None}))}  # type: ignore[attr-defined]
            factual = {kept.id for kept in whole(story)}
            assert all(happened(values[kept]) for kept in told)
            assert {kept for kept in factual if happened(values[kept])} <= told


@pytest.mark.parametrize("size", [64, 96, 224])
def test_frames_have_the_size_that_was_asked_for(name: str, size: int) -> None:
    shown = world(name).render(stories(name)[0], [0.0, 5.0], size)
    assert shown.shape == (2, size, size, 3)
    assert shown.dtype == np.uint8


def test_worlds_look_different_at_a_glance() -> None:
    # The nearest of another world's first frames is further away than the nearest of the own ones.
    looks = {
        kind: [world(kind).render(story, [0.0])[0].astype(float) for story in stories(kind)[:12]] for kind in NAMES
    }
    for kind in NAMES:
        for frame in looks[kind]:
            near = {
                other: min(float(abs(frame - seen).mean()) for seen in looks[other] if seen is not frame)
                for other in NAMES
            }
            assert min(near, key=lambda other: near[other]) == kind


# ---- clips ------------------------------------------------------------------------------------------------------


def test_clips_follow_one_another_and_show_events(name: str) -> None:
    for story in every(name):
        captions = {event.caption: event for event in story.events}
        for first, second in itertools.pairwise(story.clips):
            assert first.end <= second.start
        for clip in story.clips:
            assert 0 <= clip.start < clip.end <= story.duration
            assert 1.0 <= clip.end - clip.start <= 3.0
            event = captions[clip.caption]
            assert min(clip.end, event.end) - max(clip.start, event.start) >= 0.5 * (event.end - event.start)
        assert len({clip.caption for clip in story.clips}) == len(story.clips)
        assert not story.clips or 3 <= len(story.clips) <= (7 if name == "procedures" else 5)
        assert bool(story.clips) == bool(story.valid_orders)
        assert not story.clips or story.goal


def test_most_stories_have_clips(name: str) -> None:
    told = stories(name, "train", 4 * COUNT)
    assert sum(bool(story.clips) for story in told) >= 0.55 * len(told)


def test_valid_orders_are_those_in_which_causes_come_first(name: str) -> None:
    for story in every(name):
        if not story.clips:
            continue
        count = len(story.clips)
        assert tuple(range(count)) in story.valid_orders
        assert len(set(story.valid_orders)) == len(story.valid_orders)
        ids = {event.caption: event.id for event in story.events}
        parents = {event.id: set(event.causes) for event in story.events}
        of = [ids[clip.caption] for clip in story.clips]
        needs = [(i, j) for i in range(count) for j in range(count) if of[i] in above(parents, of[j])]
        every_order = itertools.permutations(range(count))
        right = {order for order in every_order if all(order.index(i) < order.index(j) for i, j in needs)}
        assert set(story.valid_orders) == right, f"{story.split} {story.seed}"


def above(parents: Mapping[str, set[str]], event: str) -> set[str]:
    """Events that lead to ``event``."""
    found: set[str] = set()
    todo = list(parents.get(event, ()))
    while todo:
        cause = todo.pop()
        if cause not in found:
            found.add(cause)
            todo += parents.get(cause, ())
    return found


# ---- questions --------------------------------------------------------------------------------------------------


def test_questions_have_five_different_options_and_one_answer(name: str) -> None:
    for story, questions in zip(stories(name, "train", 4 * COUNT), asked(name), strict=True):
        assert len(questions) >= 4
        assert len({question.type for question in questions}) == len(questions)
        for question in questions:
            assert question.type in QUESTION_TYPES
            assert len(question.options) == len(set(question.options)) == 5
            assert question.answer in range(5)
            assert re.fullmatch(r"[a-z]+( [a-z]+)*\?", question.text), question.text
            assert all(re.fullmatch(r"[a-z0-9]+( [a-z0-9]+)*", option) for option in question.options)
            assert all(0 <= start < end <= story.duration for start, end in question.spans)


def test_every_type_is_asked_often_enough_and_every_position_is_right_equally_often(name: str) -> None:
    types = Counter(question.type for questions in asked(name) for question in questions)
    positions: dict[str, Counter[int]] = {kind: Counter() for kind in QUESTION_TYPES}
    for question in itertools.chain.from_iterable(asked(name)):
        positions[question.type][question.answer] += 1
    for kind in QUESTION_TYPES:
        # contract: 8 % of the stories; three standard errors below it at this number of stories
        assert types[kind] >= (0.08 - 3 * (0.08 * 0.92 / len(asked(name))) ** 0.5) * len(asked(name)), kind
        fair = types[kind] / 5
        # chi-square with 4 degrees of freedom: 27.9 has probability 1e-5 for fair places
        assert sum((positions[kind][k] - fair) ** 2 / fair for k in range(5)) < 27.9, (kind, positions[kind])


def test_stems_and_options_name_no_thing_twice(name: str) -> None:
    """An option that alone repeats a thing of the stem would be likelier, or less likely, to be right."""
    for question in itertools.chain.from_iterable(asked(name)):
        for color, noun in re.findall(rf"({'|'.join(COLORS)}) (\w+)", question.text):
            repeats = [f"{color} {noun}" in option for option in question.options]
            assert len(set(repeats)) == 1, (question.text, question.options)


def test_each_type_is_asked_in_three_wordings(name: str) -> None:
    """Counted with the things taken out of the questions."""
    thing = re.compile(rf"\b({'|'.join(COLORS)}) \w+")
    stems: dict[str, set[str]] = {kind: set() for kind in QUESTION_TYPES}
    for question in itertools.chain.from_iterable(asked(name)):
        stems[question.type].add(thing.sub("thing", question.text))
    assert all(len(found) >= 3 for found in stems.values()), {k: v for k, v in stems.items() if len(v) < 3}


# ---- splits -----------------------------------------------------------------------------------------------------


def traits(name: str, story: Story) -> set[tuple[Any, ...]]:
    """Colored things, the goal, and the length of the longest chain of a story."""
    things = [*world(name).stage(story)[1]]
    for time in np.linspace(0, story.duration, 5):
        things += world(name).scene(story, float(time))
    parents = {event.id: set(event.causes) for event in whole(story)}
    depth: dict[str, int] = {}
    for event in sorted(whole(story), key=lambda event: event.start):
        depth[event.id] = 1 + max((depth[cause] for cause in parents[event.id]), default=0)
    found: set[tuple[Any, ...]] = {("goal", story.goal), ("links", max(depth.values()))}
    return found | {("thing", thing.kind, thing.color) for thing in things if thing.color}


def test_composition_holds_what_the_other_splits_never_show(name: str) -> None:
    plain = [traits(name, story) for split in SPLITS[:3] for story in stories(name, split, 2 * COUNT)]
    known = set[tuple[Any, ...]]().union(*plain)
    new = [traits(name, story) - known for story in stories(name, "composition")]
    assert all(new), f"{sum(not one for one in new)} of {len(new)} stories of composition are nothing new"
    seen_once = Counter(trait for one in plain for trait in one)
    for split in ("validation", "test"):
        for story in stories(name, split):
            assert all(seen_once[trait] >= 1 for trait in traits(name, story))


def test_the_words_of_the_plain_splits_are_those_of_train(name: str) -> None:
    def words(split: Any, count: int) -> set[str]:
        texts = [text for story in stories(name, split, count) for event in whole(story) for text in event.wordings]
        for questions in asked(name, split, count):
            texts += [text for question in questions for text in (question.text.rstrip("?"), *question.options)]
        return {word for text in texts for word in text.split()}

    train = words("train", 4 * COUNT)
    assert words("validation", COUNT) <= train
    assert len(train) <= 300
