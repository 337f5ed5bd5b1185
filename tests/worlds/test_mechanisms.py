"""The world mechanisms: what is told is what the model says and what the pixels show."""

from __future__ import annotations

import itertools
import pickle
import random
import re
from collections import Counter

import numpy as np
import pytest

from vidcausal.worlds import create_world
from vidcausal.worlds.mechanisms import Mechanisms
from vidcausal.worlds.mechanisms.look import PLATE_SIDE, center
from vidcausal.worlds.mechanisms.model import HELD_OUT, LONGEST_CHAIN, Device, build_model, via
from vidcausal.worlds.scm import TICK
from vidcausal.worlds.story import COLORS, SPLITS, Story

WORLD = Mechanisms()
TRAIN = [WORLD.tell(seed) for seed in range(300)]
COMPOSITION = [WORLD.tell(seed, "composition") for seed in range(200)]
SOUNDS = {"click", "thud", "chime", "pour", "creak", "whoosh", "tick", "buzz"}


def wired(*devices: Device):
    """A model and noise in which nobody acts and everything takes six ticks."""
    model = build_model(devices)
    noise = dict.fromkeys(model.variables)
    for device in devices:
        noise[device.done] = 6
        if not device.by_hand:
            noise[device.event] = 0
    return model, noise


GATE_TRIGGERS = (Device("red", "button", 0, True), Device("pink", "lever", 1, True))


def expected(story: Story, do: dict[str, object]) -> dict[str, int | None]:
    """When each device acts, worked out device by device without the model's variables."""
    begins: dict[str, int | None] = {}
    ends: list[int | None] = []
    for device in story.params["devices"]:
        due = [ends[i] for i in device.triggers]
        if device.by_hand:
            start = story.noise[device.event]
        elif not due or (device.gate != "any" and None in due) or all(end is None for end in due):
            start = None
        else:
            came = [end for end in due if end is not None]
            start = (min(came) if device.gate == "any" else max(came)) + story.noise[device.event]
        start = do.get(device.event, start)
        begins[device.event] = start
        ends.append(None if start is None else start + story.noise[device.done])
    return begins


def test_registry_knows_the_world() -> None:
    assert isinstance(create_world("mechanisms"), Mechanisms)


@pytest.mark.parametrize("split", SPLITS)
def test_a_seed_gives_the_same_story(split) -> None:
    for seed in range(20):
        one, two = Mechanisms().tell(seed, split), WORLD.tell(seed, split)
        assert (one.events, one.clips, one.noise, one.unseen) == (two.events, two.clips, two.noise, two.unseen)
        assert Mechanisms().questions(one) == WORLD.questions(two)
        assert list(WORLD.sounds(one)) == list(WORLD.sounds(two))
    times = [0.0, 3.3, 6.1]
    assert np.array_equal(Mechanisms().render(one, times), WORLD.render(two, times))
    assert WORLD.tell(1, split).events != WORLD.tell(2, split).events


def test_stories_survive_pickling() -> None:
    again = pickle.loads(pickle.dumps(TRAIN[0]))
    assert again.events == TRAIN[0].events
    assert again.model.run(again.noise) == TRAIN[0].model.run(TRAIN[0].noise)


def test_shape_of_stories() -> None:
    for story in TRAIN + COMPOSITION:
        assert 3 <= len(story.events) <= 7
        assert 10 <= story.duration <= 16
        assert story.duration % TICK == 0
        colors = [device.color for device in story.params["devices"]]
        assert len(set(colors)) == len(colors) <= 6
        assert len({device.place for device in story.params["devices"]}) == len(colors)
        told = story.events + story.unseen
        starts = [event.start for event in told]
        assert starts == sorted(starts)
        assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(starts))
        assert all(1.0 <= event.end - event.start <= 2.5 for event in told)
        assert all(event.end <= story.duration < later.end for event in story.events for later in story.unseen)
        assert starts[0] > 0


