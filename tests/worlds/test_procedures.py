"""The world procedures: stories, orders, counterfactuals, pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vidcausal.worlds import create_world
from vidcausal.worlds.procedures import GOALS, HELD_OUT_GOALS, HELD_OUT_PAIRS, STEPS, Procedures
from vidcausal.worlds.procedures.devices import DEVICES
from vidcausal.worlds.procedures.goals import needs, valid_orders
from vidcausal.worlds.procedures.look import UPRIGHT
from vidcausal.worlds.procedures.model import Plan, variable_of
from vidcausal.worlds.procedures.outlines import OUTLINES
from vidcausal.worlds.scm import TICK
from vidcausal.worlds.story import SPLITS, Split, Story, Thing

SOUND_KINDS = {"click", "thud", "chime", "pour", "creak", "whoosh", "tick", "buzz"}


@pytest.fixture(scope="module")
def world() -> Procedures:
    found = create_world("procedures")
    assert isinstance(found, Procedures)
    return found


@pytest.fixture(scope="module")
def stories(world: Procedures) -> list[Story]:
    return [world.tell(seed, split) for split in SPLITS for seed in range(150)]


def plan_of(story: Story) -> Plan:
    plan = story.params["plan"]
    assert isinstance(plan, Plan)
    return plan


def find(world: Procedures, *, twice: bool, split: Split = "train") -> Story:
    """A story in which a button is pressed twice, or none is."""
    told = (world.tell(seed, split) for seed in range(500))
    return next(s for s in told if any(e.id.endswith("_again") for e in s.events) == twice and not s.unseen)


def test_goals_have_three_to_seven_steps_and_held_out_ones_recombine_known_steps() -> None:
    known = {step for goal in GOALS for step in goal.steps}
    assert len(GOALS) >= 14
    assert len(HELD_OUT_GOALS) >= 3
    assert all(len(goal.steps) - len(goal.optional) >= 3 for goal in GOALS)
    longest = max(len(goal.steps) for goal in GOALS)
    assert max(len(goal.steps) for goal in HELD_OUT_GOALS) == longest + 1 == 7
    assert not {goal.name for goal in GOALS} & {goal.name for goal in HELD_OUT_GOALS}
    assert {step for goal in HELD_OUT_GOALS for step in goal.steps} - known == {"hang"}
    assert set(STEPS) == known | {"hang"}


@pytest.mark.parametrize("goal", [*GOALS, *HELD_OUT_GOALS], ids=lambda goal: goal.name)
def test_valid_orders_are_the_permutations_that_keep_every_precondition(goal) -> None:  # type: ignore[no-untyped-def]
    steps = tuple(step for step in goal.steps if step not in goal.optional)
    kept = {
        order
        for order in itertools.permutations(steps)
        if all(needs(goal, step) & set(steps) <= set(order[:at]) for at, step in enumerate(order))
    }
    assert set(valid_orders(goal, steps)) == kept
    assert len(valid_orders(goal, steps)) == len(kept)


def test_two_or_three_goals_are_ambiguous() -> None:
    ambiguous = {goal.name for goal in GOALS if len(valid_orders(goal, goal.steps)) > 1}
    assert ambiguous == {"make tea", "bake cake", "build sandwich"}


def test_the_same_seed_tells_and_shows_the_same(world: Procedures) -> None:
    first, second = world.tell(7, "test"), Procedures().tell(7, "test")
    assert first.events == second.events
    assert first.clips == second.clips
    assert world.questions(first) == Procedures().questions(second)
    times = [1.0, 4.0, 8.0]
    assert np.array_equal(world.render(first, times), Procedures().render(second, times))
    assert world.tell(7, "validation").events != first.events


def test_only_composition_shows_held_out_goals_and_pairs(stories: list[Story]) -> None:
    held = {goal.name for goal in HELD_OUT_GOALS}
    for story in stories:
        pairs = [HELD_OUT_PAIRS[station.device] == station.color for station in plan_of(story).stations]
        assert (story.goal in held) == any(pairs) == (story.split == "composition")
    assert {story.goal for story in stories if story.split == "train"} == {goal.name for goal in GOALS}


def test_times_captions_and_clips_keep_the_agreement(stories: list[Story]) -> None:
    for story in stories:
        assert 10 <= story.duration <= 16
        assert all(0 <= event.start < event.end <= story.duration for event in story.events)
        assert all(1 <= event.end - event.start <= 2.5 for event in story.events)
        starts = sorted(event.start for event in story.events)
        assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(starts))
        captions = [event.caption for event in story.events]
        assert len(set(captions)) == len(captions)
        for event in story.events:
            assert len(set(event.wordings)) >= 3
            assert 3 <= len(event.caption.split()) <= 7
            assert not {"the", "a", "an"} & set(event.caption.split())
            assert all(0 <= value <= 4 for value in event.saliency)
        assert 3 <= len(story.clips) <= 7
        assert all(earlier.end <= later.start for earlier, later in itertools.pairwise(story.clips))
        assert all(1.5 <= clip.end - clip.start <= 3 for clip in story.clips)


def test_the_order_performed_is_one_of_the_valid_orders(stories: list[Story]) -> None:
    several = 0
    for story in stories:
        assert tuple(range(len(story.clips))) in story.valid_orders
        several += len(story.valid_orders) > 1
        shown = [clip.caption for clip in story.clips]
        assert shown == [event.caption for event in story.events if event.kind == "step"]
    assert several > 20


def test_a_quarter_of_the_videos_end_before_a_device_starts(stories: list[Story]) -> None:
    early = [story for story in stories if story.unseen]
    assert 0.15 < len(early) / len(stories) < 0.35
    for story in early:
        device = next(event for event in story.unseen if event.kind == "device")
        press = max(story.events, key=lambda event: event.end)
        assert device.causes == (press.id,)
        assert story.duration <= device.start <= press.end + 2 * TICK


def test_without_a_step_those_that_need_it_do_not_happen_and_the_others_do(world: Procedures) -> None:
    for seed in range(60):
        story = world.tell(seed, "composition" if seed % 2 else "train")
        plan, actual = plan_of(story), story.params["values"]
        for step in plan.steps:
            values = world.without(story, **{variable_of(step): None})
            lost = {other for other in plan.steps if values[variable_of(other)] is None}
            assert lost == {step} | {other for other in plan.steps if step in needs(plan.goal, other)}
            assert all(values[name] == actual[name] for name in values if name not in map(variable_of, lost))


def test_abduction_and_prediction_give_what_running_the_model_again_gives(world: Procedures) -> None:
    for seed in range(20):
        story = world.tell(seed)
        station = plan_of(story).stations[0]
        do = {station.button: None}
        outcomes = story.model.counterfactual(story.params["values"], do)
        assert len(outcomes) == 1
        assert outcomes[0][0] == world.without(story, **do)


def test_a_counterfactual_story_lacks_the_device_and_shows_it_in_no_frame(world: Procedures) -> None:
    story = find(world, twice=False)
    device = next(event for event in story.events if event.kind == "device")
    other = world.counterfactual(story, {device.causes[0]: None})
    assert {event.id for event in story.events} - {event.id for event in other.events} == {device.id, device.causes[0]}
    before, after = device.start - TICK, story.duration
    top = slice(0, 15)
    place = next(s.place for s in plan_of(story).stations if s.device == device.id)
    column = slice(int(64 * 0.2 * place), int(64 * 0.2 * (place + 1)))
    told, untold = (world.render(one, [before, after])[:, top, column] for one in (story, other))
    assert np.array_equal(untold[0], untold[1])
    if device.id not in ("bell", "drum"):  # these two end as they were
        assert not np.array_equal(told[0], told[1])
    with pytest.raises(KeyError, match="no variable"):
        world.counterfactual(story, {"press_nothing": None})


def test_a_second_press_is_pre_empted_by_the_first(world: Procedures) -> None:
    story = find(world, twice=True)
    again = next(event for event in story.events if event.id.endswith("_again"))
    device = next(event for event in story.events if event.kind == "device")
    first = again.id.removesuffix("_again")
    assert device.causes == (first,)
    assert world.causes(story, device.id) == [(first,)]
    late = world.counterfactual(story, {first: None})
    there = next(event for event in late.events + late.unseen if event.id == device.id)
    assert there.start > device.start
    assert there.causes == (again.id,)
    assert world.without(story, **{first: None, again.id: None})[device.id] is None


def test_the_causes_of_a_step_are_the_steps_that_it_needs(world: Procedures) -> None:
    story = next(s for s in map(world.tell, range(200)) if s.goal == "wrap gift" and not s.unseen)
    assert world.causes(story, "step_ribbon") == [("step_teddy",), ("step_lid",), ("step_wrap",)]


def test_pixels_change_within_an_events_span_and_stay_as_they_are_between_events(world: Procedures) -> None:
    for seed in range(40):
        story = world.tell(seed, "composition" if seed % 4 == 0 else "train")
        spans = [(event.start, event.end) for event in (*story.events, *story.unseen)]
        for event in story.events:
            inside = [event.start + (event.end - event.start) * share for share in (0.0, 0.3, 0.5, 0.7)]
            frames = world.render(story, inside)
            assert any(not np.array_equal(frames[0], frame) for frame in frames[1:]), event
        ticks = [k * TICK for k in range(int(story.duration / TICK) + 1)]
        frames = world.render(story, ticks)
        for at, (earlier, later) in enumerate(itertools.pairwise(ticks)):
            if not any(start < later and earlier < end for start, end in spans):
                assert np.array_equal(frames[at], frames[at + 1]), (seed, earlier)


def test_every_tool_and_every_device_looks_unlike_every_other(world: Procedures) -> None:
    tools = sorted({step.tool for step in STEPS.values()})
    pictures = []
    for tool in tools:
        thing = Thing("tool", "red", 0.5, 0.5, 0.32, 0.32, UPRIGHT, tool)
        pictures.append(world.painter.backdrop((238, 226, 200), [thing], 64).astype(int))
    for device in DEVICES:
        thing = Thing("device", "red", 0.5, 0.5, 0.32, 0.32, 0.5, device)
        pictures.append(world.painter.backdrop((238, 226, 200), [thing], 64).astype(int))
    for one, other in itertools.combinations(pictures, 2):
        assert (np.abs(one - other).sum(-1) > 60).sum() > 25


def test_every_sprite_that_a_goal_names_has_an_outline() -> None:
    named = {step.tool for step in STEPS.values()} | {part[0] for step in STEPS.values() for part in step.adds}
    named |= {part[0] for goal in (*GOALS, *HELD_OUT_GOALS) for part in goal.parts}
    named |= {name for step in STEPS.values() for name in step.drops}
    assert named == set(OUTLINES)


def test_sounds_are_known_and_within_the_video(world: Procedures, stories: list[Story]) -> None:
    for story in stories:
        sounds = world.sounds(story)
        assert len(sounds) >= len(story.events)
        assert {sound.kind for sound in sounds} <= SOUND_KINDS
        assert all(0 <= sound.time < story.duration and sound.seconds > 0 for sound in sounds)
        assert [sound.time for sound in sounds] == sorted(sound.time for sound in sounds)
