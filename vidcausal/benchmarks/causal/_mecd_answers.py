"""Answers of MECD in every form they come in: lists, strings of digits, logits, lines of text files, free text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from vidcausal.benchmarks.rows import Rows, read_values, turned_rows
from vidcausal.errors import DataError
from vidcausal.parsing import plain

Part: TypeAlias = tuple[int, ...]
"""Whether each of some events is a cause of one later event, 0 or 1 each."""
Parts: TypeAlias = tuple[Part, ...]

_ID_KEYS = ("id", "qid", "name")
_REPLY_KEYS = ("reply", "pred")
_TEXT_ENTRY = re.compile(r"^Video ID: (.+)\nOutput: (.*)$", re.MULTILINE)
_PUBLISHED_LIST = re.compile(r"\[(0|1).*?\]")
_LIST = re.compile(r"\[\s*([01](?:\s*[, ]\s*[01])*)\s*\]")
_BARE = re.compile(r"(?<![\d.\w])[01](?:\s*,\s*[01])+(?![\d.\w])")
_RUN = re.compile(r"(?<![\d.\w])[01]+(?![\d.\w])")
_DIGITS_ONLY = re.compile(r"[01]+(?:\s*,\s*[01]+)*")


def part_lengths(events: int) -> tuple[int, ...]:
    """Lengths of the parts of a complete graph: the causes of the last event, of the one before it, and so on."""
    return tuple(range(events - 1, 0, -1))


# ---- files ------------------------------------------------------------------------------------------------------


def read_answers(path: Path) -> Rows:
    """Rows with ``id`` and ``reply``; the published scripts write four kinds of files, all of them are read.

    Raises:
        DataError: missing, empty or of another kind.
    """
    if path.suffix == ".txt":
        return _text_file(path)
    numbered, bad = read_values(path)
    needed = (
        "Each row needs an id (or name) and a reply (or pred), for example "
        '{"name": "v_hJn5L1nrkL4", "pred": [0, 0, 0, 0, 0, 1, 1]}'
    )
    return turned_rows(path, numbered, bad, _row, needed)


def _text_file(path: Path) -> Rows:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    rows = tuple({"id": found[1].strip(), "reply": found[2]} for found in _TEXT_ENTRY.finditer(text))
    if not rows:
        raise DataError(f'{path} holds no answer; a .txt file has lines "Video ID: NAME" and "Output: [0, 1, 0]"')
    return Rows(path, rows)


def _row(value: Any) -> dict[str, Any] | str:
    if not isinstance(value, Mapping):
        return f"a row must be an object, got {type(value).__name__}"
    if len(value) == 1:  # the annotation's own form, with predicted relations in it
        name, inner = next(iter(value.items()))
        if isinstance(inner, Mapping) and ("relation" in inner or "all_relation" in inner):
            return {"id": str(name), "reply": inner.get("all_relation", inner.get("relation"))}
    identity = next((value[key] for key in _ID_KEYS if key in value), None)
    if isinstance(identity, bool) or not isinstance(identity, (str, int)):
        return f"a row needs one of {', '.join(_ID_KEYS)} (text or a whole number), got {identity!r}"
    row = {"id": str(identity), **({"error": value["error"]} if value.get("error") else {})}
    if "logits" in value:
        try:
            return row | {"reply": [0 if float(pair[0]) > float(pair[1]) else 1 for pair in value["logits"]]}
        except (TypeError, ValueError, IndexError, KeyError):
            return f"logits must be a list of [non-causal, causal], got {str(value['logits'])[:60]}"
    key = next((key for key in _REPLY_KEYS if key in value), None)
    if key is None and "error" not in row:
        return f"a row needs one of {', '.join(_REPLY_KEYS)} or logits, got the keys {', '.join(map(str, value))}"
    return row | {"reply": None if key is None else value[key]}


# ---- what an answer says ----------------------------------------------------------------------------------------


def given_parts(value: Any) -> Parts | None:
    """Lists and strings of nothing but digits 0 and 1, whatever their lengths; None for everything else."""
    if isinstance(value, str):
        if not _DIGITS_ONLY.fullmatch(value.strip()):
            return None
        pieces = [piece.strip() for piece in value.split(",")]
        if len(pieces) > 1 and all(len(piece) == 1 for piece in pieces):
            return (tuple(map(int, pieces)),)
        return tuple(tuple(map(int, piece)) for piece in pieces)
    if not isinstance(value, (list, tuple)) or not value:
        return None
    if len(value) == 1 and isinstance(value[0], str):
        return given_parts(value[0])
    if all(isinstance(item, (list, tuple)) for item in value):
        parts = [_numbers(item) for item in value]
        return None if any(part is None for part in parts) else tuple(part for part in parts if part is not None)
    numbers = _numbers(value)
    return None if numbers is None else (numbers,)


def _numbers(items: Sequence[Any]) -> Part | None:
    digits = [_digit(item) for item in items]
    return None if None in digits else tuple(digit for digit in digits if digit is not None)


def _digit(item: Any) -> int | None:
    """0 or 1, also as text or 1.0; None for everything else, NaN among it."""
    text = item.strip() if isinstance(item, str) else item
    return next((digit for digit in (0, 1) if text in (digit, str(digit))), None)


def published_parts(value: Any) -> Parts | None:
    """What the published scripts take: digits as given, else the first bracket that begins with 0 or 1, if it holds
    more than two items (``extract_first_bracket_content`` of mecd_llm_fewshot).
    """
    given = given_parts(value)
    if given is not None or not isinstance(value, str):
        return given
    match = _PUBLISHED_LIST.search(value)
    if match is None or len(match[0].split(",")) <= 2:
        return None
    return (tuple(int(c) for c in match[0] if c in "01"),)


def read_parts(value: Any, lengths: Sequence[int]) -> Parts | None:
    """The sane reading: lists of just these lengths, the last ones in a text; None where there are none.

    With one length the first part of a whole graph will do.
    """
    wanted = tuple(lengths)
    given = given_parts(value)
    if given is not None:
        chosen = given[: len(wanted)] if len(wanted) == 1 else given
        return chosen if tuple(map(len, chosen)) == wanted else None
    if not isinstance(value, str):
        return None
    text = plain(value)
    for pattern in (_LIST, _BARE, _RUN):
        found = [tuple(int(c) for c in match[0] if c in "01") for match in pattern.finditer(text)]
        for start in range(len(found) - len(wanted), -1, -1):
            window = tuple(found[start : start + len(wanted)])
            if tuple(map(len, window)) == wanted:
                return window
    return None
