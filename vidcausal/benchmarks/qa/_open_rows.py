"""Files of free answers as rows: our own kinds, and the names that published scripts give to ids and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.rows import BadLine, Rows, read_values
from vidcausal.errors import DataError

ID_KEYS = ("id", "qid", "question_id")
ANSWER_KEYS = ("reply", "pred", "answer")
"""Where the answer is, best first: a file with ``pred`` keeps the true answer in ``answer``."""
_KEPT = ("error", "option", "spans", "order")


def read_answers(path: Path, ids: Sequence[str] = ID_KEYS, answers: Sequence[str] = ANSWER_KEYS) -> Rows:
    """Rows with ``id`` and ``reply`` out of a JSON list or of JSON lines.

    A reply keeps the type it has in the file: published scorers compare values, not texts.

    Raises:
        DataError: missing, empty, of another kind, or without one usable row.
    """
    numbered, bad = read_values(path)
    rows: list[dict[str, Any]] = []
    for number, value in numbered:
        row = _row(value, ids, answers)
        if isinstance(row, str):
            bad.append(BadLine(number, row))
        else:
            rows.append(row)
    if not rows:
        why = f"; {min(bad)}" if bad else ""
        raise DataError(
            f"{path} holds no answer{why}. Each row needs one of {', '.join(ids)} and one of {', '.join(answers)}, "
            f'for example {{"{ids[-1]}": "1", "{answers[-1]}": "yes"}}'
        )
    return Rows(path, tuple(rows), tuple(sorted(bad)))


def _row(value: Any, ids: Sequence[str], answers: Sequence[str]) -> dict[str, Any] | str:
    """The row, or why there is none."""
    if not isinstance(value, Mapping):
        return f"a row must be an object, got {type(value).__name__}"
    identity = next((value[key] for key in ids if key in value), None)
    if isinstance(identity, bool) or not isinstance(identity, (str, int)):
        return f"a row needs one of {', '.join(ids)} (text or a whole number), got {identity!r}"
    key = next((key for key in answers if key in value), None)
    if key is None and not value.get("error"):
        return f"a row needs one of {', '.join(answers)}, got the keys {', '.join(sorted(map(str, value)))}"
    kept = {name: value[name] for name in _KEPT if name in value}
    return {"id": str(identity), "reply": None if key is None else value[key], **kept}
