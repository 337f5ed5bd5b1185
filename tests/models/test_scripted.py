"""The scripted chat and the order baselines."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest
import torch

from vidcausal.errors import ModelError, UnknownNameError
from vidcausal.models.scripted import Scripted, count_clips, order_baseline, scripted
from vidcausal.protocols import Scoring, TextChat, VideoChat
from vidcausal.video.frames import FrameBatch

VCRBENCH = "The clip numbers are mentioned at the beginning of each clip as Clip 1, Clip 2, and so on."


def frames(n: int) -> FrameBatch:
    return FrameBatch(torch.zeros(n, 3, 4, 4, dtype=torch.uint8), torch.arange(n, dtype=torch.float64))


def order_of(reply: str) -> list[int]:
    assert reply.startswith("Correct order: ")
    return [int(n) for n in re.findall(r"Clip (\d+)", reply)]


def test_replies_in_turn_and_says_when_they_end() -> None:
    chat = scripted(["first", "second"])
    assert isinstance(chat, TextChat)
    assert isinstance(chat, VideoChat)
    assert isinstance(chat, Scoring)
    assert [chat.chat("a"), chat.chat("b", frames(3))] == ["first", "second"]
    assert chat.calls == [("a", 0), ("b", 3)]
    with pytest.raises(ModelError, match="2 replies and was asked for one more"):
        chat.chat("c")


def test_patterns_choose_the_reply() -> None:
    chat = scripted({r"how many\s+clips": "3", "order": "Correct order: 2, 1, 3", "": "a person stirs"})
    assert chat.chat("How many\nclips?") == "3"
    assert chat.chat("In which ORDER?") == "Correct order: 2, 1, 3"
    assert chat.chat("Describe clip 1") == "a person stirs"
    with pytest.raises(ModelError, match="'yes'.* is found in the prompt"):
        scripted({"yes": "1"}).chat("no")


def test_a_function_sees_prompt_and_frames() -> None:
    chat = Scripted(lambda prompt, batch: f"{prompt}:{0 if batch is None else len(batch)}")
    assert chat.chat("n", frames(2)) == "n:2"


def test_scores_are_given_or_drawn_for_each_sample_alone() -> None:
    given = Scripted([], scores=lambda prompt, option: -float(len(option)))
    assert [s.log_likelihood for s in given.score_options("?", ["a", "bbb c"])] == [-1.0, -5.0]
    assert [s.num_tokens for s in given.score_options("?", ["a", "bbb c"])] == [1, 2]
    chat, other = scripted([]), scripted([])
    other.score_options("something else", ["a"])
    assert chat.score_options("?", ["a", "b"]) == other.score_options("?", ["a", "b"])
    assert chat.score_options("?", ["a"]) != scripted([], seed=1).score_options("?", ["a"])


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("Clip 1: cut\nClip 2: stir\nClip 3: serve", 3),
        ("The video has 5 short shuffled clips.", 5),
        ("There are four clips. Answer like: Correct order: Clip 2, Clip 1", 4),
        ("Step 1: x\nstep 12: y", 12),
        (VCRBENCH, 0),
        (VCRBENCH + " Clip 4: pours", 4),
        ("What happens?", 0),
    ],
)
def test_count_clips(prompt: str, count: int) -> None:
    assert count_clips(prompt) == count


def test_baselines_answer_with_a_permutation() -> None:
    prompt = "\n".join(f"Clip {k}: something" for k in range(1, 6))
    assert order_of(order_baseline("identity").chat(prompt)) == [1, 2, 3, 4, 5]
    assert order_of(order_baseline("reverse").chat(prompt)) == [5, 4, 3, 2, 1]
    assert sorted(order_of(order_baseline("random").chat(prompt))) == [1, 2, 3, 4, 5]
    assert order_of(order_baseline("identity", num_clips=3).chat(VCRBENCH)) == [1, 2, 3]
    assert order_baseline("random").chat(VCRBENCH) == "I did not look."
    with pytest.raises(UnknownNameError, match="'reverse'"):
        order_baseline("revers")  # type: ignore[arg-type]


def test_random_orders_depend_on_the_sample_only_and_are_uniform() -> None:
    prompts = [f"Sample {i}: 3 clips" for i in range(1200)]
    forward = [order_baseline("random").chat(p) for p in prompts]
    chat = order_baseline("random")
    assert [chat.chat(p) for p in reversed(prompts)] == forward[::-1]
    counts = Counter(forward)
    assert len(counts) == 6
    assert all(150 < n < 250 for n in counts.values())
    assert order_baseline("random", seed=1).chat(prompts[0], frames(2)) != "I did not look."
    assert order_baseline("random", seed=1).fingerprint != chat.fingerprint


def test_a_function_is_told_from_another_by_what_it_does_in_every_process() -> None:
    code = (
        "from vidcausal.models.scripted import Scripted\n"
        "def script(word):\n    return lambda prompt, frames: ' '.join(word for _ in prompt)\n"
        "print(Scripted(script('a')).fingerprint, Scripted(script('b')).fingerprint)"
    )
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(runs) == 1
    one, other = runs.pop().split()
    assert one != other
