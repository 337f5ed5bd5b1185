"""CausalProbe-2024: questions about causes in news, newer than the models they were written for (NeurIPS 2024).

Files: Haoang97/CausalProbe-2024@edb6a614 ``benchmarks/CausalProbe2024/CausalProbe-{E,H,M}.json`` and
``benchmarks/causalnet.json``. Official scorer and its quirks: :mod:`vidcausal.benchmarks.text._digits`.

* The prompt numbers the options from 1 (CausalNet: from 0) and the last two without a blank after the point.
* CausalProbe-M has several right answers for a question; the published script stops at the first of them
  (``int("[1, 3, 4]")``). Its questions are loaded without a target and cannot be scored.
* Questions 2712 and 2951 of E have the answer 5 of four options: official compares with 5, strict leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.choice import ChoiceBenchmark
from vidcausal.benchmarks.rows import Rows, read_json
from vidcausal.benchmarks.text._answers import parse_number, text_sample
from vidcausal.benchmarks.text._digits import digit_scores, read_results
from vidcausal.errors import DataError
from vidcausal.types import Prediction, Sample

_PROBE = ("choice_1", "choice_2", "choice_3", "choice_4")
_NET = ("choice_id0", "choice_id1", "choice_id2")


class CausalProbe(ChoiceBenchmark):
    """CausalProbe E, H or CausalNet, told apart by the keys of their rows.

    Args:
        annotations: one of the files.
        data_dir: see :class:`~vidcausal.benchmarks.annotated.AnnotatedBenchmark`.
        video_root: not used; the questions are about no video.
        context: False asks without the article, as the published prompt ``…_NOcontext`` does.
    """

    name = "causalprobe"
    files = ("CausalProbe-E.json", "CausalProbe-H.json")
    source = "github.com/Haoang97/CausalProbe-2024 (benchmarks/CausalProbe2024)"
    groupings = ("asks for",)

    def __init__(
        self,
        annotations: str | Path | None = None,
        data_dir: str | Path | None = None,
        video_root: str | Path | None = None,
        *,
        context: bool = True,
    ) -> None:
        super().__init__(annotations, data_dir, video_root)
        self._context = context

    def load(self, path: Path) -> Iterable[Sample[int]]:
        """The questions in their order.

        Raises:
            DataError: not such a file, or malformed.
        """
        value = read_json(path)
        if not isinstance(value, list):
            raise DataError(f"{path} must be a JSON list of questions, got {type(value).__name__}")
        for number, row in enumerate(value, start=1):
            yield self._sample(f"{path}: question {number}", row)

    def _sample(self, where: str, row: Any) -> Sample[int]:
        if isinstance(row, Mapping) and all(isinstance(row.get(key), str) for key in _PROBE):
            return self._probe(where, row)
        if isinstance(row, Mapping) and all(isinstance(row.get(key), str) for key in _NET):
            return self._net(where, row)
        keys = ", ".join(sorted(map(str, row))) if isinstance(row, Mapping) else type(row).__name__
        copa = "; this is COPA: use the benchmark copa" if isinstance(row, Mapping) and "choice_0" in row else ""
        raise DataError(f"{where} needs choice_1 … choice_4 (or choice_id0 … choice_id2), got {keys}{copa}")

    def _probe(self, where: str, row: Mapping[str, Any]) -> Sample[int]:
        options = [row[key] for key in _PROBE]
        one, two, three, four = options
        article = f"Context: {_text(where, row, 'context')}\n" if self._context else ""
        question = (
            f"{article}Question: {_text(where, row, 'question')}\nAnswer Choices:\n"
            f"1. {one}\n2. {two}\n3.{three}\n4.{four}\nPick one choice and do not explain. Answer:"
        )
        truth = row.get("answer")
        target = None if isinstance(truth, list) else _place(where, truth, 1, len(options))
        return text_sample(str(row.get("id")), question, options, target, {}, first=1, truth=truth)

    def _net(self, where: str, row: Mapping[str, Any]) -> Sample[int]:
        options = [row[key] for key in _NET]
        zero, one, two = options
        asked = _text(where, row, "ask-for")
        question = (
            f"Context: {_text(where, row, 'context')}\nQuestion: what is the {asked}?\nAnswer Choices:\n"
            f"0. {zero}\n1. {one}\n2.{two}\nPick one choice and do not explain. Answer:"
        )
        target = _place(where, row.get("label"), 0, len(options))
        groups = {"asks for": asked}
        return text_sample(str(row.get("index")), question, options, target, groups, first=0, truth=row["label"])

    def parse(self, sample: Sample[int], reply: str) -> int | None:
        """The number a sane reader finds, see :func:`~vidcausal.benchmarks.text._answers.parse_number`."""
        return parse_number(reply, int(sample.meta["first"]), sample.options)

    def read_submission(self, path: Path) -> Rows:
        """Published results (rows with ``output``), or our rows."""
        return read_results(path)

    def official(self, predictions: Sequence[Prediction[int]], notes: list[str]) -> dict[str, Any]:
        """See :func:`~vidcausal.benchmarks.text._digits.digit_scores`."""
        return digit_scores(predictions, notes)


def _text(where: str, row: Mapping[str, Any], key: str) -> str:
    if not isinstance(row.get(key), str):
        raise DataError(f"{where} needs the text {key!r}, got {row.get(key)!r}")
    return str(row[key])


def _place(where: str, answer: Any, first: int, count: int) -> int | None:
    """The 0-based option of an answer; None where no option has that number."""
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise DataError(f"{where} needs an answer from {first} to {first + count - 1}, got {answer!r}")
    return answer - first if first <= answer < first + count else None
