"""The main job on one screen: a video turned into events, an order, moments and answers, with a report.

With a video of the user's, its own events are cut out, shuffled and put in order again, so that the truth is known.
Without one, the native model, which ships with the package, looks at a video of each drawn world; where the embedded
model is on this machine, or another one is named, that one looks at the bundled input: a real clip (hands take bottles
away and put them back, CC BY 4.0), a real city clip (CC0) and a procedure that the package draws itself.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vidcausal import api
from vidcausal.cache import DiskCache, write_json
from vidcausal.errors import MissingWeightsError, OutputError, VidcausalError, WeightsError
from vidcausal.types import Event, Reply, Sample, Span

if TYPE_CHECKING:
    from vidcausal.evaluation.results import Report
    from vidcausal.video.footage import Footage

logger = logging.getLogger(__name__)

MARKER = "demo.json"
"""Written into every demo folder; only a folder that has it is emptied by the next demo."""
_OURS = ("predictions.jsonl", "report.json", "report.html", "questions.json", "evaluate.log", "run.json", ".lock")
_OUR_FOLDERS = ("media", "inputs", "real", ".hydra")
NATIVE, EMBEDDED = "native-small", "embedded"
REAL = "real"
"""Folder, within the demo's, of the part on real clips."""
REPLY_TOKENS = 128
"""Longest reply of the language model: enough for an order or an answer."""
PIECES = 5
"""Most pieces that a user's video is cut into for the ordering task."""
PIECE_SECONDS = (0.8, 4.0)
"""Shortest and longest piece."""


