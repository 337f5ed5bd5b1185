"""Chats without a model: replies from a list, a table or a function, and the chance baselines of a benchmark.

They drive every pipeline end to end in tests and under ``debug``, and they show what a score is worth: a random order
and the identity order are the two baselines that an ordering benchmark has to be read against.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Literal, get_args

from vidcausal.cache import digest
from vidcausal.errors import ModelError, UnknownNameError
from vidcausal.types import OptionScore
from vidcausal.video.frames import FrameBatch

Replies = Sequence[str] | Mapping[str, str] | Callable[[str, FrameBatch | None], str]


class Scripted:
    """A :class:`~vidcausal.protocols.VideoChat` and :class:`~vidcausal.protocols.Scoring` that follows a script.

    Args:
        replies: a sequence (replies in turn), a mapping (the first regular expression found in the prompt chooses), or
            a function of prompt and frames.
        scores: log-likelihood of an option given the prompt; None draws one from the hash of both, so that it is the
            same for a sample whatever was asked before it.
        name: what reports call it.
        seed: mixed into drawn scores.

    Every call is kept in ``calls`` as ``(prompt, number of frames)``, for tests of what a strategy asks.
    """

    def __init__(
        self,
        replies: Replies,
        *,
        scores: Callable[[str, str], float] | None = None,
        name: str = "scripted",
        seed: int = 0,
    ) -> None:
        self._replies = replies
        self._scores = scores
        self._name = name
        self._seed = seed
        self._turn = 0
        self.calls: list[tuple[str, int]] = []

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of the script; of a function, of its code and of the values it closes over."""
        script = self._replies
        if isinstance(script, Mapping):
            parts = [f"{pattern}\0{reply}" for pattern, reply in script.items()]
        else:
            parts = _code_of(script) if callable(script) else list(script)
        return digest("scripted", self._name, str(self._seed), *parts)

    def chat(self, prompt: str, frames: FrameBatch | None = None, *, max_new_tokens: int = 512) -> str:
        """The script's reply; ``max_new_tokens`` is not used.

        Raises:
            ModelError: the sequence has ended, or no pattern is found in the prompt.
        """
        self.calls.append((prompt, 0 if frames is None else len(frames)))
        script = self._replies
        if callable(script):
            return script(prompt, frames)
        if isinstance(script, Mapping):
            return _matching(script, prompt)
        if self._turn >= len(script):
            raise ModelError(
                f"the script has {len(script)} replies and was asked for one more; give more replies, or a mapping "
                f"from prompt patterns. The prompt began: {prompt[:80]!r}"
            )
        self._turn += 1
        return script[self._turn - 1]

    def score_options(self, prompt: str, options: Sequence[str], frames: FrameBatch | None = None) -> list[OptionScore]:
        """One score an option, as many tokens as it has words."""
        self.calls.append((prompt, 0 if frames is None else len(frames)))
        score = self._scores or self._drawn
        return [OptionScore(score(prompt, option), max(1, len(option.split()))) for option in options]

    def _drawn(self, prompt: str, option: str) -> float:
        return -10.0 * random.Random(digest(str(self._seed), prompt, option)).random()


def _matching(script: Mapping[str, str], prompt: str) -> str:
    for pattern, reply in script.items():
        if re.search(pattern, prompt, flags=re.IGNORECASE | re.DOTALL):
            return reply
    raise ModelError(
        f"none of the script's patterns ({', '.join(map(repr, script))}) is found in the prompt {prompt[:80]!r}; add "
        "one, or '' as the last pattern for everything else"
    )


# ---- baselines --------------------------------------------------------------------------------------------------

Direction = Literal["random", "identity", "reverse"]

_EXAMPLE = re.compile(r"clip 1, clip 2,? (?:and so on|etc|\.\.\.)", flags=re.IGNORECASE)
_NUMBERED = re.compile(r"\b(?:clip|step)\s+(\d+)\b", flags=re.IGNORECASE)
_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COUNTED = re.compile(
    rf"\b(\d+|{'|'.join(_WORDS)})\s+(?:(?:short|shuffled|video|numbered|different)\s+)*(?:clips|steps)\b",
    flags=re.IGNORECASE,
)


def count_clips(prompt: str) -> int:
    """How many numbered clips or steps a prompt speaks of: a stated count, else the highest "Clip k"; 0 for none.

    "Clip 1, Clip 2, and so on", as in VCRBench's question, is no count.
    """
    if found := _COUNTED.search(prompt):
        word = found[1].lower()
        return _WORDS.index(word) + 2 if word in _WORDS else int(word)
    return max((int(number) for number in _NUMBERED.findall(_EXAMPLE.sub("", prompt))), default=0)


def order_baseline(
    order: Direction = "random",
    *,
    num_clips: int | None = None,
    seed: int = 0,
) -> Scripted:
    """A chat that answers every prompt with an order of clips, without looking.

    The order of a prompt depends on the prompt, the times of the frames and the seed alone, not on what was asked
    before. A prompt that does not say how many clips there are (a recognition prompt, VCRBench's own question) gets
    the reply "I did not look.": use the strategy ``rrd``, whose reasoning prompt lists the clips, or set ``num_clips``.

    Args:
        order: ``random`` permutation, ``identity`` (1, 2, 3 …) or ``reverse``.
        num_clips: how many clips there are; None reads it from the prompt.
        seed: for ``random``.

    Raises:
        UnknownNameError: another ``order``.
    """
    if order not in (known := get_args(Direction)):
        raise UnknownNameError("order", order, known)

    def reply(prompt: str, frames: FrameBatch | None) -> str:
        numbers = list(range(1, (num_clips or count_clips(prompt)) + 1))
        if len(numbers) < 2:
            return "I did not look."
        if order == "reverse":
            numbers.reverse()
        elif order == "random":
            times = "" if frames is None else str(frames.pts_seconds.tolist())
            random.Random(digest(str(seed), prompt, times)).shuffle(numbers)
        return f"Correct order: {', '.join(f'Clip {n}' for n in numbers)}"

    return Scripted(reply, name=f"scripted-{order}-{num_clips or 'n'}-seed{seed}", seed=seed)


def scripted(replies: Sequence[str] | Mapping[str, str], *, name: str = "scripted", seed: int = 0) -> Scripted:
    """A :class:`Scripted` from a configuration: a list of replies in turn, or patterns with their replies."""
    return Scripted(dict(replies) if isinstance(replies, Mapping) else list(replies), name=name, seed=seed)


def _code_of(script: Callable[..., str]) -> list[str]:
    """What tells two functions apart; an object that is callable stands for itself alone."""
    code = getattr(script, "__code__", None)
    if code is None:
        return [repr(script)]
    cells = [repr(cell.cell_contents) for cell in getattr(script, "__closure__", None) or ()]
    return [*_parts_of(code), *cells]


def _parts_of(code: CodeType) -> list[str]:
    """Instructions, names and constants, also of functions inside: the same in every process."""
    parts = [code.co_code.hex(), *code.co_names]
    for constant in code.co_consts:
        parts += _parts_of(constant) if isinstance(constant, CodeType) else [repr(constant)]
    return parts
