"""The world *mechanisms*: devices on a dark panel that set one another off."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from vidcausal.worlds.canvas import RGB
from vidcausal.worlds.mechanisms import look, narrator
from vidcausal.worlds.mechanisms.model import Device, via
from vidcausal.worlds.mechanisms.plot import Plot, invent
from vidcausal.worlds.mechanisms.questions import ask
from vidcausal.worlds.scm import TICK, Value, Values
from vidcausal.worlds.story import Question, Sound, Split, Story, StoryClip, StoryEvent, Thing
from vidcausal.worlds.world import World

MOST_CLIPS = 5
_REACH, _CONTACT, _RELEASE = 0.4, 0.5, 0.6
_SOUNDS = {
    "press": "click",
    "pull": "creak",
    "light": "buzz",
    "open": "creak",
    "topple": "tick",
    "fill": "pour",
    "start": "whoosh",
    "ring": "chime",
    "tip": "thud",
}


class Mechanisms(World):
    """Buttons, levers, lamps, doors, rows of dominoes, tanks, fans and bells, wired in chains and through gates.

    ``Story.params`` holds ``devices``, ``structure``, ``values`` (of all variables), ``under_way`` (the event that the
    end of the video cuts off, or None), and what the painter needs.
    """

    name = "mechanisms"
    summary = "devices on a panel set one another off: delays, AND and OR gates, pre-emption, overdetermination"
    sprites = look.SPRITES

    def tell(self, seed: int, split: Split = "train") -> Story:
        plot = invent(self.random(seed, split), split)
        return self._told(plot, seed, split, plot.model.run(plot.noise), {})

    def counterfactual(self, story: Story, do: Values) -> Story:
        """The story as it would have been had the variables in ``do`` been as given, to be rendered like any other.

        Raises:
            KeyError: ``do`` names a variable that the story's model does not have.
        """
        params = story.params
        plot = Plot(
            params["structure"], params["devices"], story.model, dict(story.noise), round(story.duration / TICK)
        )
        return self._told(plot, story.seed, story.split, story.model.run(story.noise, do), do)

    def questions(self, story: Story) -> tuple[Question, ...]:
        return ask(story, self.random(story.seed, story.split, "questions"))

    def stage(self, story: Story) -> tuple[RGB, Sequence[Thing]]:
        return look.BACKGROUND, story.params["static"]

    def scene(self, story: Story, time: float) -> Sequence[Thing]:
        things, hands = [], []
        for start, end, before, after, by_hand, place in story.params["actors"]:
            if time <= start:
                things.append(before)
            elif time >= end:
                things.append(after)
            else:
                share = (time - start) / (end - start)
                state = share
                if by_hand:
                    state = min(max((share - _REACH) / (_RELEASE - _REACH), 0.0), 1.0)
                    reach = share / _REACH if share < _REACH else (1 - share) / (1 - _RELEASE)
                    hands.append(look.hand_thing(place, min(reach, 1.0)))
                things.append(Thing(before.kind, before.color, before.x, before.y, before.width, before.height, state))
        return things + hands

    def sounds(self, story: Story) -> Sequence[Sound]:
        found = []
        for number, (start, end, _, _, by_hand, _) in enumerate(story.params["actors"]):
            verb = story.params["acts"][number].split(" ")[0]
            kind, long = _SOUNDS[verb], end - start
            pitch = 0.2 + 0.1 * number
            if by_hand:
                found.append(Sound(start + _CONTACT * long, kind, pitch, 0.3))
            elif kind in ("tick", "chime"):
                found += [Sound(start + long * (part + 0.5) / 4, kind, pitch, 0.2) for part in range(4)]
            elif kind == "thud":
                found.append(Sound(start + 0.8 * long, kind, pitch, 0.3))
            else:
                found.append(Sound(start, kind, pitch, long))
        shown = [sound for sound in found if sound.time < story.duration]
        return sorted(shown, key=lambda sound: sound.time)

    def _told(self, plot: Plot, seed: int, split: Split, values: dict[str, Value], do: Values) -> Story:
        rng = self.random(seed, split, "telling")
        devices = plot.devices
        acting = sorted((d for d in devices if values[d.event] is not None), key=lambda d: int(values[d.event]))
        told = [_event(rng, d, _triggers(devices, d, values, do), values) for d in acting]
        seen = tuple(event for event in told if event.end <= plot.ticks * TICK)
        clips, orders = _clips(seen)
        begun = [e.id for e in told if e.start < plot.ticks * TICK < e.end]
        return Story(
            self.name,
            seed,
            split,
            plot.ticks * TICK,
            seen,
            plot.model,
            plot.noise,
            narrator.GOAL if clips else "",
            clips,
            orders,
            tuple(event for event in told if event.end > plot.ticks * TICK),
            _params(plot, acting, values, begun[0] if begun else None),
        )


def _params(plot: Plot, acting: Sequence[Device], values: Values, under_way: str | None) -> Mapping[str, Any]:
    moves = [device for device in acting if values[device.event] < plot.ticks]
    actors = tuple(
        (
            values[device.event] * TICK,
            values[device.done] * TICK,
            look.device_thing(device, 0.0),
            look.device_thing(device, 1.0),
            device.by_hand,
            device.place,
        )
        for device in moves
    )
    return {
        "structure": plot.structure,
        "devices": plot.devices,
        "values": values,
        "under_way": under_way,
        "acts": tuple(device.event for device in moves),
        "actors": actors,
        "static": look.static_things(plot.devices, [device for device in plot.devices if device not in moves]),
    }


def _triggers(devices: Sequence[Device], device: Device, values: Values, do: Values) -> list[Device]:
    """The devices that set this one off."""
    if device.event in do:
        return []
    triggers = [devices[i] for i in device.triggers]
    if device.gate == "any":
        ways = [values[via(device, trigger)] for trigger in triggers]
        earliest = min((way for way in ways if way is not None), default=None)
        return [trigger for trigger, way in zip(triggers, ways, strict=True) if way is not None and way == earliest]
    return triggers


def _event(rng: random.Random, device: Device, causes: Sequence[Device], values: Values) -> StoryEvent:
    verb = narrator.verb(device)
    base = narrator.SALIENCY[verb] + (1 if causes and rng.random() < 0.5 else 0)
    rated = tuple(min(4, max(0, base + int(rng.random() * 4) // 3 - int(rng.random() * 4) // 3)) for _ in range(3))
    return StoryEvent(
        device.event,
        verb,
        values[device.event] * TICK,
        values[device.done] * TICK,
        narrator.wordings(device, causes),
        rated,  # type: ignore[arg-type]
        tuple(cause.event for cause in causes),
    )


def _clips(events: Sequence[StoryEvent]) -> tuple[tuple[StoryClip, ...], tuple[tuple[int, ...], ...]]:
    """One clip a link of the longest chain among the events, and the orders that its captions allow."""
    by_id = {event.id: event for event in events}
    chains: dict[str, list[StoryEvent]] = {}
    for event in events:
        before = [chains[cause] for cause in event.causes if cause in chains]
        chains[event.id] = [*max(before, key=len, default=[]), event]
    longest = max(chains.values(), key=len, default=[])[:MOST_CLIPS]
    if len(longest) < 3:
        return (), ()
    steps = list(longest)
    for event in longest:
        for cause in event.causes:
            other = by_id.get(cause)
            if other is not None and other not in steps and len(steps) < MOST_CLIPS and not other.causes:
                steps.append(other)
    steps.sort(key=lambda event: event.start)
    if any(later.start < earlier.end for earlier, later in zip(steps, steps[1:], strict=False)):
        steps = longest
    clips = tuple(StoryClip(event.start, event.end, event.caption) for event in steps)
    return clips, _orders(steps)


def _orders(steps: Sequence[StoryEvent]) -> tuple[tuple[int, ...], ...]:
    """Every order of the steps in which causes stand before their effects."""
    number = {event.id: i for i, event in enumerate(steps)}
    needs = [(number[cause], i) for i, event in enumerate(steps) for cause in event.causes if cause in number]
    if all((i - 1, i) in needs for i in range(1, len(steps))):
        return (tuple(range(len(steps))),)
    return tuple(
        order
        for order in itertools.permutations(range(len(steps)))
        if all(order.index(cause) < order.index(effect) for cause, effect in needs)
    )
