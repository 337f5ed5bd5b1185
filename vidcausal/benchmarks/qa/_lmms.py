"""How lmms-eval and its descendants read the letter out of a reply, bug for bug.

Ported from EvolvingLMMs-Lab/lmms-eval@75571cfe (``tasks/*/utils.py``, ``tasks/_task_utils/mcq_extract.py``), from the
same files before its change #1274 (9ca4445d), from CeeZh/SILVR@0f3dcddd ``eval/videomme.py``, and from the script that
Video-MME's readme names (thanku-all/parse_answer ``eval_your_results.py``). Where a published parser draws a letter at
random the functions here return :data:`RANDOM`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

RANDOM = "RANDOM CHOICE"
"""A published parser would draw one of the options here."""

ABCD = ("A", "B", "C", "D")


# ---- the ranked extractor (mcq_extract.py) --------------------------------------------------------------------------

_PHRASES = (
    "the answer is",
    "answer is",
    "the correct answer is",
    "correct answer is",
    "the best answer is",
    "best answer is",
    "the correct option is",
    "correct option is",
    "the best option is",
    "best option is",
    "the choice is",
    "choice is",
    "the correct choice is",
    "correct choice is",
    "i choose",
    "i select",
    "i pick",
    "my answer is",
    "my choice is",
    *("옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"),
)
_RANKS = {"start": 10, "end": 9, "phrase": 7, "(X)": 6, "X.": 5, "X:": 4, "X)": 3, "X ": 2, "anywhere": 0}
_PATTERNS = ("(X)", "X.", "X:", "X)", "X ")


class _Found(NamedTuple):
    rank: int
    place: int
    letter: str


def ranked(reply: str, choices: Sequence[str] = ABCD) -> str:
    """The newest extractor: the best kind of place, the last of that kind, the first letter of equals; "" for none.

    It is fooled by capitals inside words ("NVIDIA " has "A "), and after a phrase such as "the answer is" it takes of
    each letter the first, and of those the last, wherever it stands: "the answer is A, not B" gives B.
    """
    if not reply.strip():
        return ""
    text = _stripped(reply.strip(), ",.!?;:'\"")
    found = [
        _Found(_RANKS[pattern], text.rfind(mark), choice)
        for pattern in _PATTERNS
        for choice in choices
        if (mark := pattern.replace("X", choice)) in text
    ]
    found += _after_phrases(text, choices)
    bare = text.strip()
    found += [_Found(_RANKS["start"], 0, c) for c in choices if bare.startswith(c) and not bare[1:2].isalpha()]
    found += [
        _Found(_RANKS["end"], len(text) - 1, c) for c in choices if bare.endswith(c) and not bare[-2:-1].isalpha()
    ]
    if not found:
        found = [_Found(_RANKS["anywhere"], text.rfind(c), c) for c in choices if c in text]
    return max(found, key=lambda one: (one.rank, one.place)).letter if found else ""


def _after_phrases(text: str, choices: Sequence[str]) -> list[_Found]:
    lowered = text.lower()
    found = []
    for phrase in _PHRASES:
        place = lowered.find(phrase)
        if place < 0:
            continue
        for choice in choices:
            if (there := text.find(choice, place + len(phrase))) >= 0:
                found.append(_Found(_RANKS["phrase"], there, choice))
    return found


def _stripped(text: str, characters: str) -> str:
    """``text`` without the characters at its ends, each taken off once in its turn, and a blank on either side."""
    for character in characters:
        text = text.strip(character)
    return f" {text} "


# ---- the older rules ------------------------------------------------------------------------------------------------

_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    # Two commas are missing where this was published, so the next texts are joined and never found.
    "The best option isThe correct option is",
    "Best answer:Best option:",
)
_PARSE_ANSWER_PREFIXES = (
    *_PREFIXES,
    "Answer:",
    "Option:",
    "The correct answer",
    "The correct option",
)


def first_letter(reply: str, prefixes: Sequence[str] = _PREFIXES, letters: str = "ABCD") -> str:
    """lmms-eval's Video-MME and LVBench rule before #1274: the first of the letters after some phrases were taken out.

    "Answer: B" gives A, the A of "Answer".
    """
    text = reply.strip()
    for prefix in prefixes:
        text = text.replace(prefix, "")
    found = re.search(f"[{letters}]", text)
    return found[0] if found else ""


def parse_answer(reply: str) -> str:
    """The rule of the script that Video-MME's readme names; like :func:`first_letter`, with more phrases."""
    return first_letter(reply, _PARSE_ANSWER_PREFIXES)


