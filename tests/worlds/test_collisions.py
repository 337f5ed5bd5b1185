"""Stories, pictures and questions of the world of shelves."""

from __future__ import annotations

import collections
import math
import re
from typing import Any

import numpy as np
import pytest

from vidcausal.worlds import create_world
from vidcausal.worlds.collisions import HELD_OUT, HELD_OUT_CHAIN, LONGEST_CHAIN, Collisions
from vidcausal.worlds.collisions.model import SIZE
from vidcausal.worlds.collisions.story import FLOORS, GOAL
from vidcausal.worlds.scm import TICK
from vidcausal.worlds.story import COLORS, QUESTION_TYPES, SPLITS, Question, Story

WORLD = Collisions()
STORIES = [WORLD.tell(seed) for seed in range(600)]
ASKED = [WORLD.questions(story) for story in STORIES]


def rows_of(story: Story, event: Any) -> tuple[int, ...]:
    step = story.params["plan"].machine.steps[event.id]
    return (step.row, step.row + 1) if step.kind == "fall" else (step.row,)


def test_the_same_seed_tells_paints_and_asks_the_same() -> None:
    again = create_world("collisions")
    for seed in range(20):
        one, two = WORLD.tell(seed, "test"), again.tell(seed, "test")
        assert (one.events, one.clips, one.unseen, one.noise) == (two.events, two.clips, two.unseen, two.noise)
        assert WORLD.questions(one) == again.questions(two)
        assert WORLD.sounds(one) == again.sounds(two)
        np.testing.assert_array_equal(WORLD.render(one, [2.0, 5.5]), again.render(two, [2.0, 5.5]))
    assert WORLD.tell(0, "train").noise != WORLD.tell(0, "validation").noise


@pytest.mark.parametrize("split", SPLITS)
def test_stories_keep_to_the_agreed_sizes(split: Any) -> None:
    for seed in range(150):
        story = WORLD.tell(seed, split)
        assert 10 <= story.duration <= 16
        assert math.isclose(story.duration % 0.25, 0)
        assert 3 <= len(story.events) <= 7
        told = sorted([*story.events, *story.unseen], key=lambda event: event.start)
        assert all(b.start - a.start >= 0.5 for a, b in zip(told, told[1:], strict=False))
        assert all(1.0 <= event.end - event.start <= 2.5 for event in told)
        assert all(event.end <= story.duration for event in story.events)
        assert all(event.end > story.duration for event in story.unseen)
        assert all(0 <= value <= 4 for event in told for value in event.saliency)
        assert len({event.caption for event in told}) == len(told)
        assert all(len(set(event.wordings)) >= 3 and 3 <= len(event.caption.split()) <= 7 for event in told)
        starts = {event.id: event.start for event in told}
        assert all(starts[cause] < event.start for event in told for cause in event.causes)
        assert len(story.params["paths"]) == len({path.color for path in story.params["paths"]}) <= 6


def test_pixels_change_exactly_while_an_event_is_under_way() -> None:
    for story in [*STORIES[:40], *(WORLD.tell(seed, "composition") for seed in range(20))]:
        told = (*story.events, *story.unseen)
        ticks = round(story.duration / TICK)
        frames = WORLD.render(story, [tick * TICK for tick in range(ticks + 1)], 64)
        changed = (frames[1:] != frames[:-1]).any((2, 3))
        for row, floor in enumerate(FLOORS):
            band = changed[:, math.ceil((floor - 0.26) * 64) : math.floor(floor * 64)].any(1)
            for tick in range(ticks):
                here = [e for e in told if row in rows_of(story, e) and e.start <= tick * TICK < e.end]
                assert here or not band[tick], (story.seed, row, tick)
                assert band[tick] or not any(len(rows_of(story, event)) == 1 for event in here), (story.seed, row, tick)
        for event in told:
            inside = changed[round(event.start / TICK) : round(event.end / TICK)]
            assert inside.any(1).all(), (story.seed, event)


def test_toys_never_run_through_one_another() -> None:
    for story in STORIES[:100]:
        for time in np.arange(0, story.duration, 0.2):
            things = [thing for thing in WORLD.scene(story, float(time)) if thing.kind != "spark"]
            for index, one in enumerate(things):
                for two in things[:index]:
                    apart = max(abs(one.x - two.x), abs(one.y - two.y))
                    assert apart > SIZE - 1e-6, (story.seed, time, one, two)


