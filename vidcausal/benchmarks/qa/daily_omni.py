"""Daily-Omni: what is seen and what is heard at the same time, in clips of 30 and 60 seconds (arXiv 2505.17862).

The authors test each model with a script of its own (Lliar-liar/Daily-Omni@fccb8380 ``test_model/*/testmodel.py``), and
the scripts judge differently; ``rule`` names the one whose figures are ``official``:

* ``qwen2.5-omni``: what follows the first "assistant", if there is one; a reply that begins with A to D, in either
  case, is that letter ("Because" is B), any other reply must be the letter itself, which it cannot be.
* ``qwen2.5-vl``: the same without "assistant".
* ``ola``: the reply must begin with the right letter, in either case, without blanks before it.
* ``baseline``: the same with blanks before it (``baseline/base_model.py``).

Questions without a reply leave the denominators. Percent with two decimals, as printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.qa._suite import Given, RuledBenchmark, entries, gold_letter, group_of, grouped, text, texts
from vidcausal.errors import DataError
from vidcausal.types import Media, Sample

_GROUPINGS: Mapping[str, str] = {
    "QA Type": "Type",
    "Video Category": "video_category",
    "Video Duration": "video_duration",
}
_REPLY_KEYS = ("reply", "response", "prediction", "model_answer")
_OPTION = re.compile(r"^[A-D]\.\s*")
_PROMPT = """
Your task is to accurately answer multiple-choice questions based on the given video.
Select the single most accurate answer from the given choices.
Question: {question}
Choices: {choices}
Your answer should be a capital letter representing your choice: A, B, C, or D. Don't generate any other text.
"""


class DailyOmni(RuledBenchmark):
    """1,197 questions about what happens in picture and sound.

    Args:
        annotations: ``qa.json``.
        data_dir: see :class:`~vidcausal.benchmarks.annotated.AnnotatedBenchmark`.
        video_root: likewise; a video is ``ID/ID_video.mp4`` as published, or ``ID.mp4``.
        rule: whose scorer ``official`` is: ``qwen2.5-omni``, ``qwen2.5-vl``, ``ola`` or ``baseline``.
    """

    name = "dailyomni"
    files = ("qa.json",)
    source = "github.com/Lliar-liar/Daily-Omni, qa.json"
    groupings = tuple(_GROUPINGS)
    submission = "qa.json with a response (or prediction, model_answer) in each question"
    overall = "Overall Accuracy"
    rules = dict.fromkeys(("qwen2.5-omni", "qwen2.5-vl", "ola", "baseline"), "Lliar-liar/Daily-Omni@fccb8380")

    def load(self, path: Path) -> Iterator[Sample[int]]:
        """The file has no ids: they are the places in it, counted from 0."""
        for number, row in enumerate(entries(path)):
            place = f"{path}: question {number + 1}"
            listed, answer = texts(row.get("Choice"), "Choice", place), text(row.get("Answer"), "Answer", place)
            question, video = text(row.get("Question"), "Question", place), text(row.get("video_id"), "video_id", place)
            right = "ABCDEFGH".find(answer) if len(answer) == 1 else -1
            if not 0 <= right < len(listed):
                raise DataError(f"{place}: the answer {answer!r} is no letter of its {len(listed)} choices")
            yield Sample(
                id=str(number),
                task="ask",
                question=_PROMPT.format(question=question, choices=list(listed)),
                media=self._video(video),
                target=right,
                options=tuple(_OPTION.sub("", option) for option in listed),
                meta={"video": video, "groups": {name: row.get(key) for name, key in _GROUPINGS.items()}},
            )

    def _video(self, video: str) -> Media:
        published = self.media(f"{video}/{video}_video")
        plain = self.media(video)
        return plain if Path(plain.videos[0]).is_file() else published

    def submitted(self, value: Any) -> Iterable[dict[str, Any]]:
        """A question of qa.json with a reply; it is found by its video and its words."""
        key = next((key for key in _REPLY_KEYS if key in value), None)
        if key is None:
            raise DataError(f"a question needs one of {', '.join(_REPLY_KEYS)}, got {', '.join(sorted(value))}")
        asked = [
            sample.id
            for sample in self._samples
            if sample.meta["video"] == value["video_id"] and f"\nQuestion: {value['Question']}\n" in sample.question
        ]
        yield {**value, "id": asked[0] if asked else f"{value['video_id']}?", "reply": value[key]}

    def by_rule(self, rule: str, given: Given, notes: list[str]) -> dict[str, Any]:
        """Overall, by type of question, category and duration of the video."""
        right = _RIGHT[rule]
        judged = {id(p): right(p.reply, gold_letter(p.sample)) for p in given}
        figures: dict[str, Any] = {"Overall Accuracy": _printed([judged[id(p)] for p in given])}
        for name in _GROUPINGS:
            own = grouped(given, partial(group_of, grouping=name))
            figures[name] = {group: _printed([judged[id(p)] for p in own[group]]) for group in sorted(own)}
        return figures


def _printed(hits: list[bool]) -> float:
    return float(f"{100 * sum(hits) / len(hits):.2f}")


def _begins(reply: str, gold: str) -> bool:
    found = re.match(r"\s*([A-D])", reply.strip(), re.IGNORECASE)
    return found is not None and found[1].upper() == gold


def _omni(reply: str, gold: str) -> bool:
    if found := re.search(r"assistant\s*([\s\S]*)$", reply):
        reply = found[1].strip()
    # What does not begin with a letter is compared as a whole: "b" would, so nothing is left that could be right.
    return _begins(reply, gold)


_RIGHT: Mapping[str, Callable[[str, str], bool]] = {
    "qwen2.5-omni": _omni,
    "qwen2.5-vl": _begins,
    "ola": lambda reply, gold: reply.upper().startswith(gold),
    "baseline": lambda reply, gold: reply.strip().upper().startswith(gold),
}
