"""Questions of the world procedures: right by the events, and of no use without the video."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from vidcausal.worlds.procedures import HELD_OUT_PAIRS, Procedures
from vidcausal.worlds.procedures.model import DEVICE_WORDS, PLACES, Plan, Station
from vidcausal.worlds.story import COLORS, QUESTION_TYPES, Question, Split, Story

Asked = list[tuple[Story, Question]]


@pytest.fixture(scope="module")
def world() -> Procedures:
    return Procedures()


def asked_of(world: Procedures, split: Split, count: int) -> Asked:
    stories = [world.tell(seed, split) for seed in range(count)]
    return [(story, one) for story in stories for one in world.questions(story)]


@pytest.fixture(scope="module")
def asked(world: Procedures) -> Asked:
    return asked_of(world, "train", 1500)


def stations_of(story: Story) -> tuple[Station, ...]:
    plan = story.params["plan"]
    assert isinstance(plan, Plan)
    return plan.stations


def named(text: str, names: object) -> str:
    """The one of ``names`` that ``text`` has as a word."""
    found = [name for name in names if name in text.split()]  # type: ignore[attr-defined]
    assert len(found) == 1, text
    return str(found[0])


def station(story: Story, text: str) -> Station:
    """The station whose device or color ``text`` names."""
    words = text.split()
    found = [one for one in stations_of(story) if one.device in words or one.color in words]
    assert len(found) == 1, text
    return found[0]


def test_every_story_has_four_types_and_every_type_has_its_share(asked: Asked) -> None:
    types = Counter(one.type for _, one in asked)
    assert set(types) == set(QUESTION_TYPES)
    assert all(count >= 0.08 * 1500 for count in types.values())
    per_story = Counter(story.seed for story, _ in asked)
    assert len(per_story) == 1500
    assert min(per_story.values()) >= 4
    assert all(len({q.type for q in group}) == len(group) for group in by_story(asked).values())


def by_story(asked: Asked) -> dict[int, list[Question]]:
    groups: dict[int, list[Question]] = defaultdict(list)
    for story, one in asked:
        groups[story.seed].append(one)
    return groups


def test_five_options_none_of_which_the_stem_names(asked: Asked) -> None:
    for story, one in asked:
        assert len(set(one.options)) == 5
        assert one.text.endswith("?")
        assert one.text == one.text.lower()
        words = set(one.text.rstrip("?").split())
        for option in one.options:
            assert not words & set(option.split()) & {*COLORS, *DEVICE_WORDS}
        assert all(0 <= start < end <= story.duration for start, end in one.spans)


def test_why_how_where_and_counterfactual_agree_with_stations_and_model(world: Procedures, asked: Asked) -> None:
    checked: Counter[str] = Counter()
    for story, one in asked:
        right, stem = one.options[one.answer], one.text.rstrip("?")
        if one.type == "CW":
            assert named(right, COLORS) == station(story, stem).color
        elif one.type == "CH":
            assert right == f"by the {PLACES[station(story, stem).place]} button"
        elif one.type == "DL":
            assert right == PLACES[station(story, stem).place]
        elif one.type == "CF":
            pressed = station(story, stem)
            do = {pressed.button: None} | ({pressed.again: None} if "never pressed" in stem else {})
            values = world.without(story, **do)
            device = named(right, DEVICE_WORDS)
            assert device in {event.id for event in story.events}
            happens = "still" in stem or "all the same" in stem
            assert (values[device] is not None) == happens
            for option in one.options:
                other = named(option, DEVICE_WORDS)
                shown = other in {event.id for event in story.events}
                assert option == right or not shown or (values[other] is not None) != happens
        checked[one.type] += 1
    assert checked["CF"] > 500


def test_next_previous_meanwhile_and_predicted_agree_with_the_events(asked: Asked) -> None:
    for story, one in asked:
        right = one.options[one.answer]
        if one.type in ("TN", "TP") and "button" in right:
            hand = [event for event in story.events if event.kind != "device"]
            stated = next(event for event in hand if event.wordings[1] in one.text)
            beside = hand[hand.index(stated) + (1 if one.type == "TN" else -1)]
            assert beside.id.startswith("press_" + named(right, COLORS))
        elif one.type == "TN":
            press = next(event for event in story.events if event.wordings[1] in one.text)
            device = next(event for event in story.events if event.id == named(right, DEVICE_WORDS))
            assert 0 <= device.start - press.end <= 0.5
        elif one.type == "TC":
            stated = next(event for event in story.events if event.wordings[1] in one.text)
            meanwhile = [
                e.id for e in story.events if e.kind == "device" and e.start < stated.end and stated.start < e.end
            ]
            assert meanwhile == [named(right, DEVICE_WORDS)]
        elif one.type == "PR":
            assert story.unseen[0].id == named(right, DEVICE_WORDS)


def test_a_pair_that_no_video_shows_is_no_option(asked: Asked) -> None:
    for _, one in asked:
        words = one.text.rstrip("?").split()
        for device, color in HELD_OUT_PAIRS.items():
            if device in words and one.type in ("CW", "DO"):
                assert all(color not in option.split() for option in one.options)
            if color in words and one.type in ("TN", "DO", "CF"):
                assert all(device not in option.split() for option in one.options)


def test_answers_stand_at_every_position_and_counts_are_even(asked: Asked) -> None:
    positions = Counter(one.answer for _, one in asked)
    assert all(abs(count / len(asked) - 0.2) < 0.02 for count in positions.values())
    counted = Counter(one.options[one.answer] for _, one in asked if one.type == "DC")
    assert all(abs(count / sum(counted.values()) - 0.2) < 0.06 for count in counted.values())


def test_how_often_words_go_with_right_options_does_not_help(world: Procedures, asked: Asked) -> None:
    """Whoever has counted which option words were right after which stem words can still only guess."""
    right: Counter[tuple[str, ...]] = Counter()
    seen: Counter[tuple[str, ...]] = Counter()

    def pairs(one: Question, option: str) -> list[tuple[str, ...]]:
        words = {word for word in option.split() if sum(word in o.split() for o in one.options) == 1}
        return [(one.type, a, b) for a in {"", *one.text.rstrip("?").split()} for b in sorted(words)]

    for _, one in asked:
        for at, option in enumerate(one.options):
            for pair in pairs(one, option):
                seen[pair] += 1
                right[pair] += at == one.answer

    def score(one: Question, option: str) -> float:
        rates = [(right[pair] + 2) / (seen[pair] + 10) for pair in pairs(one, option)]
        return sum(rates) / max(1, len(rates))

    hits: dict[str, list[bool]] = defaultdict(list)
    for _, one in asked_of(world, "validation", 600):
        scores = [score(one, option) for option in one.options]
        hits[one.type].append(scores.index(max(scores)) == one.answer)
    for type, found in hits.items():
        slack = 3 * (0.16 / len(found)) ** 0.5
        assert abs(sum(found) / len(found) - 0.2) < max(0.05, slack), (type, sum(found) / len(found))


@pytest.mark.parametrize("split", ["train", "composition"])
def test_every_color_and_every_device_is_as_likely_where_a_button_is_pressed(world: Procedures, split: Split) -> None:
    stations = [stations_of(world.tell(seed, split))[0] for seed in range(3000)]
    for values, kinds in (
        ([one.color for one in stations], len(COLORS)),
        ([one.device for one in stations], len(DEVICE_WORDS)),
        ([str(one.place) for one in stations], len(PLACES)),
    ):
        counts = Counter(values)
        assert len(counts) == kinds
        assert all(abs(count / 3000 - 1 / kinds) < 0.025 for count in counts.values())
