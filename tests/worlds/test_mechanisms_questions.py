"""Questions of the world mechanisms: one right option, by rules written a second time, and nothing to guess from."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from vidcausal.worlds.mechanisms import Mechanisms
from vidcausal.worlds.mechanisms.look import PLACES
from vidcausal.worlds.story import COLORS, QUESTION_TYPES, Question, Story

WORLD = Mechanisms()
STORIES = [WORLD.tell(seed, "validation") for seed in range(1500)]
ASKED = [(story, question) for story in STORIES for question in WORLD.questions(story)]
NUMBERS = ["zero", "one", "two", "three", "four"]


def of(*types: str) -> list[tuple[Story, Question]]:
    return [(story, question) for story, question in ASKED if question.type in types]


def named(story: Story, text: str) -> list[str]:
    """Events of the devices whose colors a text names, in the order in which it names them."""
    by_color = {device.color: device.event for device in story.params["devices"]}
    return [by_color[word] for word in re.findall("[a-z]+", text) if word in by_color]


def shown(story: Story) -> dict[str, tuple[float, float]]:
    return {event.id: (event.start, event.end) for event in story.events}


def candidates(story: Story, question: Question) -> list[str | None]:
    """The event that each option stands for; None for a device that is not there or did not act."""
    found = [named(story, option) for option in question.options]
    return [events[0] if events else None for events in found]


def test_every_story_has_four_types_and_every_type_enough_stories() -> None:
    for story in STORIES:
        types = [question.type for question in WORLD.questions(story)]
        assert len(set(types)) == len(types) >= 4
    counts = Counter(question.type for _, question in ASKED)
    assert set(counts) == set(QUESTION_TYPES)
    assert min(counts.values()) >= 0.08 * len(STORIES)


def test_form_of_questions() -> None:
    wordings: defaultdict[str, set[str]] = defaultdict(set)
    for _, question in ASKED:
        assert re.fullmatch(r"[a-z ]+\?", question.text)
        assert len(set(question.options)) == 5
        assert all(re.fullmatch(r"[a-z ]+", option) for option in question.options)
        colors = {word for word in re.findall("[a-z]+", question.text) if word in COLORS}
        assert not any(colors & set(option.split()) for option in question.options)
        wordings[question.type].add(" ".join(question.text.split()[:4]))
        if question.type == "DC":
            assert sorted(question.options) == sorted(NUMBERS)
        if question.type == "DL":
            assert set(question.options) <= set(PLACES)
    assert all(len(found) >= 3 for found in wordings.values())


def test_the_right_letter_and_the_right_value_are_balanced() -> None:
    for type in QUESTION_TYPES:
        asked = of(type)
        letters = Counter(question.answer for _, question in asked)
        each = len(asked) / 5
        assert sum((letters[i] - each) ** 2 / each for i in range(5)) < 20  # 4 degrees: p = 0.0005
    counts = Counter(question.options[question.answer] for _, question in of("DC"))
    each = sum(counts.values()) / 5
    assert sum((counts[number] - each) ** 2 / each for number in NUMBERS) < 20
    rightly: Counter[str] = Counter()
    offered: Counter[str] = Counter()
    for _, question in of("CW", "CH", "TN", "TP", "TC", "CF", "PR"):
        for i, option in enumerate(question.options):
            color = next(word for word in option.split() if word in COLORS)
            offered[color] += 1
            rightly[color] += i == question.answer
    assert all(0.17 < rightly[color] / offered[color] < 0.23 for color in COLORS)


def test_direct_causes() -> None:
    for story, question in of("CW"):
        told = {event.id: event for event in story.events}
        effect = named(story, question.text)[0]
        right = [i for i, event in enumerate(candidates(story, question)) if event in told[effect].causes]
        assert right == [question.answer]


def test_ways_from_cause_to_effect() -> None:
    for story, question in of("CH"):
        told = {event.id: event for event in story.events}
        one, two = named(story, question.text)
        first, last = (one, two) if told[one].start < told[two].start else (two, one)
        right = [
            i
            for i, event in enumerate(candidates(story, question))
            if event in told[last].causes and event in told and first in told[event].causes
        ]
        assert right == [question.answer]


def test_next_previous_and_together() -> None:
    for story, question in of("TN", "TP", "TC"):
        spans = shown(story)
        stem = named(story, question.text)[0]
        start, end = spans[stem]
        options = candidates(story, question)
        if question.type == "TN":
            later = sorted((span[0], event) for event, span in spans.items() if span[0] > start)
            assert later[0][0] >= end
            right = [i for i, event in enumerate(options) if event == later[0][1]]
        elif question.type == "TP":
            earlier = sorted((span[1], event) for event, span in spans.items() if span[0] < start)
            assert earlier[-1][0] <= start
            right = [i for i, event in enumerate(options) if event == earlier[-1][1]]
        else:
            also = {e.id: (e.start, e.end) for e in story.unseen}
            over = [e for e, (a, b) in (spans | also).items() if e != stem and a < end and b > start]
            assert len(over) == 1
            right = [i for i, event in enumerate(options) if event in over]
        assert right == [question.answer]


def test_counts_before_and_after() -> None:
    for story, question in of("DC"):
        spans = shown(story)
        mine = spans[named(story, question.text)[0]][0]
        before = sum(start < mine for start, _ in spans.values())
        number = before if " before " in question.text else len(spans) - 1 - before
        assert question.options[question.answer] == NUMBERS[number]
        assert not (story.unseen and " after " in question.text)


def test_places_and_properties() -> None:
    for story, question in of("DL", "DO"):
        devices = {device.event: device for device in story.params["devices"]}
        mentioned = named(story, question.text)
        order = [event.id for event in story.events]
        device = devices[mentioned[0] if mentioned else order[-1 if "last" in question.text else 0]]
        right = question.options[question.answer]
        if question.type == "DL":
            assert right == PLACES[device.place]
        else:
            assert right == (device.color if "color" in question.text else f"a {device.kind}")
            assert not ("last" in question.text and story.unseen)


def test_counterfactual_answers_come_from_a_run_without_the_event() -> None:
    despite, forms = 0, Counter()
    for story, question in of("CF"):
        text = question.text.split(" if ")
        stem = named(story, text[-1])[0]
        values = WORLD.without(story, **{stem: None})
        acted = set(shown(story))
        options = candidates(story, question)
        unseen = {event.id for event in story.unseen}
        starts = {d.event: values[d.event] for d in story.params["devices"] if values[d.event] is not None}
        effects = named(story, text[0])
        if effects:
            form = "instead"
            routes = {option: values.get(f"{effects[0]} via {option.split()[1]}") for option in options if option}
            right = [i for i, event in enumerate(options) if routes.get(event) is not None]
        elif "last" in question.text or "ended" in question.text:
            form = "last"
            assert not unseen
            right = [i for i, event in enumerate(options) if event == max(starts, key=starts.__getitem__)]
        elif "still have" in question.text or "anyway" in question.text:
            form = "still"
            right = [i for i, event in enumerate(options) if event in acted and event in starts]
        else:
            form = "lost"
            right = [i for i, event in enumerate(options) if event in acted and event not in starts]
        assert right == [question.answer]
        assert form not in ("still", "lost") or not unseen & set(options)
        forms[form] += 1
        despite += form != "lost" and stem in story.model.ancestors(options[question.answer]) or form == "instead"
    assert min(forms.values()) >= 0.05 * sum(forms.values())
    assert despite >= 0.1 * sum(forms.values())  # pre-emption and overdetermination are asked about


def test_what_comes_next_is_what_the_device_under_way_sets_off() -> None:
    for story, question in of("PR"):
        now, following, *later = story.unseen
        options = candidates(story, question)
        assert options[question.answer] == following.id
        assert now.id not in options
        wrong = {event for i, event in enumerate(options) if i != question.answer}
        assert not wrong & {event.id for event in later if now.id in event.causes}