def run_demo(
    video: str | Path | None = None,
    out: str | Path = "runs/demo",
    *,
    model: Any = None,
    reasoner: Any = None,
    goal: str = "",
    query: str = "",
    question: str = "",
    options: Sequence[str] = (),
    candidates: Sequence[str] = (),
    transcribe: str | None = None,
    device: str = "cpu",
    download: bool | None = None,
    seed: int = 0,
    progress: bool | None = None,
    on_part: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Run the main job and write ``report.html`` and ``report.json`` to ``out``.

    Args:
        video: the user's file; None takes drawn videos for the native model and bundled ones for any other.
        out: folder of the report; an earlier demo in it is replaced, any other content is refused.
        model: a model or its name. None: with a ``reasoner`` the embedded one; for a ``video`` the embedded one where
            it is on this machine, else the native one; else the native one on drawn videos, and then, where it is on
            this machine, the embedded one on the bundled clips, in the folder ``real`` within ``out``.
        reasoner: a model or its name that reasons over the records.
        goal: what is done in the video, for the ordering task.
        query: what to find in the video; None takes the event the model is surest of.
        question: what to ask about the video.
        options: answers to choose from.
        candidates: captions that a matching recognizer may choose from, for the user's video.
        transcribe: speech weights by name, for example ``whisper-tiny-en``.
        device: where models run.
        download: fetch weights that are not on this machine; None does so only where a model or a reasoner is named.
        seed: of the shuffle and of the drawn procedure.
        progress: a bar on stderr; None shows it on a terminal only.
        on_part: called with what was found on drawn videos before real clips, which take longer, are looked at.

    Returns:
        What was found, as plain values: ``title``, ``model``, ``caveat``, ``report``, ``report_json``, ``scores``,
        ``answers`` (a list, one a question), ``num_errors``, ``note`` (what was left out and how to get it), and under
        ``real`` the same of the part on real clips where there is one.

    Raises:
        OutputError: ``out`` cannot be written or holds something that is not a demo.
        MediaError: the video cannot be used.
        WeightsError: weights are absent and cannot be fetched.
    """
    api.check_options(options)
    folder = _claimed(Path(out))
    if video is not None:  # before an earlier report is taken away and a model is loaded
        logger.info("%s: %.3f s", video, api.open_video(video).info.duration)
    fetch = download if download is not None else model is not None or reasoner is not None
    looks = _chosen(model, reasoner, video, device, fetch)
    _clear(folder)
    given: dict[str, Any] = {"device": device, "download": fetch, "cache": DiskCache()}
    job = _Job(reasoner, transcribe, given, seed, progress)
    if video is not None:
        texts = {"goal": goal, "query": query, "question": question}
        return _on_a_video(folder, looks, job, Path(video), texts, options, candidates)
    if looks.native is None:
        return _on_real_clips(folder, looks.other, job)
    found = _on_worlds(folder, looks.native, job) | {"note": looks.note}
    _remark(folder, found)
    if looks.other is not None:
        if on_part is not None:
            on_part(found)
        found["real"] = _on_real_clips(folder / REAL, looks.other, job)
        _remark(folder, found)
    return found


class _Looks(NamedTuple):
    """Which models look: the native one, another one, or both; what is missing and how to get it."""

    native: Any
    other: Any
    note: str = ""


class _Job(NamedTuple):
    """What every part of a demo is given."""

    reasoner: Any
    transcribe: str | None
    given: dict[str, Any]
    seed: int
    progress: bool | None

    def evaluate(self, folder: Path, model: Any, benchmark: Any, **more: Any) -> Report:
        """Answer and score a benchmark, and write its report."""
        return api.evaluate(
            ByTask(model, self.reasoner, **self.given),
            benchmark,
            output_dir=folder,
            transcribe=self.transcribe,
            seed=self.seed,
            progress=self.progress,
            **self.given,
            **more,
        )


def _chosen(model: Any, reasoner: Any, video: Any, device: str, fetch: bool) -> _Looks:
    """The models, loaded: nothing is taken away and nothing is made before they are there."""
    if model is not None or reasoner is not None:
        named = model if model is not None else EMBEDDED
        built = api.create_model(named, device=device, download=fetch) if isinstance(named, str) else named
        return _Looks(built, None) if _is_native(built) else _Looks(None, built)
    native = None if video is not None else api.create_model(NATIVE, device=device)
    try:
        return _Looks(native, api.create_model(EMBEDDED, device=device, download=fetch))
    except WeightsError as error:
        if fetch:
            raise
        reason = "is not on this machine" if isinstance(error, MissingWeightsError) else f"cannot be used ({error})"
    native = native or api.create_model(NATIVE, device=device)
    again = "vidcausal demo --download" if video is None else "vidcausal demo VIDEO --download"
    what = "the part on real clips was left out; " if video is None else ""
    note = f"{what}the embedded model, which is made for real video, {reason}; 260 MB, once: {again}"
    return _Looks(native, None, note[0].upper() + note[1:])


def _is_native(model: Any) -> bool:
    from vidcausal.models.native import NativeModel

    return isinstance(model, NativeModel)


def _on_worlds(folder: Path, model: Any, job: _Job) -> dict[str, Any]:
    """The native model on a video of each world. Nobody speaks in them, and it reasons by itself."""
    from vidcausal import _demo_worlds as worlds

    benchmark = worlds.FirstOfEach(worlds.make_videos(folder / "inputs"))
    alone = job._replace(reasoner=None, transcribe=None)
    report = alone.evaluate(folder, model, benchmark, **worlds.LOOK)
    questions = [worlds.as_question(sample) for sample in benchmark.samples()]
    return _summary(folder, questions, report, model, "on drawn videos") | {"rule": worlds.RULE}


def _on_real_clips(folder: Path, model: Any, job: _Job) -> dict[str, Any]:
    """A model on the bundled clips."""
    return _answered(folder, model, job, bundled_questions(folder / "inputs", job.seed), "on the bundled clips")


def _on_a_video(
    folder: Path,
    looks: _Looks,
    job: _Job,
    video: Path,
    texts: dict[str, str],
    options: Sequence[str],
    candidates: Sequence[str],
) -> dict[str, Any]:
    """A model on the user's video."""
    from vidcausal._demo_worlds import LOOK

    model = looks.native if looks.other is None else looks.other
    look = LOOK if looks.other is None else {}
    known = {key: job.given[key] for key in ("device", "cache")} | look
    found = api.events(video, model=model, goal=texts["goal"], candidates=candidates, **known)
    questions = video_questions(video, found, folder / "inputs", texts, options, candidates, job.seed)
    result = _answered(folder, model, job, questions, f"on {video.name}", **look) | {"note": looks.note}
    _remark(folder, result)
    return result


def _answered(
    folder: Path, model: Any, job: _Job, questions: list[dict[str, Any]], where: str, **look: Any
) -> dict[str, Any]:
    """What a model answers to questions in the format of the benchmark ``questions``."""
    write_json(folder / "questions.json", questions, indent=1)
    report = job.evaluate(folder, model, "questions", annotations=folder / "questions.json", **look)
    return _summary(folder, questions, report, model, where)


def _remark(folder: Path, found: dict[str, Any]) -> None:
    """Say on the page how the videos were chosen, where the part on real clips is, or how to get it."""
    from vidcausal.report.html import write_report

    remarks = [{"text": found[key]} for key in ("rule", "note") if found.get(key)]
    if "real" in found:
        remarks.append({"text": f"The same job on real clips: {found['real']['model']}", "href": f"{REAL}/report.html"})
    if remarks:
        path = folder / "report.json"
        write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"remarks": remarks}, indent=1)
        write_report(folder)


