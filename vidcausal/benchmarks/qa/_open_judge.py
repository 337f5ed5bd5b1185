"""A language model as the judge of open-ended answers, the way of Video-ChatGPT: yes or no, and a score from 0 to 5.

The prompt and the counting are those of mbzuai-oryx/Video-ChatGPT quantitative_evaluation/evaluate_activitynet_qa.py,
which most papers with "Acc./Score" on MSVD-QA, MSRVTT-QA, TGIF-QA and ActivityNet-QA used with gpt-3.5-turbo. Another
judge gives other numbers: say which one it was. Differences, all of them needed outside that script:

* One prompt instead of a system and a user message, for any :class:`~vidcausal.protocols.TextChat`.
* A verdict is read with a regular expression, never evaluated as Python. The script asks again until it can evaluate
  the reply; here a reply without a verdict is asked for ``attempts`` times and is then "not judged": wrong, score 0.
* ``int(score)`` cuts 4.8 to 4, as there.

Nothing in here reaches a model by itself: a judge is an object that somebody passes in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vidcausal.errors import DataError, OutputError
from vidcausal.parsing import without_thoughts
from vidcausal.protocols import TextChat

_INSTRUCTIONS = (
    "You are an intelligent chatbot designed for evaluating the correctness of generative outputs for question-answer "
    "pairs. Your task is to compare the predicted answer with the correct answer and determine if they match "
    "meaningfully. Here's how you can accomplish the task:------##INSTRUCTIONS: - Focus on the meaningful match "
    "between the predicted answer and the correct answer.\n"
    "- Consider synonyms or paraphrases as valid matches.\n"
    "- Evaluate the correctness of the prediction compared to the answer."
)
_REQUEST = (
    "Provide your evaluation only as a yes/no and score where the score is an integer value between 0 and 5, with 5 "
    "indicating the highest meaningful match. Please generate the response in the form of a Python dictionary string "
    "with keys 'pred' and 'score', where value of 'pred' is  a string of 'yes' or 'no' and value of 'score' is in "
    "INTEGER, not STRING.DO NOT PROVIDE ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the Python dictionary "
    "string. For example, your response should look like this: {'pred': 'yes', 'score': 4.8}."
)
_PRED = re.compile(r"""['"]?\bpred\b['"]?\s*[:=]\s*['"]?\s*([A-Za-z]+)""", re.IGNORECASE)
_SCORE = re.compile(r"""['"]?\bscore\b['"]?\s*[:=]\s*['"]?\s*(\d{1,3}(?:\.\d{1,20})?)""", re.IGNORECASE)
_LONGEST_REPLY = 4000
_MOST_TOKENS = 64


class Verdict(NamedTuple):
    """Whether an answer is right in the judge's eyes, and how well it matches, 0 to 5."""

    right: bool
    score: int


@dataclass(frozen=True)
class Case:
    """What is to be judged."""

    id: str
    question: str
    answer: str
    reply: str


def judge_prompt(case: Case) -> str:
    """What the judge is asked about one answer."""
    return (
        f"{_INSTRUCTIONS}\n\nPlease evaluate the following video-based question-answer pair:\n\n"
        f"Question: {case.question}\nCorrect Answer: {case.answer}\nPredicted Answer: {case.reply}\n\n{_REQUEST}"
    )


def parse_verdict(reply: str) -> Verdict | None:
    """The verdict in a judge's reply, None where it gives none.

    ``{'pred': 'yes', 'score': 4}``, also as JSON, in a code block or with words around it. "yes" wins where ``pred``
    says both, as published; a score beyond 0 to 5 is no verdict.
    """
    text = without_thoughts(reply)[-_LONGEST_REPLY:]
    said, scored = _PRED.search(text), _SCORE.search(text)
    if said is None or scored is None:
        return None
    word, score = said[1].lower(), int(float(scored[1]))
    if not 0 <= score <= 5 or not ("yes" in word or "no" in word):
        return None
    return Verdict("yes" in word, score)


def judged(
    judge: TextChat, cases: Iterable[Case], kept_in: Path | None = None, *, attempts: int = 3
) -> dict[str, Verdict | None]:
    """The verdict on each case by its id, None where the judge gave none.

    Args:
        judge: who judges.
        cases: what to judge.
        kept_in: a JSONL file of verdicts that were given before; new ones are added to it as they come. A verdict is
            taken from there when judge, question, answer and reply are the same.
        attempts: how often to ask before a case counts as not judged.

    Raises:
        DataError: ``kept_in`` is there and is not a file of verdicts.
        OutputError: ``kept_in`` cannot be written.
    """
    known = {} if kept_in is None else read_verdicts(kept_in)
    found: dict[str, Verdict | None] = {}
    for case in cases:
        key = _key(judge.name, case)
        if key not in known:
            verdict = _ask(judge, case, attempts)
            if verdict is not None:  # what was not judged is asked again next time
                known[key] = verdict
                if kept_in is not None:
                    _keep(kept_in, key, judge.name, case, verdict)
        found[case.id] = known.get(key)
    return found


def _ask(judge: TextChat, case: Case, attempts: int) -> Verdict | None:
    for _ in range(attempts):
        verdict = parse_verdict(judge.chat(judge_prompt(case), max_new_tokens=_MOST_TOKENS))
        if verdict is not None:
            return verdict
    return None


def _key(name: str, case: Case) -> str:
    told = json.dumps([name, case.question, case.answer, case.reply], ensure_ascii=False)
    return hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()


def read_verdicts(path: Path) -> dict[str, Verdict]:
    """Verdicts of an earlier run by their key; none where there is no file. Lines that were cut off are left out.

    Raises:
        DataError: the file is something else.
    """
    if not path.exists():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    found: dict[str, Verdict] = {}
    for line in filter(str.strip, lines):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            row: Any = json.loads(line)
            found[str(row["key"])] = Verdict(bool(row["right"]), int(row["score"]))
    if not found and any(map(str.strip, lines)):
        raise DataError(f"{path} is not a file of a judge's verdicts; move it away or name another file")
    return found


def _keep(path: Path, key: str, name: str, case: Case, verdict: Verdict) -> None:
    row = {"id": case.id, "judge": name, "right": verdict.right, "score": verdict.score, "key": key}
    try:
        with path.open("a+b") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 1, 0))
            ends = not size or file.read(1) == b"\n"  # a run that was killed may have left half a line
            file.write(b"" if ends else b"\n")
            file.write(json.dumps(row).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"verdicts cannot be kept in {path}: {error}") from error


def judge_figures(verdicts: Sequence[Verdict | None]) -> dict[str, Any]:
    """Accuracy in percent and mean score over all cases; what was not judged is wrong and scores 0."""
    return {
        "judge accuracy": 100 * sum(v is not None and v.right for v in verdicts) / len(verdicts),
        "judge score": sum(v.score if v is not None else 0 for v in verdicts) / len(verdicts),
    }


def published_figures(verdicts: Iterable[Verdict | None]) -> dict[str, Any]:
    """Accuracy and average score as Video-ChatGPT's script counts them: over the answers that were judged."""
    given = [verdict for verdict in verdicts if verdict is not None]
    if not given:
        return {}
    return {
        "Accuracy": sum(verdict.right for verdict in given) / len(given),
        "Average score": sum(verdict.score for verdict in given) / len(given),
    }