def test_held_out_pairs_and_chains_are_in_composition_only() -> None:
    assert sorted(HELD_OUT) == sorted(COLORS)
    assert len(set(HELD_OUT.values())) == len(HELD_OUT)

    def pairs(story: Story) -> list[Device]:
        return [device for device in story.params["devices"] if HELD_OUT[device.color] == device.kind]

    def chain(story: Story) -> int:
        depth: list[int] = []
        for device in story.params["devices"]:
            depth.append(max((depth[i] + 1 for i in device.triggers), default=0))
        return max(depth)

    for split in ("train", "validation", "test"):
        stories = [WORLD.tell(seed, split) for seed in range(100)]
        assert not any(pairs(story) for story in stories)
        assert max(chain(story) for story in stories) == LONGEST_CHAIN
        for story in stories:
            said = " ".join(option for question in WORLD.questions(story) for option in question.options)
            assert not any(f"{color} {kind}" in said for color, kind in HELD_OUT.items())
    assert all(pairs(story) for story in COMPOSITION)
    assert max(chain(story) for story in COMPOSITION) == LONGEST_CHAIN + 1


def test_colors_and_places_say_nothing_about_roles() -> None:
    """The device that a hand works first has each color and each place equally often."""
    stories = [WORLD.tell(seed, "validation") for seed in range(1600)]
    for pick, values in ((lambda d: d.color, len(COLORS)), (lambda d: d.place, 6)):
        counts = Counter(pick(story.params["devices"][0]) for story in stories)
        each = len(stories) / values
        assert len(counts) == values
        assert sum((n - each) ** 2 / each for n in counts.values()) < 26  # chi-squared, 7 degrees: p = 0.0005


def test_interventions_agree_with_a_device_by_device_simulation() -> None:
    rng = random.Random(3)
    for story in TRAIN[:150] + COMPOSITION[:50]:
        events = [device.event for device in story.params["devices"]]
        for _ in range(6):
            do = {name: rng.choice((None, rng.randrange(40))) for name in rng.sample(events, rng.randrange(3))}
            values = WORLD.without(story, **do)
            assert {name: values[name] for name in events} == expected(story, do)


def test_counterfactuals_by_abduction_are_those_of_the_true_noise() -> None:
    for story in TRAIN[:25]:
        values = story.model.run(story.noise)
        for event in story.events:
            outcomes = story.model.counterfactual(values, {event.id: None})
            assert len(outcomes) == 1
            assert outcomes[0][0] == WORLD.without(story, **{event.id: None})
            assert outcomes[0][1] == pytest.approx(1.0)


@pytest.mark.parametrize(("first", "second"), [("press red", "pull pink"), ("pull pink", "press red")])
def test_the_first_trigger_pre_empts_the_second(first, second) -> None:
    model, noise = wired(*GATE_TRIGGERS, Device("blue", "lamp", 2, False, (0, 1), "any"))
    noise |= {first: 4, second: 9}
    values = model.run(noise)
    assert values["light blue"] == 10
    assert model.run(noise, {first: None})["light blue"] == 15
    assert model.run(noise, {second: None})["light blue"] == 10
    assert model.run(noise, {first: None, second: None})["light blue"] is None
    story = Story("mechanisms", 0, "train", 10.0, (), model, noise)
    shown = [type("E", (), {"id": name})() for name in (first, second, "light blue")]
    object.__setattr__(story, "events", tuple(shown))
    assert WORLD.causes(story, "light blue") == [(first,)]


def test_two_triggers_at_once_are_one_cause_together() -> None:
    lamp = Device("blue", "lamp", 2, False, (0, 1), "any")
    model, noise = wired(*GATE_TRIGGERS, lamp)
    noise |= {"press red": 4, "pull pink": 4}
    values = model.run(noise)
    assert values[via(lamp, GATE_TRIGGERS[0])] == values[via(lamp, GATE_TRIGGERS[1])] == 10
    assert model.run(noise, {"press red": None})["light blue"] == 10


