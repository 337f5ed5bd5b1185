"""MMVU: expert knowledge in 27 subjects, asked about videos; choices and written answers (arXiv 2501.12380).

Official scorer: yale-nlp/MMVU@4d54223d ``acc_evaluation.py``. It asks GPT-4o at temperature 1 whether each reply is
right, also where there are options, and a judgment that fails is wrong. So:

* Rows with a ``correct`` (the judge's own output) give the official ``accuracy``, a share of the rows.
* Without them ``official`` is what can be had without a judge: the rules that lmms-eval@75571cfe ``tasks/mmvu`` goes
  through first. Choices are judged by the rules alone; written answers that no rule takes would go to GPT-4o there and
  are wrong here; a note says how many. Quirks of the rules: any lone letter equal to the answer counts wherever it
  stands ("A or B" is right for A and for B), so do the option's text and, where the letter occurs at all, one of its
  words; for written answers a reply *inside* the answer is right, also an empty one.

The strict score takes a written answer for right when the reply, or what follows its last "answer:", is the answer but
for case, blanks and punctuation.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.qa._suite import CRASHES, Given, SuiteBenchmark, entries, group_of, stop_note, text
from vidcausal.errors import DataError
from vidcausal.parsing import normalize_answer, parse_choice
from vidcausal.types import Sample

_DISCIPLINES: Mapping[str, tuple[str, ...]] = {
    "Science": (
        "Biology",
        "Chemistry",
        "Modern_Physics",
        "Astronomy",
        "Geography",
        "Materials_Science",
        "Neurobiology",
        "Electromagnetism",
        "Thermodynamics",
        "Mechanics",
    ),
    "Engineering": (
        "Civil_Engineering",
        "Electrical_Engineering",
        "Mechanical_Engineering",
        "Biomedical_Engineering",
        "Electronics_and_Communication",
        "Computer_Science",
    ),
    "Healthcare": ("Clinical_Medicine", "Basic_Medicine", "Preventive_Medicine", "Pharmacy", "Dentistry"),
    "Humanities_and_Social_Science": ("Art", "Literature", "History", "Law", "Economics", "Management"),
}
_DISCIPLINE_OF = {subject: name for name, subjects in _DISCIPLINES.items() for subject in subjects}
_CHOICE_PROMPT = (
    "\nQuestion: {question}\n{options}\n\nDo not generate any intermediate reasoning process. Answer directly with the "
    "option letter from the given choices.\n"
)
_WRITTEN_PROMPT = (
    "\nQuestion: {question}\n\nDo not generate any intermediate reasoning process. Directly output the final short "
    "answer.\n"
)
_CUE = re.compile(r"(?i)\banswer(?:\s+is)?\s*:")
_WRONG = -1


class Mmvu(SuiteBenchmark):
    """1,000 questions of the validation split: 625 with five options, 375 with a written answer."""

    name = "mmvu"
    files = ("validation.json",)
    source = "github.com/yale-nlp/MMVU, data/validation.json"
    groupings = ("question type", "discipline", "subject")
    submission = 'the official outputs ([{"id", "response", …}]), with the judge\'s "correct" where it has run'

    # ---- samples -------------------------------------------------------------------------------------------------

    def load(self, path: Path) -> Iterator[Sample[int]]:
        """Ids are the official ones."""
        for number, row in enumerate(entries(path), start=1):
            yield self._sample(row, f"{path}: question {number}")

    def _sample(self, row: Mapping[str, Any], place: str) -> Sample[int]:
        kind, question = row.get("question_type"), text(row.get("question"), "question", place)
        answer, video = text(row.get("answer"), "answer", place), text(row.get("video"), "video", place)
        choices = dict(row["choices"]) if kind == "multiple-choice" else {}
        if kind not in ("multiple-choice", "open-ended") or (choices and answer not in choices):
            raise DataError(f"{place}: no multiple-choice or open-ended question with an answer ({kind!r}, {answer!r})")
        listed = "\n".join(f"{letter}: {choice}" for letter, choice in choices.items())
        prompt = (_CHOICE_PROMPT if choices else _WRITTEN_PROMPT).format(question=question, options=listed)
        folder = video.split("/")[-2]
        return Sample(
            id=text(row.get("id"), "id", place),
            task="ask",
            question=prompt,
            media=self.media("/".join(video.split("/")[-2:])),
            target=list(choices).index(answer) if choices else 0,
            options=tuple(str(choice) for choice in choices.values()),
            meta={
                "video": video,
                "groups": {
                    "question type": kind,
                    "discipline": _DISCIPLINE_OF.get(folder),
                    "subject": row["metadata"]["subject"],
                },
                "answer": answer,
                "choices": choices,
            },
        )

    # ---- replies -------------------------------------------------------------------------------------------------

    def parse(self, sample: Sample[int], reply: str) -> int | None:
        """The option; of a written answer 0 when it is the right one, -1 when it is another one."""
        if sample.options:
            return parse_choice(reply, len(sample.options), sample.options)
        wanted = normalize_answer(sample.meta["answer"])
        said = [normalize_answer(part) for part in (reply, _CUE.split(reply)[-1])]
        if not any(said):
            return None
        return sample.target if wanted in said else _WRONG

    def submitted(self, value: Any) -> Iterable[dict[str, Any]]:
        """A row of the official outputs, or of what the judge wrote."""
        yield {**value, "id": value["id"], "reply": value["response"]}

    # ---- official ------------------------------------------------------------------------------------------------

    def official(self, predictions: Given, notes: list[str]) -> dict[str, Any]:
        """``accuracy`` by the judge's verdicts, or lmms-eval's figures by its rules."""
        rows = [p.extra["row"] for p in predictions]
        if rows and all(isinstance(row.get("correct"), bool) for row in rows):
            return {"accuracy": sum(row["correct"] for row in rows) / len(rows)}
        given = [p for p in predictions if p.error is None]
        try:
            return self._by_rules(given, notes)
        except CRASHES as error:
            notes.append(stop_note(error))
            return {}

    def _by_rules(self, given: Given, notes: list[str]) -> dict[str, Any]:
        hits: dict[str, list[bool]] = {discipline: [] for discipline in _DISCIPLINES}
        unsure = 0
        for p in given:
            right = matches(p.sample.meta["choices"], p.sample.meta["answer"], p.reply)
            unsure += not right and not p.sample.options
            if p.sample.meta["groups"]["discipline"] is not None:
                hits[group_of(p.sample, "discipline")].append(right)
        notes.append(
            "the authors' scorer asks GPT-4o; these are lmms-eval's rules without a judge"
            + (f" ({unsure} written answers match no rule and would be judged)" if unsure else "")
        )
        every = [right for own in hits.values() for right in own]
        shares = {f"{name} accuracy": 100 * sum(own) / len(own) if own else 0 for name, own in hits.items()}
        return {"Average Accuracy": 100 * sum(every) / len(every), **shares}


# ---- lmms-eval's rules ----------------------------------------------------------------------------------------------

_POWERS = {ord(power): f"^{digit}" for digit, power in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_NUMBER = re.compile(r"\d+\.?\d*")
_ORDER = re.compile(r"o\s*\([^)]+\)")
_NEAR = 0.01


def matches(choices: Mapping[str, str], answer: str, reply: str) -> bool:
    """Whether a rule takes the reply for right; ``choices`` are empty where the answer is written."""
    if choices:
        return _matches_choice(choices, answer.strip(), reply.strip())
    said, wanted = (" ".join(given.strip().lower().translate(_POWERS).split()) for given in (reply, answer))
    if wanted in said or said in wanted or _same_number(said, wanted) or _same_words(said, wanted):
        return True
    orders = [_ORDER.search(given) for given in (said, wanted)]
    return None not in orders and len({found[0] for found in orders if found}) == 1


def _matches_choice(choices: Mapping[str, str], answer: str, reply: str) -> bool:
    if re.search(rf"\b{re.escape(answer)}\b", reply, re.IGNORECASE):
        return True
    if answer not in choices:
        return False
    option, said = choices[answer].strip().lower(), reply.lower()
    if option in said:
        return True
    return answer.upper() in reply.upper() and any(word in said for word in _words(option) if len(word) > 2)


def _same_number(said: str, wanted: str) -> bool:
    first, second = _NUMBER.findall(said), _NUMBER.findall(wanted)
    return bool(first and second) and abs(float(second[0]) - float(first[0])) < _NEAR


def _same_words(said: str, wanted: str) -> bool:
    words, spoken = [word for word in _words(wanted) if word], _words(said)
    return 2 <= len(words) <= 5 and all(word in spoken for word in words if len(word) > 2)


def _words(given: str) -> list[str]:
    return [word.strip(string.punctuation) for word in given.split()]