def test_a_toy_can_be_told_by_its_color_at_64_pixels() -> None:
    story = STORIES[1]
    standing = [path for path in story.params["paths"] if not path.hidden]
    frame = WORLD.render(story, [0.0], 64)[0]
    for path in standing:
        assert (frame == np.array(COLORS[path.color])).all(-1).sum() > 25


def test_a_quarter_of_the_stories_stops_while_something_is_under_way() -> None:
    under_way = [sum(event.start < story.duration for event in story.unseen) for story in STORIES]
    assert max(under_way) == 1
    assert 0.18 < sum(under_way) / len(STORIES) < 0.32


def test_clips_show_the_links_of_the_chain_in_order() -> None:
    assert sum(bool(story.clips) for story in STORIES) > 0.9 * len(STORIES)
    for story in STORIES:
        if not story.clips:
            assert story.valid_orders == ()
            assert story.goal == ""
            continue
        assert story.goal == GOAL
        assert story.valid_orders == (tuple(range(len(story.clips))),)
        assert 3 <= len(story.clips) <= 5
        by_caption = {event.caption: event for event in story.events}
        chain = [by_caption[clip.caption] for clip in story.clips]
        assert all(a.id in b.causes for a, b in zip(chain, chain[1:], strict=False))
        assert all(a.end <= b.start for a, b in zip(story.clips, story.clips[1:], strict=False))
        for clip, event in zip(story.clips, chain, strict=True):
            assert clip.start <= event.start
            assert event.end <= clip.end <= story.duration
            assert 1.5 <= clip.end - clip.start <= 3.0


@pytest.mark.parametrize("split", SPLITS)
def test_only_the_split_composition_shows_held_out_pairs_and_chains(split: Any) -> None:
    stories = [WORLD.tell(seed, split) for seed in range(200)]
    pairs = {(path.color, path.shape) for story in stories for path in story.params["paths"]}
    words = {option for story in stories for q in WORLD.questions(story) for option in q.options}
    named = {pair for pair in HELD_OUT if any(" ".join(pair) in option for option in words)}
    longest = max(len(story.params["plan"].chain) for story in stories)
    if split == "composition":
        assert pairs >= HELD_OUT
        assert longest == HELD_OUT_CHAIN
    else:
        assert not pairs & HELD_OUT
        assert not named
        assert longest == LONGEST_CHAIN


def test_every_hit_can_be_heard() -> None:
    for story in STORIES[:50]:
        clicks = [sound.time for sound in WORLD.sounds(story) if sound.kind == "click"]
        for event in story.events:
            if event.kind == "hit":
                assert any(event.start < time <= event.end for time in clicks)
        assert clicks == sorted(clicks)


def questions(type: str) -> list[tuple[Story, Question]]:
    return [
        (story, found) for story, asked in zip(STORIES, ASKED, strict=True) for found in asked if found.type == type
    ]


def toys_in(text: str) -> list[str]:
    return re.findall(rf"(?:{'|'.join(COLORS)}) (?:ball|box|cone|can|ring)", text)


def test_every_story_has_questions_of_at_least_four_types_and_each_type_is_frequent() -> None:
    assert all(len(asked) == len({found.type for found in asked}) >= 4 for asked in ASKED)
    for type in QUESTION_TYPES:
        assert len(questions(type)) >= 0.08 * len(STORIES), type


def test_options_are_one_phrase_with_five_values_none_of_which_the_question_names() -> None:
    for asked in ASKED:
        for found in asked:
            assert len(set(found.options)) == 5
            assert 0 <= found.answer < 5
            assert found.text.endswith("?")
            assert found.text == found.text.lower()
            assert not set(toys_in(found.text)) & {toy for option in found.options for toy in toys_in(option)}
            if found.type not in ("DC", "DL", "DO"):
                phrases = {re.sub("|".join(toys_in(option)), "X", option) for option in found.options}
                assert len(phrases) == 1, found


def test_the_right_option_stands_equally_often_in_each_place() -> None:
    places = collections.Counter(found.answer for asked in ASKED for found in asked)
    total = sum(places.values())
    assert all(abs(count / total - 0.2) < 0.03 for count in places.values())