def test_an_and_gate_waits_for_both() -> None:
    model, noise = wired(*GATE_TRIGGERS, Device("blue", "lamp", 2, False, (0, 1), "all"))
    noise |= {"press red": 4, "pull pink": 9}
    assert model.run(noise)["light blue"] == 15
    assert model.run(noise, {"press red": None})["light blue"] is None
    assert model.run(noise, {"pull pink": None})["light blue"] is None


def test_halpern_pearl_causes_of_gates_in_stories() -> None:
    """Direct causes as told: the trigger that came first, both together, or each of two."""
    seen: Counter[str] = Counter()
    for story in TRAIN:
        gates = [device for device in story.params["devices"] if device.gate]
        told = {event.id: event for event in story.events}
        if not gates or gates[0].event not in told or seen[story.params["structure"]] >= 4:
            continue
        event = told[gates[0].event]
        triggers = {story.params["devices"][i].event for i in gates[0].triggers}
        found = [cause for cause in WORLD.causes(story, event.id) if set(cause) <= triggers]
        seen[story.params["structure"]] += 1
        if story.params["structure"] == "overdetermination":
            assert [set(cause) for cause in found] == [triggers]
            assert set(event.causes) == triggers
        elif story.params["structure"] == "and":
            assert {cause for (cause,) in found} == triggers == set(event.causes)
        else:
            assert found == [event.causes]
            assert len(event.causes) == 1
    assert {"pre-emption", "overdetermination", "and"} <= set(seen)


def region(frames: np.ndarray, place: int) -> np.ndarray:
    """The part of frames that shows a place."""
    x, y = center(place)
    size, half = frames.shape[1], PLATE_SIDE / 2
    top, bottom, left, right = (round(v * size) for v in (y - half, y + half, x - half, x + half))
    return frames[:, top:bottom, left:right].astype(int)


@pytest.mark.parametrize("story", TRAIN[:25] + COMPOSITION[:15], ids=lambda story: f"{story.split}{story.seed}")
def test_pixels_change_inside_the_span_and_not_outside(story) -> None:
    places = {device.event: device.place for device in story.params["devices"]}
    for event in story.events + story.unseen:
        if event.start >= story.duration:
            continue
        inside = [event.start + (event.end - event.start) * part for part in (0.15, 0.3, 0.5, 0.7, 0.85)]
        before = region(WORLD.render(story, [0.0, event.start / 2, event.start]), places[event.id])
        during = region(WORLD.render(story, inside), places[event.id])
        after = region(WORLD.render(story, [event.end, event.end + 1, event.end + 3]), places[event.id])
        assert (before == before[0]).all()
        assert (after == after[0]).all()
        assert np.abs(after[0] - before[0]).max(2).astype(bool).sum() >= 12
        assert sum(bool((frame != before[0]).any() and (frame != after[0]).any()) for frame in during) >= 2
    busy = [(event.start, event.end) for event in story.events + story.unseen]
    quiet = [t / 8 for t in range(int(story.duration * 8)) if not any(a < t / 8 < b for a, b in busy)]
    for earlier, later in itertools.pairwise(quiet):
        if not any(a < later and b > earlier for a, b in busy):
            one, two = WORLD.render(story, [earlier, later])
            assert (one == two).all()


def test_a_counterfactual_story_is_told_and_drawn_from_counterfactual_values() -> None:
    checked: Counter[str] = Counter()
    for story in TRAIN[:120]:
        first = story.events[0]
        other = WORLD.counterfactual(story, {first.id: None})
        values = WORLD.without(story, **{first.id: None})
        ids = {event.id for event in other.events + other.unseen}
        assert ids == {d.event for d in story.params["devices"] if values[d.event] is not None}
        assert first.id not in ids
        for event in other.events:
            assert event.start == values[event.id] * TICK
        if not ids:
            frames = WORLD.render(other, [0.0, 5.0, other.duration])
            assert (frames == frames[0]).all()
        checked["nothing" if not ids else "something"] += 1
    assert min(checked["nothing"], checked["something"]) >= 10
    same = WORLD.counterfactual(TRAIN[0], {})
    assert (same.events, same.clips, same.duration) == (TRAIN[0].events, TRAIN[0].clips, TRAIN[0].duration)
    with pytest.raises(KeyError, match="no variable"):
        WORLD.counterfactual(TRAIN[0], {"press nothing": None})