class ByTask:
    """The strategies that the commands use by default: ``rrd`` for order and events, ``direct`` for ask and ground."""

    name = "rrd and direct"

    def __init__(self, model: Any, reasoner: Any, **given: Any) -> None:
        given["max_new_tokens"] = REPLY_TOKENS
        self.rrd = api.create_strategy("rrd", model=model, reasoner=reasoner, **given)
        self.direct = api.create_strategy("direct", model=model, reasoner=reasoner, **given)
        self.model = model

    def answer(self, sample: Sample[Any], footage: Footage) -> Reply:
        """Answer with the strategy of the sample's task."""
        chosen = self.direct if sample.task in ("ask", "ground") else self.rrd
        return chosen.answer(sample, footage)


def _claimed(folder: Path) -> Path:
    """``folder``, marked as ours.

    Raises:
        OutputError: it holds something else, or cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise OutputError(f"{folder} is not empty and no earlier demo; name another folder with --out")
    write_json(folder / MARKER, {"made_by": "vidcausal demo"})
    return folder


def _clear(folder: Path) -> None:
    """Take away what an earlier demo left."""
    for name in _OURS:
        (folder / name).unlink(missing_ok=True)
    for name in _OUR_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)


# ---- the bundled input ----------------------------------------------------------------------------------------


def asset(name: str) -> Path:
    """Path of a file in ``vidcausal/assets``."""
    return Path(str(resources.files("vidcausal"))) / "assets" / name


def bundled_questions(inputs: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Questions about the bundled clips, with the answers; the procedure is drawn into ``inputs``."""
    from vidcausal.video.procedure import write_shuffled_procedure

    inputs.mkdir(parents=True, exist_ok=True)
    lemonade = write_shuffled_procedure(inputs / "lemonade.mp4", seed)
    bottles, city = str(asset("bottles.mp4")), str(asset("city.mp4"))
    steps = sorted(lemonade.captions)
    return [
        {"id": "lemonade-order", "task": "order", "video": str(lemonade.path.resolve()), "goal": lemonade.goal}
        | {"candidates": steps, "answer": list(lemonade.order)},
        {"id": "lemonade-order-own-words", "task": "order", "video": str(lemonade.path.resolve())}
        | {"goal": lemonade.goal, "answer": list(lemonade.order)},
        {"id": "bottles-events", "task": "events", "video": bottles, "goal": "Water bottles on a table"},
        {"id": "bottles-moment", "task": "ground", "video": bottles, "query": "a hand holds a bottle"}
        | {"answer": [[5.8, 7.1], [11.5, 13.5], [15.9, 18.0], [22.1, 24.6], [27.4, 29.0], [30.9, 32.2], [34.8, 37.0]]},
        {"id": "bottles-why", "task": "ask", "video": bottles, "answer": 1}
        | {"question": "Why is there only one bottle on the table after 19 seconds?"}
        | {"options": ["The bottles fell over", "A person took two bottles away", "Somebody broke the bottles"]},
        {"id": "city-events", "task": "events", "video": city, "answer": [[0.0, 4.64], [4.64, 7.6]]},
        {"id": "city-moment", "task": "ground", "video": city, "query": "a tower against a dark sky"}
        | {"answer": [[4.64, 7.6]]},
        {"id": "city-what", "task": "ask", "video": city, "question": "What does the video show?", "answer": 2}
        | {"options": ["A kitchen where food is cooked", "A beach with people", "Tall city buildings at night"]},
    ]


# ---- a video of the user's ------------------------------------------------------------------------------------