@pytest.mark.parametrize("type", QUESTION_TYPES)
def test_the_words_of_the_options_do_not_tell_the_right_one(type: str) -> None:
    # Which words were right more often than chance is learned on one half and tried on the other.
    learned: collections.Counter[str] = collections.Counter()
    seen: collections.Counter[str] = collections.Counter()
    asked = questions(type)
    half = len(asked) // 2
    for _, found in asked[:half]:
        for index, option in enumerate(found.options):
            seen.update(option.split())
            learned.update(option.split() if index == found.answer else ())
    right = 0
    for _, found in asked[half:]:
        scores = [
            sum(math.log((learned[word] + 4) / (seen[word] + 20)) for word in option.split())
            for option in found.options
        ]
        right += scores.index(max(scores)) == found.answer
    count = len(asked) - half
    assert right / count < 0.2 + 4 * math.sqrt(0.16 / count)


def test_counts_are_even_and_true() -> None:
    answers: collections.Counter[str] = collections.Counter()
    for story, found in questions("DC"):
        number = found.options[found.answer]
        answers[number] += 1
        things = WORLD.scene(story, 0.0)
        assert ("one", "two", "three", "four", "five").index(number) == len(things) - 1
    assert len(answers) == 5
    assert all(abs(count / len(STORIES) - 0.2) < 0.06 for count in answers.values())


def test_places_are_true() -> None:
    for story, found in questions("DL"):
        (toy,) = toys_in(found.text)
        path = next(path for path in story.params["paths"] if f"{path.color} {path.shape}" == toy)
        row = min(range(3), key=lambda row: abs(FLOORS[row] - SIZE / 2 - path.y))
        assert (
            found.options[found.answer] == f"{('top', 'middle', 'bottom')[row]} {'left' if path.x < 0.5 else 'right'}"
        )


def test_why_names_who_did_it() -> None:
    for story, found in questions("CW"):
        (toy,), (who,) = toys_in(found.text), toys_in(found.options[found.answer])
        captions = {event.caption for event in story.events}
        assert f"{who} hits {toy}" in captions or f"{toy} stops behind {who}" in captions
        for option in (option for index, option in enumerate(found.options) if index != found.answer):
            other = toys_in(option)[0]
            assert f"{other} hits {toy}" not in captions
            assert f"{toy} stops behind {other}" not in captions


@pytest.mark.parametrize(("type", "step"), [("TN", 1), ("TP", -1)])
def test_next_and_previous_are_neighbors(type: str, step: int) -> None:
    for story, found in questions(type):
        spans = [(event.start, event.end) for event in story.events]
        index = spans.index(found.spans[0])
        asked, told = story.events[index], story.events[index - step]
        assert toys_in(found.options[found.answer])[0] in toys_in(asked.caption)
        assert toys_in(found.text)[0] in toys_in(told.caption)
        assert (told.end <= asked.start) if step == 1 else (asked.end <= told.start)


def test_what_happens_meanwhile_overlaps() -> None:
    for story, found in questions("TC"):
        told = [e for e in story.events if toys_in(found.text)[0] in toys_in(e.caption)]
        (start, end) = found.spans[0]
        assert any(min(e.end, end) - max(e.start, start) >= 0.75 for e in told)


def hits(events: tuple[Any, ...]) -> set[tuple[str, str]]:
    return {tuple(toys_in(event.caption)) for event in events if event.kind == "hit"}  # type: ignore[misc]


def test_counterfactual_answers_are_those_of_the_other_story() -> None:
    kinds: collections.Counter[str] = collections.Counter()
    for story, found in questions("CF"):
        names = toys_in(found.text)
        plan = story.params["plan"]
        gone = next(color for color in plan.cast.playing if plan.cast.name(color) == names[-1])
        other = WORLD.counterfactual(story, {f"enter({gone})": None})
        instead = hits(other.events)
        struck, seen = {target for _, target in instead}, {target for _, target in hits(story.events)}
        options = [toys_in(option)[0] for option in found.options]
        if "would not have been" in found.text:
            fits = [toy in seen and toy not in struck for toy in options]
        elif "would still have been" in found.text:
            fits = [toy in seen and toy in struck for toy in options]
        else:
            fits = [(toy, names[0]) in instead for toy in options]
        assert fits == [index == found.answer for index in range(5)], found
        kinds[re.sub(r"would (not |still )?have (been )?hit.*", r"\1\2", found.text[found.text.index("would") :])] += 1
    assert len(kinds) == 3
    assert min(kinds.values()) > 20


def test_predictions_come_true_first() -> None:
    for story, found in questions("PR"):
        comes = min(story.unseen, key=lambda event: event.end)
        assert comes.start < story.duration < comes.end
        assert toys_in(found.options[found.answer])[0] == toys_in(comes.caption)[-1 if comes.kind == "hit" else 0]