def test_a_device_made_to_act_from_outside_has_no_cause() -> None:
    story = next(story for story in TRAIN if story.params["structure"] == "chain")
    effect = story.events[1]
    other = WORLD.counterfactual(story, {story.events[0].id: None, effect.id: 12})
    told = {event.id: event for event in other.events + other.unseen}
    assert told[effect.id].causes == ()
    assert told[effect.id].start == 12 * TICK
    assert "hand" not in told[effect.id].caption


def test_captions() -> None:
    words: set[str] = set()
    for story in TRAIN + COMPOSITION:
        told = story.events + story.unseen
        assert len({event.caption for event in told}) == len(told)
        for event in told:
            assert re.fullmatch(r"[a-z]+( [a-z]+){2,6}", event.caption)
            assert not {"the", "a"} & set(event.caption.split())
            assert len(set(event.wordings)) == len(event.wordings) >= 3
            assert all(0 <= rating <= 4 for rating in event.saliency)
            words |= {word for wording in event.wordings for word in wording.split()}
            names = [d.name for d in story.params["devices"] if d.event in event.causes]
            if len(names) == 1:
                assert event.caption.startswith(names[0])
        for question in WORLD.questions(story):
            words |= {word for text in (question.text, *question.options) for word in re.findall("[a-z]+", text)}
    assert len(words) <= 160


def test_clips_are_a_chain_with_its_valid_orders() -> None:
    with_clips = [story for story in TRAIN if story.clips]
    assert len(with_clips) >= 0.6 * len(TRAIN)
    for story in with_clips:
        assert 3 <= len(story.clips) <= 5
        assert all(1.5 <= clip.end - clip.start <= 3 and clip.end <= story.duration for clip in story.clips)
        assert all(one.end <= two.start for one, two in itertools.pairwise(story.clips))
        assert tuple(range(len(story.clips))) in story.valid_orders
        by_caption = {event.caption: event for event in story.events}
        events = [by_caption[clip.caption] for clip in story.clips]
        right = [
            order
            for order in itertools.permutations(range(len(events)))
            if all(
                order.index(a) < order.index(b)
                for a, b in itertools.permutations(range(len(events)), 2)
                if events[a].id in events[b].causes
            )
        ]
        assert sorted(story.valid_orders) == sorted(right)
    for story in TRAIN:
        assert bool(story.clips) == bool(story.valid_orders) == bool(story.goal)


def test_truncated_stories_end_while_one_device_is_under_way() -> None:
    cut = [story for story in TRAIN if story.params["under_way"]]
    assert 0.15 <= len(cut) / len(TRAIN) <= 0.35
    for story in cut:
        now, following, *_ = story.unseen
        assert now.id == story.params["under_way"]
        assert now.start < story.duration < now.end
        assert following.start >= story.duration
        assert now.id in following.causes
    assert all(not story.unseen for story in TRAIN if not story.params["under_way"])


def test_sounds_come_with_their_events() -> None:
    for story in TRAIN[:100]:
        sounds = WORLD.sounds(story)
        assert [sound.time for sound in sounds] == sorted(sound.time for sound in sounds)
        assert {sound.kind for sound in sounds} <= SOUNDS
        assert all(0 <= sound.pitch <= 1 and 0 <= sound.time < story.duration for sound in sounds)
        for event in story.events:
            assert any(event.start <= sound.time < event.end for sound in sounds)
