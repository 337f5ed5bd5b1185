"""LVBench: 1,549 questions about 103 videos of half an hour to two hours (arXiv 2406.08035).

``rule`` names the scorer whose figures are ``official``:

* ``lvbench``: THUDM/LVBench@dd7d99db ``lvbench/metrics/compute_accuracy.py``: the answer must *be* the letter.
* ``lvbench-polished``: the same after the authors' ``polish_answer`` (``utils/answer_util.py``@1dd4612d), which they
  use to turn replies into letters: the first character after "(" or of the first word, so "The answer is (B" is B and
  "the answer is B" is t.
* ``lmms-eval``: EvolvingLMMs-Lab/lmms-eval@75571cfe, the ranked extractor; ``lmms-eval-older`` before #1274.

Shares from 0 to 1, over the questions that are answered. A question may have several types and counts in each.
Two files are read: the official ``video_info.meta.jsonl`` (videos with their questions, ids ``uid``), and
``lvbench_clean.json`` (1,519 questions; it has no ids, so they are the places in the file, counted from 0).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.qa import _lmms
from vidcausal.benchmarks.qa._suite import Given, RuledBenchmark, gold_letter, text, texts
from vidcausal.benchmarks.rows import read_values
from vidcausal.errors import DataError
from vidcausal.types import Sample

_OPTION = re.compile(r"^\s*\(([A-Z])\)\s*")


def polish(answer: str) -> str:
    """The authors' way from a reply to a letter, whatever it is then."""
    answer = answer.strip().split(")")[0].strip()
    if "(" in answer:
        answer = answer.split("(")[1].strip()
    return answer.split(" ")[0][:1]


_READERS: Mapping[str, Callable[[str], str]] = {
    "lvbench": str,
    "lvbench-polished": polish,
    "lmms-eval": _lmms.ranked,
    "lmms-eval-older": _lmms.first_letter,
}


class LvBench(RuledBenchmark):
    """Questions about very long videos, each of one or more of six types.

    Args:
        annotations: ``video_info.meta.jsonl`` or ``lvbench_clean.json``.
        data_dir: see :class:`~vidcausal.benchmarks.annotated.AnnotatedBenchmark`.
        video_root: likewise.
        rule: whose scorer ``official`` is: ``lvbench``, ``lvbench-polished``, ``lmms-eval`` or ``lmms-eval-older``.
    """

    name = "lvbench"
    files = ("video_info.meta.jsonl", "lvbench_clean.json")
    source = "huggingface.co/datasets/THUDM/LVBench, video_info.meta.jsonl"
    groupings = ("question type", "video type")
    submission = 'the official answers ({uid: "A"})'
    overall = "acc"
    rules = {
        "lvbench": "THUDM/LVBench@dd7d99db",
        "lvbench-polished": "THUDM/LVBench@1dd4612d",
        "lmms-eval": "EvolvingLMMs-Lab/lmms-eval@75571cfe",
        "lmms-eval-older": "EvolvingLMMs-Lab/lmms-eval, before 9ca4445d",
    }

    def load(self, path: Path) -> Iterator[Sample[int]]:
        """Ids are the official ``uid``, or the place in a file that has none."""
        values, bad = read_values(path)
        if bad:
            raise DataError(f"{path}: {bad[0]}")
        for number, value in values:
            if "qa" not in value:
                yield self._sample(str(number - 1), value, f"{path}: question {number}")
                continue
            shared = {"video": value["key"], "type": value.get("type")}
            for row in value["qa"]:
                yield self._sample(str(row["uid"]), _split({**shared, **row}), f"{path}: uid {row['uid']}")

    def _sample(self, identity: str, row: Mapping[str, Any], place: str) -> Sample[int]:
        listed, answer = texts(row.get("candidates"), "candidates", place), text(row.get("answer"), "answer", place)
        question, video = text(row.get("question"), "question", place), text(row.get("video"), "video", place)
        letters = [match[1] for option in listed if (match := _OPTION.match(option))]
        right = answer if len(answer) == 1 else "".join(_OPTION.findall(answer)[:1])
        if len(letters) != len(listed) or right not in letters:
            raise DataError(f"{place}: the answer {answer!r} is none of the candidates {list(listed)}")
        types = row.get("question_type") or ()
        return Sample(
            id=identity,
            task="ask",
            question="\n".join((question, *listed, "Answer the question with the option letter")),
            media=self.media(video),
            target=letters.index(right),
            options=tuple(_OPTION.sub("", option) for option in listed),
            meta={"video": video, "groups": {"question type": tuple(types), "video type": row.get("type")}},
        )

    def submitted(self, value: Any) -> Iterable[dict[str, Any]]:
        """Rows of the official answers."""
        for identity, answer in value.items():
            yield {"id": identity, "reply": text(answer, "an answer", identity)}

    def by_rule(self, rule: str, given: Given, notes: list[str]) -> dict[str, Any]:
        """Share that is right by question type, and ``acc``."""
        read = _READERS[rule]
        hits = [(p.sample.meta["groups"]["question type"], read(p.reply) == gold_letter(p.sample)) for p in given]
        shares = {}
        for kind in dict.fromkeys(kind for kinds, _ in hits for kind in kinds):
            own = [right for kinds, right in hits if kind in kinds]
            shares[kind] = sum(own) / len(own)
        return {**shares, "acc": sum(right for _, right in hits) / len(hits)}


def _split(row: Mapping[str, Any]) -> dict[str, Any]:
    """The official file has the options in the question, a line each."""
    if "candidates" in row:
        return dict(row)
    lines = str(row["question"]).split("\n")
    listed = [line.strip() for line in lines if _OPTION.match(line)]
    return {**row, "question": "\n".join(line for line in lines if not _OPTION.match(line)), "candidates": listed}
