"""The causal model of the shelves against a second implementation that moves toys through time."""

from __future__ import annotations

import heapq
import itertools
import random
from typing import Any

import numpy as np
import pytest

from vidcausal.errors import UnknownNameError
from vidcausal.worlds.collisions import Collisions
from vidcausal.worlds.collisions.model import (
    AT_WALL,
    ENTER_TICKS,
    FALL_TICKS,
    GONE,
    HOP_TICKS,
    LANDING,
    PACES,
    SIZE,
    START,
    Lane,
    with_do,
)
from vidcausal.worlds.scm import TICK, happened
from vidcausal.worlds.story import COLORS, Story

WORLD = Collisions()


def run_ticks(distance: float, pace: str) -> int:
    return min(max(round(distance / PACES[pace][0]), 4), 8)


def simulate(lanes: tuple[Lane, ...], entries: dict[str, int | None], paces: dict[str, str]) -> dict[str, int]:
    """Toys moved through time by a queue of what happens next; the time of everything that happens."""
    times: dict[str, int] = {}
    fresh = {toy: u for lane in lanes for toy, u in zip(lane.resting, lane.slots, strict=True)}
    spent: dict[str, float] = {}
    won: dict[str, int] = {}
    queue: list[tuple[int, int, str, str, int, float]] = []
    order = {toy: index for lane in lanes for index, toy in enumerate(lane.runners)}

    def push(tick: int, what: str, toy: str, row: int, u: float) -> None:
        heapq.heappush(queue, (tick, order.get(toy, 9), what, toy, row, u))

    for lane in lanes:
        for toy in lane.entering:
            if entries[toy] is not None:
                times[f"enter({toy})"] = entries[toy]
                push(entries[toy] + ENTER_TICKS, "ready", toy, lane.row, START)
    while queue:
        tick, _, what, toy, row, u = heapq.heappop(queue)
        lane, pace = lanes[row], paces[toy]
        if what == "ready":
            push(tick + PACES[pace][1], "run", toy, row, u)
        elif what == "run":
            ahead = [(v, other) for other in lane.resting if (v := fresh.get(other)) is not None and v > u]
            in_way = [(v, other) for other, v in spent.items() if v > u and other in lane.runners]
            if in_way and order.get(toy) is not None and lane.resting:
                v, other = min(in_way)
                times[f"stop({toy}, {other})"] = tick + run_ticks(v - SIZE - u, pace)
            elif ahead:
                push(tick + run_ticks(min(ahead)[0] - SIZE - u, pace), f"meet {tick}", toy, row, u)
            else:
                far = {"exit": GONE, "wall": AT_WALL, "fall": LANDING}[lane.end]
                end = tick + run_ticks(far - u, pace)
                if lane.end == "fall":
                    times[f"fall({toy}, {row + 1})"] = end + FALL_TICKS
                    push(end + FALL_TICKS, "ready", toy, row + 1, START)
                else:
                    times[f"exit({toy})" if lane.end == "exit" else f"stop({toy}, wall)"] = end
        else:
            begun = int(what.split()[1])
            target = next(other for other in lane.resting if lane.slots[lane.resting.index(other)] > u + SIZE / 2)
            goal = lane.slots[lane.resting.index(target)] - SIZE
            if target in fresh:
                times[f"hit({toy}, {target})"] = won[target] = tick
                spent[toy] = goal
                del fresh[target]
                push(tick + HOP_TICKS, "ready", target, row, goal + SIZE)
            else:
                other = next(name for name in lane.runners if name != toy)
                times[f"stop({toy}, {other})"] = max(begun + run_ticks(goal - SIZE - u, pace), won[target])
    return times


def pieces(story: Story) -> tuple[tuple[Lane, ...], dict[str, int | None], dict[str, str]]:
    lanes = story.params["plan"].lanes
    entries = {toy: story.noise[f"enter({toy})"] for lane in lanes for toy in lane.entering}
    toys = [toy for lane in lanes for toy in (*lane.entering, *lane.resting)]
    return lanes, entries, {toy: story.noise[f"pace({toy})"] for toy in toys}


def happening(story: Story, values: dict[str, Any]) -> dict[str, int]:
    return {name: values[name] for name in story.params["plan"].machine.steps if values[name] is not None}


@pytest.mark.parametrize("split", ["train", "composition"])
def test_the_model_does_what_a_simulation_through_time_does_under_every_set_of_missing_toys(split: Any) -> None:
    for seed in range(150):
        story = WORLD.tell(seed, split)
        lanes, entries, paces = pieces(story)
        for size in range(len(entries) + 1):
            for gone in itertools.combinations(entries, size):
                do = {f"enter({toy})": None for toy in gone}
                there = {toy: None if toy in gone else tick for toy, tick in entries.items()}
                values = story.model.run(story.noise, do)
                assert happening(story, values) == simulate(lanes, there, paces), (seed, gone)


