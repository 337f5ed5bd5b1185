from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vidcausal.errors import DataError
from vidcausal.training.blind import BlindSettings, train_blind
from vidcausal.worlds.story import Question

COLORS = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
SHAPES = ["ball", "box", "can"]
STEMS = {
    "TN": "what happened after the {thing} stopped?",
    "CW": "why did the {thing} stop?",
    "DO": "what else was there beside the {thing}?",
    "CF": "what if the {thing} had not come?",
    "PR": "what happens next?",
}


def fair(rng: random.Random, kind: str = "TN") -> Question:
    first, *colors = rng.sample(COLORS, 6)
    shape = rng.choice(SHAPES)
    options = tuple(f"the {color} {shape} rolled away" for color in colors)
    stem = STEMS[kind].format(thing=f"{first} {shape}")
    return Question(kind, stem, options, rng.randrange(5))


def leak_position(rng: random.Random) -> Question:
    question = fair(rng, "CW")
    return Question("CW", question.text, question.options, rng.choice([2, 2, 0, 1, 3, 4]))


def leak_prior(rng: random.Random) -> Question:
    """Pink is more often right than its turn."""
    question = fair(rng, "DO")
    pink = [k for k, text in enumerate(question.options) if "pink" in text]
    return Question("DO", question.text, question.options, pink[0] if pink and rng.random() < 0.7 else question.answer)


def leak_pairing(rng: random.Random) -> Question:
    """Which color is right depends on the color in the question, in half of the questions."""
    question = fair(rng, "CF")
    named = next(color for color in COLORS if color in question.text.split())
    follower = COLORS[(COLORS.index(named) + 3) % 8]
    there = [k for k, text in enumerate(question.options) if follower in text]
    return Question(
        "CF", question.text, question.options, there[0] if there and rng.random() < 0.5 else question.answer
    )


def leak_odd_one_out(rng: random.Random) -> Question:
    """The wrong options share a shape that the right one does not have; which shape that is tells nothing."""
    question = fair(rng, "PR")
    right, wrong = rng.sample(SHAPES, 2)
    options = [f"the {text.split()[1]} {wrong} falls" for text in question.options]
    options[question.answer] = options[question.answer].replace(wrong, right)
    return Question("PR", question.text, tuple(options), question.answer)


def accuracy(questions: list[Question], answers: list[int], kind: str) -> float:
    rows = [
        question.answer == answer for question, answer in zip(questions, answers, strict=True) if question.type == kind
    ]
    return sum(rows) / len(rows)


def drawn(seed: int, count: int) -> list[Question]:
    rng = random.Random(seed)
    makers = (fair, leak_position, leak_prior, leak_pairing, leak_odd_one_out)
    return [make(rng) for _ in range(count) for make in makers]


def test_it_finds_every_planted_leak_and_none_where_there_is_none() -> None:
    torch.set_num_threads(1)
    test = drawn(1, 1500)
    answers = train_blind(drawn(0, 2500)).answers(test)
    assert accuracy(test, answers, "TN") == pytest.approx(0.2, abs=0.035)  # 1500 questions: three standard errors
    assert accuracy(test, answers, "CW") > 0.28  # 1/3 is right at best
    assert accuracy(test, answers, "DO") > 0.4
    assert accuracy(test, answers, "CF") > 0.33
    assert accuracy(test, answers, "PR") > 0.9


def test_the_same_questions_give_the_same_reader_and_leave_random_numbers_alone() -> None:
    train, test = drawn(0, 60), drawn(1, 40)
    settings = BlindSettings(epochs=2)
    torch.manual_seed(7)
    first = train_blind(train, settings).answers(test)
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(1), after)
    assert train_blind(train, settings).answers(test) == first


def test_unknown_words_and_types_are_answered_too() -> None:
    reader = train_blind(drawn(0, 20), BlindSettings(epochs=1))
    strange = Question("XX", "quo vadis?", ("a", "b b", "c", "d", "e"), 0)
    assert reader.answers([strange])[0] in range(5)
    assert reader.answers([]) == []


def test_too_few_questions_and_odd_options_are_refused() -> None:
    with pytest.raises(DataError, match="at least 20"):
        train_blind(drawn(0, 2))
    odd = Question("TN", "what?", ("a", "b"), 0)
    with pytest.raises(DataError, match="2 options, others have 5"):
        train_blind([*drawn(0, 10), odd])


def test_the_script_names_a_wrong_world() -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "check_worlds.py"
    done = subprocess.run(
        [sys.executable, str(script), "--blind", "--world", "collision"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "collisions" in done.stderr