def last_pattern(reply: str, choices: Sequence[str] = ABCD) -> str:
    """SiLVR's rule (Video-MME, CG-Bench, EgoLife): "X." and "X:", else "(X)", else "X "; of several the last.

    Places are compared for one pattern only, so that "The answer is (A) because B. was wrong" gives B.
    """
    if reply in ("API Error", ""):
        return ""
    text = _stripped(reply.replace("\n", ""), ",.!?;:'")
    dots = [c for c in choices if f"{c}." in text]
    colons = [c for c in choices if f"{c}:" in text]
    found, pattern = dots + colons, "X." if dots else "X:"
    if not found:
        found, pattern = [c for c in choices if f"({c})" in text], "(X)"
    if not found:
        found, pattern = [c for c in choices if f"{c} " in text], " X "
    return max(found, key=lambda c: text.rfind(pattern.replace("X", c))) if found else ""


def before_bracket(reply: str) -> str:
    """lmms-eval's MLVU rule before #1274, and MLVU's own: what stands before the first ")", else the whole reply."""
    place = reply.find(")")
    return reply if place < 0 else reply[place - 1 : place]


# ---- MVBench --------------------------------------------------------------------------------------------------------

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_LETTER_AND_TEXT = re.compile(r"^([A-E])\.\s*(.+)$", re.IGNORECASE)
_LONE_LETTER = re.compile(r"\b([A-E])\b", re.IGNORECASE)
_MOST_PERIODS = 32
"""A flag was handed over as the number of replacements."""


def mvbench_answer(reply: str) -> str:
    """What lmms-eval compares in MVBench: a letter A to E where it sees one (also the article "a"), else the text."""
    if match := _LETTER_AND_TEXT.match(reply.strip()):
        return match[1].upper()
    text = _without_punctuation(reply.replace("\n", " ").replace("\t", " ").strip())
    for character in "'\")(":
        text = text.strip(character)
    text = text.strip().lower()
    found = _LONE_LETTER.search(text)
    return found[1].upper() if found else text


def _without_punctuation(given: str) -> str:
    text = given
    between_digits = re.search(r"(\d)(,)(\d)", given) is not None
    for mark in _PUNCTUATION:
        goes = between_digits or f"{mark} " in given or f" {mark}" in given
        text = text.replace(mark, "" if goes else " ")
    return re.sub(r"\.(?!\d)", "", text, count=_MOST_PERIODS)


# ---- parsers that fall back to a random letter ----------------------------------------------------------------------


def nextqa_letter(reply: str, options: Mapping[str, str]) -> str:
    """lmms-eval's NExT-QA (and MMMU's) parser: "(X)", else "X ", else "X.", else an option's text; the last of several.

    Args:
        reply: the model's text; a line break after the letter already makes it unreadable.
        options: the text of each letter.
    """
    text = _stripped(reply, ",.!?;:'")
    found, pattern = [c for c in options if f"({c})" in text], "(X)"
    if not found:
        # " X " is looked for in the end although "X." may have been found: all of those are nowhere, the first wins.
        pattern = " X "
        found = [c for c in options if f"{c} " in text] or [c for c in options if f"{c}." in text]
    if found:
        return max(found, key=lambda c: text.rfind(pattern.replace("X", c)))
    told = _told(text, options)
    return max(told, key=lambda c: text.lower().rfind(options[c].lower())) if told else RANDOM


def egoschema_letter(reply: str, options: Mapping[str, str]) -> tuple[str, Literal[True]] | str:
    """lmms-eval's EgoSchema parser: of all "(X)", "X " and "X." the *first*, and a mark that something matched."""
    text = _stripped(reply, ",.!?;:'")
    marks = [pattern.replace("X", c) for pattern in ("(X)", "X ", "X.") for c in options]
    found = [mark for mark in marks if mark in text]
    if found:
        return min(found, key=text.rfind).strip("(). "), True
    told = _told(text, options)
    return (min(told, key=lambda c: text.lower().rfind(options[c].lower())), True) if told else RANDOM


def _told(text: str, options: Mapping[str, str]) -> list[str]:
    """Letters of the options whose words are in a reply of more than five words."""
    if len(text.split()) <= 5:
        return []
    return [letter for letter, option in options.items() if option.lower() in text.lower()]


_LONGVIDEOBENCH_PREFIXES = (
    *_PREFIXES[:4],
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)


def longvideobench_letter(reply: str) -> str:
    """LongVideoBench's rule (lmms-eval): the first of A to E after some phrases were taken out, else a random one."""
    return first_letter(reply, _LONGVIDEOBENCH_PREFIXES, "ABCDE") or RANDOM