def test_the_model_does_what_the_simulation_does_whoever_comes_first() -> None:
    rng = random.Random(0)
    backups = 0
    for seed in range(300):
        story = WORLD.tell(seed)
        lanes, entries, paces = pieces(story)
        entries = {toy: rng.randint(1, 48) for toy in entries}
        paces = {toy: rng.choice(tuple(PACES)) for toy in paces}
        noise = {f"enter({toy})": tick for toy, tick in entries.items()}
        noise = {**story.noise, **noise, **{f"pace({toy})": pace for toy, pace in paces.items()}}
        values = story.model.run(noise)
        assert happening(story, values) == simulate(lanes, entries, paces), seed
        backups += any(
            values[f"hit({lane.runners[1]}, {lane.resting[0]})"] is not None for lane in lanes if len(lane.runners) > 1
        )
    assert backups > 10  # the second runner of a shelf does win at times


def test_abduction_from_all_values_gives_the_same_counterfactual_as_the_true_noise() -> None:
    for seed in range(30):
        story = WORLD.tell(seed)
        entry = next(event.id for event in story.events if event.kind == "enter")
        outcomes = story.model.counterfactual(story.params["values"], {entry: None})
        assert outcomes == [(story.model.run(story.noise, {entry: None}), pytest.approx(1.0))]


def preempted(seeds: range) -> list[tuple[Story, str, str, str]]:
    """Stories in which a second runner would have hit what the first one hit."""
    found = []
    for seed in seeds:
        story = WORLD.tell(seed)
        for lane in story.params["plan"].lanes:
            if len(lane.runners) > 1 and set(lane.runners) == set(lane.entering):
                found.append((story, lane.runners[0], lane.runners[1], lane.resting[0]))
    return found


def test_a_backup_hits_the_target_where_the_first_runner_stays_away() -> None:
    cases = preempted(range(200))
    assert len(cases) > 20
    for story, first, second, target in cases:
        values = story.params["values"]
        instead = WORLD.without(story, **{f"enter({first})": None})
        assert happened(values[f"hit({first}, {target})"])
        assert not happened(values[f"hit({second}, {target})"])
        assert happened(instead[f"hit({second}, {target})"])
        assert not happened(instead[f"stop({second}, {first})"])
        assert instead[f"hit({second}, {target})"] > values[f"hit({first}, {target})"]


def test_the_first_runner_is_the_actual_cause_although_the_target_would_have_been_hit_anyway() -> None:
    for story, first, second, target in preempted(range(60)):
        causes = WORLD.causes(story, f"hit({first}, {target})")
        assert (f"enter({first})",) in causes
        assert not any(f"enter({second})" in cause for cause in causes)


def test_a_counterfactual_story_shows_other_values_and_never_the_toy_that_stayed_away() -> None:
    for seed in range(12):
        story = WORLD.tell(seed)
        entry = next(event for event in story.events if event.kind == "enter")
        toy = story.params["plan"].machine.steps[entry.id].mover
        other = WORLD.counterfactual(story, {entry.id: None})
        assert other.model.run(other.noise) == other.params["values"] == story.model.run(story.noise, {entry.id: None})
        assert other.duration >= story.duration
        assert not any(event.end > other.duration for event in other.events)
        times = np.arange(0, story.duration, TICK)
        seen, instead = WORLD.render(story, times.tolist(), 64), WORLD.render(other, times.tolist(), 64)
        before = int((times <= entry.start).sum())
        np.testing.assert_array_equal(seen[:before], instead[:before])
        assert (seen[before:] != instead[before:]).any()
        assert not (instead == np.array(COLORS[toy])).all(-1).any()


def test_without_any_intervention_the_counterfactual_story_is_the_story() -> None:
    story = WORLD.tell(5)
    other = WORLD.counterfactual(story, {})
    assert [event.id for event in other.events] == [event.id for event in (*story.events, *story.unseen)]
    np.testing.assert_array_equal(WORLD.render(story, [4.0, 7.5]), WORLD.render(other, [4.0, 7.5]))


def test_an_unknown_variable_is_refused_by_name() -> None:
    story = WORLD.tell(0)
    with pytest.raises(UnknownNameError, match="Unknown variable 'enter\\(nobody\\)'"):
        WORLD.counterfactual(story, {"enter(nobody)": None})


def test_a_model_with_constants_runs_as_under_the_intervention() -> None:
    story = WORLD.tell(3)
    entry = story.events[0].id
    fixed = with_do(story.model, {entry: 7})
    assert fixed.run(story.noise) == story.model.run(story.noise, {entry: 7})
    assert not [edge for edge in fixed.edges() if edge[1] == entry]
