"""Questions about a panel.

Colors are drawn without regard to kinds, places, wiring and times. So options that differ in the color only could
change places, whatever the question says, and whoever has not seen the video can only guess. Where all five options are
devices that no hand works, they may also be called by color and kind: a kind is drawn given the color, and in the same
way for devices that are not there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vidcausal.worlds.choices import question
from vidcausal.worlds.mechanisms import narrator
from vidcausal.worlds.mechanisms.look import PLACES
from vidcausal.worlds.mechanisms.model import EFFECTS, HELD_OUT, Device, via
from vidcausal.worlds.mechanisms.plot import SPACING, kind_for
from vidcausal.worlds.scm import Values
from vidcausal.worlds.story import COLORS, Question, Story, StoryEvent

NUMBERS = ("zero", "one", "two", "three", "four")
_FORMS = ("the {} one", "the {} device")
_NAMED = "the {}"


@dataclass(frozen=True, slots=True)
class Act:
    """A device and its event."""

    device: Device
    event: StoryEvent

    @property
    def span(self) -> tuple[float, float]:
        """Seconds in which the device acts."""
        return self.event.start, self.event.end


class _Asker:
    """The acts of one story in time order, and what all kinds of questions need to find their options."""

    def __init__(self, story: Story, rng: random.Random) -> None:
        self.story, self.rng = story, rng
        self.devices: tuple[Device, ...] = story.params["devices"]
        by_id = {device.event: device for device in self.devices}
        self.acts = [Act(by_id[event.id], event) for event in story.events]
        self.by_id = {act.event.id: act for act in self.acts}
        self.coming = [Act(by_id[event.id], event) for event in story.unseen]
        self.absent = [color for color in COLORS if all(color != device.color for device in self.devices)]

    def ask(
        self,
        type: str,
        texts: Sequence[str],
        right: Device,
        *,
        stem: Sequence[Device] = (),
        also_right: Sequence[Device] = (),
        spans: Sequence[tuple[float, float]] = (),
        preface: str = "",
    ) -> Question | None:
        """A question whose options are devices: none of the ``stem``, and of those ``also_right`` only ``right``."""
        out = {device.color for device in (*stem, *also_right)} - {right.color}
        others = [device for device in self.devices if device.color not in out and device is not right]
        if not right.by_hand and self.rng.random() < 0.5:
            form = preface + _NAMED
            held_out = self.story.split == "composition"
            present = [device.name for device in others if not device.by_hand]
            absent = [f"{color} {kind_for(self.rng, color, EFFECTS, held_out)}" for color in self.absent]
            named = self._question(type, texts, form, right.name, present, absent, spans)
            if named is not None:
                return named
        form = preface + self.rng.choice(_FORMS)
        return self._question(type, texts, form, right.color, [d.color for d in others], self.absent, spans)

    def _question(
        self,
        type: str,
        texts: Sequence[str],
        form: str,
        right: str,
        present: Sequence[str],
        absent: Sequence[str],
        spans: Sequence[tuple[float, float]],
    ) -> Question | None:
        fill = form.format
        spans = [(start, min(end, self.story.duration)) for start, end in spans]
        return question(
            self.rng, type, texts, fill(right), [fill(x) for x in present], [fill(x) for x in absent], spans
        )

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        """The items in random order."""
        return self.rng.sample(list(items), len(items))

    def why(self) -> Question | None:
        """CW: what directly set a device off."""
        for act in self.shuffled([act for act in self.acts if act.event.causes]):
            causes = [self.by_id[cause] for cause in act.event.causes if cause in self.by_id]
            right = self.rng.choice(causes)
            texts = (
                f"why did {narrator.infinitive(act.device)} and which device was the direct cause?",
                f"what directly made {narrator.infinitive(act.device)}?",
                f"which device directly caused {narrator.to_infinitive(act.device)}?",
            )
            also = [cause.device for cause in causes]
            spans = [right.span, act.span]
            preface = self.rng.choice(("because of ", ""))
            return self.ask("CW", texts, right.device, stem=[act.device], also_right=also, spans=spans, preface=preface)
        return None

    def how(self) -> Question | None:
        """CH: by way of which device one device set off another."""
        paths = []
        for act in self.acts:
            for middle_id in act.event.causes:
                middle = self.by_id[middle_id]
                paths += [(self.by_id[first], middle, act) for first in middle.event.causes]
        for first, middle, last in self.shuffled(paths):
            if sum(one is first and other is last for one, _, other in paths) > 1:
                continue
            verb, passive = narrator.sets_off(last.device)
            texts = (
                f"how did the {first.device.name} {verb} the {last.device.name}?",
                f"how was the {last.device.name} {passive} by the {first.device.name}?",
                f"in which way did the {first.device.name} {verb} the {last.device.name}?",
            )
            stem = [first.device, last.device]
            preface = self.rng.choice(("by way of ", "through ", "with the help of "))
            return self.ask("CH", texts, middle.device, stem=stem, spans=[middle.span], preface=preface)
        return None

    def next(self) -> Question | None:
        """TN: which device acted right after another one was done."""
        pairs = [(a, b) for a, b in zip(self.acts, self.acts[1:], strict=False) if b.event.start >= a.event.end]
        if not pairs:
            return None
        act, right = self.rng.choice(pairs)
        clause = narrator.past(act.device)
        texts = (
            f"which device acted right after {clause}?",
            f"what was the next device to act after {clause}?",
            f"which device was the first to act after {clause}?",
        )
        return self.ask("TN", texts, right.device, stem=[act.device], spans=[act.span, right.span])

    def previous(self) -> Question | None:
        """TP: which device acted right before another one began."""
        pairs = []
        for number, act in enumerate(self.acts[1:], 1):
            before = self.acts[number - 1]
            latest = all(other.event.end <= before.event.end - 0.5 for other in self.acts[: number - 1])
            if before.event.end <= act.event.start and latest:
                pairs.append((before, act))
        if not pairs:
            return None
        right, act = self.rng.choice(pairs)
        clause = narrator.past(act.device)
        texts = (
            f"which device acted right before {clause}?",
            f"what was the last device to act before {clause}?",
            f"which device had just acted when {clause}?",
        )
        return self.ask("TP", texts, right.device, stem=[act.device], spans=[right.span, act.span])

    def together(self) -> Question | None:
        """TC: which device acted while another one did."""
        pairs = []
        for act in self.acts:
            others = [other for other in (*self.acts, *self.coming) if other is not act and _shared(act, other) > 0]
            if len(others) == 1 and others[0] in self.acts and _shared(act, others[0]) >= 0.5:
                pairs.append((act, others[0]))
        if not pairs:
            return None
        act, right = self.rng.choice(pairs)
        clause = narrator.progressive(act.device)
        texts = (
            f"which device acted while {clause}?",
            f"which other device was acting at the time when {clause}?",
            f"what else happened while {clause} and to which device?",
        )
        return self.ask("TC", texts, right.device, stem=[act.device], spans=[act.span, right.span])

    def count(self) -> Question | None:
        """DC: how many devices acted before or after one; the number is drawn first, then the device."""
        backward = self.story.params["under_way"] is not None or self.rng.random() < 0.5
        if len(self.acts) < len(NUMBERS):
            return None
        number = self.rng.randrange(len(NUMBERS))
        act = self.acts[number if backward else len(self.acts) - 1 - number]
        name = f"the {act.device.color} one"
        when = "before" if backward else "after"
        texts = (
            f"how many devices began to act {when} {name}?",
            f"how many of the devices began {when} {name}?",
            f"how many other devices began to act {when} {name}?",
        )
        return question(self.rng, "DC", texts, NUMBERS[number], NUMBERS, (), [other.span for other in self.acts])

    def where(self) -> Question | None:
        """DL: where a device stands."""
        act = self.rng.choice(self.acts)
        if self.rng.random() < 0.4:
            act = self.acts[0]
            texts: tuple[str, ...] = (
                "where is the device that acted first?",
                "where on the panel did the first thing happen?",
                "at which place did it all start?",
            )
        else:
            name = act.device.name
            texts = (f"where is the {name}?", f"where on the panel is the {name}?", f"at which place is the {name}?")
        return question(self.rng, "DL", texts, PLACES[act.device.place], (), PLACES, [act.span])

    def other(self) -> Question | None:
        """DO: what color or kind a device has."""
        by_effect = [act for act in self.acts if not act.device.by_hand]
        if self.rng.random() < 0.5 and by_effect:
            act = self.rng.choice(by_effect)
            color = act.device.color
            held_out = self.story.split == "composition"
            kinds = [kind for kind in EFFECTS if held_out or HELD_OUT[color] != kind]
            texts = (
                f"what kind of device is the {color} one?",
                f"what is the {color} device?",
                f"which kind of thing is the {color} device?",
            )
            here = [d.kind for d in self.devices if not d.by_hand and d.kind in kinds]
            options = [f"a {kind}" for kind in here], [f"a {kind}" for kind in kinds]
            return question(self.rng, "DO", texts, f"a {act.device.kind}", *options, [act.span])
        act, which = self.acts[0], "first"
        if self.story.params["under_way"] is None and self.rng.random() < 0.5:
            act, which = self.acts[-1], "last"
        texts = (
            f"what color is the device that began to act {which}?",
            f"which color has the device that was the {which} to begin?",
            f"what is the color of the {which} device to begin?",
        )
        present = [device.color for device in self.devices]
        return question(self.rng, "DO", texts, act.device.color, present, tuple(COLORS), [act.span])

    def unless(self) -> Question | None:
        """CF: what would have been without an event, by the causal model."""
        makers: list[Callable[[Act, Values], Question | None]] = [
            self._still,
            self._lost,
            self._last,
            self._last,
            self._instead,
            self._instead,
        ]
        for act in self.shuffled(self.acts):
            values = self.story.model.run(self.story.noise, {act.event.id: None})
            for make in self.rng.sample(makers, len(makers)):
                made = make(act, values)
                if made is not None:
                    return made
        return None

    def _still(self, without: Act, values: Values) -> Question | None:
        clause = narrator.unreal(without.device)
        texts = (
            f"which device would still have acted if {clause}?",
            f"which device would have acted anyway if {clause}?",
            f"what would still have happened if {clause} and to which device?",
        )
        right = [act for act in self.acts if act is not without and values[act.event.id] is not None]
        return self._one_of(texts, right, without)

    def _lost(self, without: Act, values: Values) -> Question | None:
        clause = narrator.unreal(without.device)
        texts = (
            f"which device acted but would have stayed still if {clause}?",
            f"which device that acted would have done nothing if {clause}?",
            f"which of the devices that acted would have stayed still if {clause}?",
        )
        right = [act for act in self.acts if act is not without and values[act.event.id] is None]
        return self._one_of(texts, right, without)

    def _one_of(self, texts: Sequence[str], right: Sequence[Act], without: Act) -> Question | None:
        """One of the devices that are right, among others that are wrong."""
        if not right:
            return None
        after = [act for act in right if act.event.start >= without.event.start]
        chosen = self.rng.choice(after or right)
        also = [act.device for act in (*self.coming, *right)]
        spans = [without.span, chosen.span]
        return self.ask("CF", texts, chosen.device, stem=[without.device], also_right=also, spans=spans)

    def _last(self, without: Act, values: Values) -> Question | None:
        acts = [(values[device.event], device) for device in self.devices if values[device.event] is not None]
        acts.sort(key=lambda pair: int(pair[0]))
        if self.coming or not acts or (len(acts) > 1 and acts[-1][0] - acts[-2][0] < SPACING):
            return None
        clause = narrator.unreal(without.device)
        texts = (
            f"which device would have been the last to act if {clause}?",
            f"at which device would it all have ended if {clause}?",
            f"which device would have acted last if {clause}?",
        )
        return self.ask("CF", texts, acts[-1][1], stem=[without.device], spans=[act.span for act in self.acts])

    def _instead(self, without: Act, values: Values) -> Question | None:
        """Where there are two triggers and the one that acted is taken away, the other one does it."""
        for act in self.acts:
            if act.device.gate != "any" or act is without:
                continue
            now = [self.devices[i] for i in act.device.triggers if values[via(act.device, self.devices[i])] is not None]
            if len(now) != 1 or act.event.causes == (now[0].event,):
                continue
            clause = narrator.unreal(without.device)
            texts = (
                f"which device would have set off the {act.device.name} if {clause}?",
                f"which device would have made {narrator.infinitive(act.device)} if {clause}?",
                f"because of which device would {narrator.infinitive(act.device)} if {clause}?",
            )
            return self.ask("CF", texts, now[0], stem=[without.device, act.device], spans=[without.span, act.span])
        return None

    def soon(self) -> Question | None:
        """PR: which device the one that is under way will set off."""
        if self.story.params["under_way"] is None:
            return None
        now, *later = self.coming
        right = later[0]
        texts = (
            "which device will act next?",
            "what will be the next device to act?",
            "which device will be set off next?",
        )
        also = [other.device for other in later if now.event.id in other.event.causes]
        return self.ask("PR", texts, right.device, stem=[now.device], also_right=also, spans=[now.span])


def ask(story: Story, rng: random.Random) -> tuple[Question, ...]:
    """One question of each type that the story allows."""
    asker = _Asker(story, rng)
    asked = (
        asker.why(),
        asker.how(),
        asker.next(),
        asker.together(),
        asker.previous(),
        asker.count(),
        asker.where(),
        asker.other(),
        asker.unless(),
        asker.soon(),
    )
    return tuple(made for made in asked if made is not None)


def _shared(one: Act, other: Act) -> float:
    return min(one.event.end, other.event.end) - max(one.event.start, other.event.start)