def video_questions(
    video: Path,
    events: Sequence[Event],
    inputs: Path,
    texts: dict[str, str],
    options: Sequence[str] = (),
    candidates: Sequence[str] = (),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Questions about one video: its events, its own pieces in order again, a moment, an answer.

    Args:
        video: the file.
        events: what was recognized in it.
        inputs: folder for the shuffled video.
        texts: ``goal``, ``query`` and ``question`` of the user's; empty ones are filled in from the events.
        options: answers to choose from, for the user's question.
        candidates: captions to choose from.
        seed: of the shuffle.
    """
    path = str(video.resolve())
    goal = texts["goal"]
    known = {"candidates": list(candidates)} if candidates else {}
    questions: list[dict[str, Any]] = [{"id": "events", "task": "events", "video": path, "goal": goal} | known]
    try:
        questions += _order_question(video, events, inputs, goal, known, seed)
    except VidcausalError as error:  # a damaged file may be good enough to look at and still not to cut
        logger.warning("no ordering task: %s", error)
    best = max(events, key=lambda e: e.score or 0.0, default=None)
    if wanted := texts["query"] or (best.caption if best else ""):
        questions.append({"id": "moment", "task": "ground", "video": path, "query": wanted})
    asked = texts["question"] or "What happens in the video?"
    chosen = {"options": list(options)} if options else {}
    questions.append({"id": "answer", "task": "ask", "video": path, "question": asked} | chosen)
    return questions


def pieces(events: Sequence[Event], most: int = PIECES) -> list[Span]:
    """Spans to cut out, in time order: from the longest events, trimmed to their middle."""
    shortest, longest = PIECE_SECONDS
    long_enough = [event.span for event in events if event.span.duration >= shortest]
    chosen = sorted(long_enough, key=lambda span: -span.duration)[:most]
    trimmed = []
    for span in sorted(chosen, key=lambda span: span.start):
        spare = max(0.0, span.duration - longest) / 2
        trimmed.append(Span(span.start + spare, span.end - spare))
    return trimmed


def _order_question(
    video: Path, events: Sequence[Event], inputs: Path, goal: str, known: dict[str, Any], seed: int
) -> list[dict[str, Any]]:
    from vidcausal.video.edit import Piece, join_clips

    spans = pieces(events)
    if len(spans) < 2 and events and (end := max(e.span.end for e in events)) >= 3 * PIECE_SECONDS[0]:
        spans = pieces([Event(Span(end * i / 3, end * (i + 1) / 3), "") for i in range(3)])
    if len(spans) < 2:
        logger.warning("the video is too short to be cut into pieces; there is no ordering task")
        return []
    shown = shuffled(len(spans), seed)
    inputs.mkdir(parents=True, exist_ok=True)
    target = inputs / "shuffled.mp4"
    clips = join_clips([Piece(str(video), spans[i]) for i in shown], target)
    answer = [shown.index(i) + 1 for i in range(len(spans))]
    question = {"id": "order", "task": "order", "video": str(target.resolve()), "answer": answer}
    question["clips"] = [[clip.start, clip.end] for clip in clips]  # known, whatever cards the video itself shows
    return [question | {"goal": goal or "what the video shows, from its beginning to its end"} | known]


def shuffled(count: int, seed: int) -> list[int]:
    """A permutation of ``range(count)`` that is not the identity."""
    chance = random.Random(f"demo {seed}")
    order = list(range(count))
    while order == sorted(order):
        chance.shuffle(order)
    return order


# ---- what is returned -----------------------------------------------------------------------------------------


def _summary(
    folder: Path, questions: Sequence[dict[str, Any]], report: Report, model: Any, where: str
) -> dict[str, Any]:
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    name = str(getattr(model, "name", "model"))
    return {
        "title": f"{name} {where}",
        "model": name,
        "caveat": str(getattr(model, "caveat", "")),
        "report": str(folder / "report.html"),
        "report_json": str(folder / "report.json"),
        "scores": {"strict": report.scores.strict, "scored": report.scores.scored, "chance": report.scores.chance},
        "answers": [_answer(question, rows[question["id"]]) for question in questions if question["id"] in rows],
        "num_errors": report.num_errors,
    }


def _answer(question: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    video = question.get("called") or Path(question["video"]).name
    out: dict[str, Any] = {"id": question["id"], "task": question["task"], "video": video}
    truth = question.get("answer")
    if row["error"]:
        return out | {"error": row["error"]}
    if question["task"] == "events":
        keys = ("start", "end", "caption", "confidence")
        found = [{key: record[key] for key in keys} for record in row["records"]]
        return out | {"events": found, "true": question.get("true_events")}
    if question["task"] == "order":
        right = row["order"] in question.get("valid", [truth])
        return out | {"goal": question["goal"], "order": row["order"], "true": truth, "right": right}
    if question["task"] == "ground":
        return out | {"query": question["query"], "spans": row["spans"][:3], "true": truth}
    choice = question["options"][row["option"]] if row["option"] is not None else None
    true = question["options"][truth] if truth is not None else None
    return out | {"question": question["question"], "option": choice, "true": true, "reply": row["reply"]}
