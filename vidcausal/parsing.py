"""Answers out of free text: orders, letters, moments, numbered lines.

The rules are sane ones; official parsers live with their benchmark, bug for bug. Every parser returns None or an
empty tuple when the text does not say it clearly; nothing is guessed.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence

from vidcausal.types import Event, Span

MAX_CHARACTERS = 20_000
"""Longer replies are read from their end only: an answer comes last, and a regular expression should not be a trap."""
MAX_CUES = 32
"""How many of the last places that announce an answer are looked at."""

_MARKUP = re.compile(r"[*`_]+|</?(?:answer|b|i|strong|em)>", re.IGNORECASE)
_THOUGHT = re.compile(r".*</think(?:ing)?>", re.IGNORECASE | re.DOTALL)
_BLANKS = re.compile(r"[^\S\n]+")
_EMPTY_LINES = re.compile(r"(?:\n ?){3,}")


def plain(text: str) -> str:
    """The reply without what comes before ``</think>``, without markdown emphasis, long blanks and odd characters."""
    text = unicodedata.normalize("NFKC", text[-MAX_CHARACTERS:])
    if thought := _THOUGHT.match(text):
        text = text[thought.end() :]
    text = "\n".join(text.splitlines())
    return _EMPTY_LINES.sub("\n\n", _BLANKS.sub(" ", _MARKUP.sub("", text)))


def without_thoughts(reply: str) -> str:
    """What a thinking model says after its last ``</think>``, without blanks around it; any other reply whole."""
    return reply.rpartition("</think>")[2].strip()


# ---- orders -----------------------------------------------------------------------------------------------------

_CUES = (
    re.compile(r"correct\s+order\b[^\d\n:]{0,60}:", re.IGNORECASE),
    re.compile(r"correct\s+order\b(?:\s+(?:is|would be|should be))?", re.IGNORECASE),
    re.compile(r"\b(?:order|sequence)\b", re.IGNORECASE),
)
_NAMED = re.compile(r"\b(?:clip|step|video|segment)s?\s*(?:number\s*|no\.?\s*|#\s*)?(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_RANKED = re.compile(r"(?:^|[,;\n]) ?\(?(\d+) ?[.):] ?\(?(\d+)\b")
_LIST_LINE = re.compile(
    r"^\W*(?:\d+\s*[.):]\s*)?(?:(?:clip|step|video|segment)\s*(?:number\s*)?#?\s*)?\d+\b", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_OPEN_END = re.compile(r"(?:[,;]|->|=>|>|→|\band|\bthen)\s*$", re.IGNORECASE)


def parse_order(text: str, n: int) -> tuple[int, ...] | None:
    """The permutation of 1..n that the reply gives as its order, first to last, or None.

    The last "Correct order:" decides; without one the last line that speaks of an order; without that the last line
    (or the list that ends the reply). Clips may be parted by ``,`` ``->`` ``→`` ``>`` "and", or by lines.
    """
    text = plain(text)
    for cue in _CUES:
        places = [m.end() for m in cue.finditer(text)]
        for place in reversed(places[-MAX_CUES:]):
            stretches = _after_cue(text[place:], n)
            if stretches:
                return _first_permutation(stretches, n)
    lines = [line for line in text.splitlines() if line.strip()]
    return _first_permutation([*lines[-1:], "\n".join(_closing_list(lines))], n)


def _after_cue(tail: str, n: int) -> list[str]:
    """Stretches of text after a cue that may be the list, most likely first; empty when no number follows."""
    line, _, rest = tail.partition("\n")
    following = [other for other in rest.splitlines() if other.strip()]
    block = list(itertools.takewhile(_LIST_LINE.search, following))
    numbers = _NUMBER.findall(line)
    if not numbers:
        first = [following[0]] if following and _NUMBER.search(following[0]) else []
        return [*first, "\n".join(block[:n])] if block or first else []
    stretches = [line]
    if len(_NAMED.findall(line) or numbers) == 1 or _RANKED.fullmatch(line.strip()):
        stretches.append("\n".join([line, *block[: n - 1]]))
    for other in following:
        if not _OPEN_END.search(line):
            break
        line = f"{line} {other}"
        stretches.append(line)
    return stretches


def _closing_list(lines: Sequence[str]) -> list[str]:
    block: list[str] = []
    for line in reversed(lines):
        if not _LIST_LINE.search(line):
            break
        block.append(line)
    return block[::-1]


def _first_permutation(stretches: Sequence[str], n: int) -> tuple[int, ...] | None:
    for stretch in stretches:
        sentence = _SENTENCE_END.split(stretch, maxsplit=1)[0]
        for candidate in (stretch, sentence):
            found = _permutation(candidate, n)
            if found is not None:
                return found
    return None


def _permutation(text: str, n: int) -> tuple[int, ...] | None:
    named = _NAMED.findall(text)
    ranked = _RANKED.findall(text)
    readings = [named] if named else []
    if not named and [int(rank[-9:]) for rank, _ in ranked] == list(range(1, n + 1)):
        readings.append([clip for _, clip in ranked])
    if len(named) < n:
        readings.append(_NUMBER.findall(text))
    for numbers in readings:
        if len(numbers) == n and all(len(number) < 9 for number in numbers):
            order = tuple(map(int, numbers))
            if set(order) == set(range(1, n + 1)):
                return order
    return None


# ---- numbered lines, counts -----------------------------------------------------------------------------------

_CLIP_LINE = re.compile(r"^\W*clip\s*#?\s*(\d{1,3})\s*(?:\([^)]*\)\s*)?[:.)\-–—]\s*(.*)$", re.IGNORECASE)


def parse_clip_lines(text: str) -> dict[int, str]:
    """``{k: sentence}`` from lines "Clip k: sentence"; other lines continue the one before; the first label wins."""
    found: dict[int, str] = {}
    current: int | None = None
    for line in plain(text).splitlines():
        match = _CLIP_LINE.match(line)
        if match:
            number = int(match[1])
            current = None if number in found else number
            if current is not None:
                found[current] = match[2].strip()
        elif current is not None and line.strip():
            found[current] = f"{found[current]} {line.strip()}".strip()
    return found


def first_number(text: str) -> int | None:
    """The first whole number of up to six digits in the text, or None."""
    match = re.search(r"(?<!\d)\d{1,6}(?!\d)", plain(text))
    return int(match.group()) if match else None


# ---- choices ----------------------------------------------------------------------------------------------------

_ANSWER_CUE = re.compile(r"\b(?:final\s+)?answer\b(?:\s+is)?\s*:?\s*(?:option\s*|choice\s*)?", re.IGNORECASE)
_LETTER_THERE = re.compile(r"^[\s(\[{]*(?:option\s+|choice\s+)?([A-Z])(?=[\s).,:;\]}!?]|$)(?!\s+[a-z])")
_BOXED = re.compile(r"\\boxed\{\s*(?:\\text\{)?\s*([A-Za-z])\s*\}")
_MARKED = re.compile(r"(?:\(([A-Z])\)|\b[Oo]ption\s+([A-Z])\b|(?<![A-Za-z])([A-Z])[.):](?=\s|$))")


def parse_choice(text: str, num_options: int, options: Sequence[str] = ()) -> int | None:
    r"""The 0-based option that the reply chooses, or None when it names none or more than one.

    Reads, in this order: the last ``\boxed{B}``; the letter after the last "answer is"/"Answer:"; a reply that starts
    with a letter that stands alone; letters marked "(B)", "option B", "B." as long as they agree; the option's own
    text. A capital inside a word, or the article "A", is never a choice.
    """
    cleaned = plain(text).strip()
    letters = [_letter(m[1].upper(), num_options) for m in _BOXED.finditer(cleaned)]
    if letters:
        return letters[-1]
    for cue in list(_ANSWER_CUE.finditer(cleaned))[: -MAX_CUES - 1 : -1]:
        if match := _LETTER_THERE.match(cleaned[cue.end() :]):
            return _letter(match[1], num_options)
    if match := _LETTER_THERE.match(cleaned):
        chosen = _letter(match[1], num_options)
        others = {_letter(next(filter(None, m.groups())), num_options) for m in _MARKED.finditer(cleaned)} - {None}
        return chosen if others <= {chosen} else None
    if len(cleaned) == 1:
        return _letter(cleaned.upper(), num_options)
    marked = {_letter(next(filter(None, m.groups())), num_options) for m in _MARKED.finditer(cleaned)} - {None}
    if marked:
        return marked.pop() if len(marked) == 1 else None
    return _option_text(cleaned, options)


def _letter(letter: str, num_options: int) -> int | None:
    index = ord(letter) - ord("A") if len(letter) == 1 else -1  # ß is SS in capitals
    return index if 0 <= index < num_options else None


def normalize_answer(text: str) -> str:
    """Lower case, single spaces, no punctuation: for comparing short answers."""
    return " ".join(re.sub(r"[^\w\s]", " ", plain(text).lower()).split())


def _option_text(text: str, options: Sequence[str]) -> int | None:
    reply = f" {normalize_answer(text)} "
    inside = [i for i, option in enumerate(options) if (key := normalize_answer(option)) and f" {key} " in reply]
    exact = [i for i in inside if f" {normalize_answer(options[i])} " == reply]
    if exact:
        return exact[0] if len(exact) == 1 else None
    return inside[0] if len(inside) == 1 else None


# ---- moments ----------------------------------------------------------------------------------------------------

_CLOCK = r"(?:\d{1,2}:)?\d{1,3}:\d{2}(?:\.\d+)?|\d+(?:\.\d+)?"
_UNIT = r"(?:\s*(?:seconds?|secs?|s)\b)?"
_PAIR = re.compile(
    rf"(?<![\d.:])({_CLOCK}){_UNIT}\s*(?:-->|->|-|–|—|~|,|to\b|until\b|till\b|and\b|through\b)\s*({_CLOCK})(?!\d|:\d|\.\d){_UNIT}",
    re.IGNORECASE,
)


def parse_spans(text: str, *, duration: float | None = None) -> tuple[Span, ...]:
    """Moments in seconds, in the order the reply gives them.

    Reads "12.3 - 15 s", "from 1:05 to 1:10", "00:01:05.5 --> 00:01:10", ``[[12, 15], [30, 31.5]]``. Reversed pairs
    are left out; with ``duration`` spans are cut to ``[0, duration]`` and those wholly beyond it left out.
    """
    spans = []
    for match in _PAIR.finditer(plain(text)):
        span = _span(match[1], match[2], duration)
        if span is not None:
            spans.append(span)
    return tuple(spans)


def parse_events(text: str, *, duration: float | None = None) -> tuple[Event, ...]:
    """Events from lines "12.3 - 15.0: what happens" (or with clock times, brackets, list marks), in time order."""
    events = []
    for line in plain(text).splitlines():
        match = _PAIR.search(line)
        if match is None or re.search(r"[A-Za-z]{2}", re.sub(r"(?i)\b(from|at|time)\b", "", line[: match.start()])):
            continue
        caption = re.sub(r"^[\s\])}>:;,.\-–—]+", "", line[match.end() :]).strip()
        span = _span(match[1], match[2], duration)
        if span is not None and caption:
            events.append(Event(span, caption))
    return tuple(sorted(events, key=lambda event: (event.span.start, event.span.end)))


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total


def _span(start: str, end: str, duration: float | None) -> Span | None:
    first, last = _seconds(start), _seconds(end)
    if last < first or max(first, last) > 1e7:
        return None
    if duration is None:
        return Span(first, last)
    return None if first > duration else Span(first, min(last, duration))
