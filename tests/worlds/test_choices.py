from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcausal.worlds.choices import NUM_OPTIONS, choose, question

words = st.lists(st.sampled_from([f"w{k}" for k in range(12)]), max_size=10)


@given(seed=st.integers(0, 10_000), right=st.sampled_from(["w0", "w5", "new"]), present=words, absent=words)
def test_options_are_distinct_hold_the_right_one_and_prefer_what_the_video_shows(
    seed: int, right: str, present: list[str], absent: list[str]
) -> None:
    chosen = choose(random.Random(seed), right, present, absent)
    here = set(present) - {right}
    away = set(absent) - here - {right}
    if len(here) + len(away) < NUM_OPTIONS - 1:
        assert chosen is None
        return
    assert chosen is not None
    options, answer = chosen
    assert options[answer] == right
    assert len(options) == len(set(options)) == NUM_OPTIONS
    assert set(options) <= here | away | {right}
    assert len(set(options) & here) == min(len(here), NUM_OPTIONS - 1)


def test_the_right_option_stands_everywhere_equally_often() -> None:
    rng = random.Random(0)
    places: Counter[int] = Counter()
    values = [f"v{k}" for k in range(8)]
    for _ in range(5000):
        chosen = choose(rng, rng.choice(values), values, [])
        assert chosen is not None
        places[chosen[1]] += 1
    # chi-square with 4 degrees of freedom: 23.5 has probability 0.0001 for fair places
    assert sum((places[k] - 1000) ** 2 / 1000 for k in range(5)) < 23.5


def test_exchangeable_values_leave_every_option_equally_likely() -> None:
    """Given the five options, each of them is the right one in a fifth of the cases."""
    rng = random.Random(1)
    right: Counter[str] = Counter()
    offered: Counter[str] = Counter()
    values = [f"v{k}" for k in range(8)]
    for _ in range(8000):
        shown = rng.sample(values, 3)  # the video shows three of them, each as likely the right one
        chosen = choose(rng, shown[0], shown, values)
        assert chosen is not None
        options, answer = chosen
        right[options[answer]] += 1
        offered.update(options)
    assert all(right[value] / offered[value] == pytest.approx(0.2, abs=0.025) for value in values)


def test_the_same_random_numbers_give_the_same_options() -> None:
    present, absent = ["a", "b", "c"], ["d", "e", "f"]
    assert choose(random.Random(3), "a", present, absent) == choose(random.Random(3), "a", present, absent)


def test_a_question_has_one_of_its_wordings() -> None:
    texts = ["what happened?", "what was it that happened?"]
    rng = random.Random(0)
    made = [question(rng, "TN", texts, "a", ["b", "c", "d", "e"], spans=[(1.0, 2.0)]) for _ in range(40)]
    assert {one.text for one in made if one} == set(texts)
    assert all(one and one.options[one.answer] == "a" and one.spans == ((1.0, 2.0),) for one in made)
    assert question(rng, "TN", texts, "a", ["b", "c", "d"]) is None
