"""Answer every sample of a benchmark and write each answer down before the next is begun.

A sample that fails is a row with its error and the run goes on; a killed run goes on where it stopped. Only what would
fail every sample alike ends a run: absent weights, an absent library, a folder that cannot be written.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import itertools
import logging
import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from vidcausal.cache import DiskCache, seed_of, write_json
from vidcausal.errors import DecodeError, MissingDependencyError, OutputError, VidcausalError, WeightsError
from vidcausal.evaluation.run_folder import RunFolder
from vidcausal.parsing import parse_order
from vidcausal.protocols import Benchmark, Redirecting, Strategy
from vidcausal.types import Media, Prediction, Reply, Sample, Scores, Span

if TYPE_CHECKING:
    from vidcausal.types import SpeechLine
    from vidcausal.video.audio import Waveform
    from vidcausal.video.footage import Footage
    from vidcausal.video.sampling import SamplingPolicy

logger = logging.getLogger(__name__)

MAX_PICTURED = 60
"""So many samples get thumbnails."""
_THUMBNAILS, _THUMBNAIL_HEIGHT = 16, 120
_ENDS_A_RUN = (WeightsError, MissingDependencyError, OutputError)


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; the message says how to continue the run."""


@dataclass(frozen=True)
class RunResult:
    """What a finished run left: its rows in the order of the samples, and their scores."""

    folder: Path
    samples: list[Sample[Any]]
    rows: list[dict[str, Any]]
    predictions: list[Prediction[Any]]
    scores: Scores
    answered_now: int
    seconds: float
    """Wall-clock seconds of this process; the seconds of the samples are in the rows."""
    cache: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Setting:
    """How the footage of a sample is opened."""

    policy: SamplingPolicy
    size: int | tuple[int, int] | None
    device: str
    backend: str
    media_root: str | Path | None
    transcribe: Callable[[Waveform], Sequence[SpeechLine]] | None

    def open(self, sample: Sample[Any]) -> Footage:
        from vidcausal.video.footage import Footage

        if not sample.media.videos:  # text only
            return Footage.empty()
        return Footage.open(
            sample.media,
            self.policy,
            size=self.size,
            device=self.device,
            backend=self.backend,
            media_root=self.media_root,
            numbered_clips=sample.task == "order",
            transcribe=self.transcribe,
        )


class _Footages:
    """Opens the footage of samples; those about one video that follow one another share it, decoded once."""

    def __init__(self, setting: _Setting) -> None:
        self._setting = setting
        self._media: tuple[Media, bool] | None = None
        self._footage: Footage | None = None

    def open(self, sample: Sample[Any]) -> Footage:
        """The footage of a sample; that of another video is let go of first."""
        media = (sample.media, sample.task == "order")
        if self._footage is None or media != self._media:
            self.close()
            self._footage, self._media = self._setting.open(sample), media
        return self._footage

    def close(self) -> None:
        """Let go of the files and frames of the last sample."""
        if self._footage is not None:
            self._footage.close()
        self._footage = self._media = None


def run(
    strategy: Strategy,
    benchmark: Benchmark[Any],
    *,
    policy: SamplingPolicy,
    output_dir: str | Path,
    identity: Mapping[str, Any],
    size: int | tuple[int, int] | None = None,
    device: str = "cpu",
    backend: str = "auto",
    limit: int | None = None,
    media_root: str | Path | None = None,
    transcribe: Callable[[Waveform], Sequence[SpeechLine]] | None = None,
    cache: DiskCache | None = None,
    seed: int = 0,
    resume: bool = True,
    retry_errors: bool = False,
    progress: bool | None = None,
    on_open: Callable[[Path], None] | None = None,
) -> RunResult:
    """Answer the samples that the folder does not have yet, then score all of them.

    Args:
        strategy: answers a sample from its footage.
        benchmark: gives the samples, reads and scores the replies.
        policy: which frames of a video are decoded.
        output_dir: the run's folder.
        identity: what decides the predictions, for :class:`RunFolder`.
        size: of the frames, ``(height, width)`` or the shorter side; None keeps the video's.
        device: where frames are decoded and kept.
        backend: a decode backend's name, or ``"auto"``.
        limit: first so many samples only.
        media_root: videos outside this folder are refused.
        transcribe: turns a waveform into lines of speech, for videos without subtitles.
        cache: its hits and misses are reported; the models hold and use it.
        seed: Python's and torch's generators are seeded with it and the sample's id before each sample, so that a
            resumed run draws what an uninterrupted one would have drawn.
        resume: False refuses a folder with predictions.
        retry_errors: True answers samples again whose row holds an error.
        progress: a bar on stderr; None shows it on a terminal only.
        on_open: called with the folder once it is known to be ours.

    Raises:
        RunInterrupted: Ctrl-C or SIGTERM; everything answered so far is on the disk.
        RunFolderError: the folder is in use or of another configuration.
        OutputError: the folder cannot be written.
        WeightsError: weights are absent or unusable.
        MissingDependencyError: a library is absent.
    """
    started = time.perf_counter()
    samples = list(itertools.islice(benchmark.samples(), limit))
    if isinstance(strategy, Redirecting):
        strategy.prepare(list(benchmark.samples()))
    footages = _Footages(_Setting(policy, size, device, backend, media_root, transcribe))
    with (
        contextlib.closing(footages),
        RunFolder(output_dir, identity, resume=resume, retry_errors=retry_errors) as folder,
        _interruptible(folder, samples),
        _log_file(folder.path / "evaluate.log"),
    ):
        if on_open is not None:
            on_open(folder.path)
        waiting = [(n, sample) for n, sample in enumerate(samples) if sample.id not in folder.done]
        logger.info("%d samples, %d of them already answered", len(samples), len(samples) - len(waiting))
        for number, sample in _bar(waiting, len(samples), progress):
            _seed(seed, sample.id)
            folder.append(_answer(strategy, sample, footages, folder, number))
        order = {sample.id: n for n, sample in enumerate(samples)}
        rows = sorted((row for row in folder.rows() if row["id"] in order), key=lambda row: order[row["id"]])
        predictions = benchmark.predictions(rows)
        return RunResult(
            folder=folder.path,
            samples=samples,
            rows=rows,
            predictions=predictions,
            scores=benchmark.score(predictions, expected=len(samples)),
            answered_now=len(waiting),
            seconds=time.perf_counter() - started,
            cache={} if cache is None else {"hits": cache.hits, "misses": cache.misses},
        )


# ---- one sample -----------------------------------------------------------------------------------------------


def _answer(
    strategy: Strategy, sample: Sample[Any], footages: _Footages, folder: RunFolder, number: int
) -> dict[str, Any]:
    """The row of a sample; its pictures are written on the way."""
    started = time.perf_counter()
    reply, failure, error, footage, before = Reply(""), None, None, None, {}
    try:
        footage = footages.open(strategy.shown(sample) if isinstance(strategy, Redirecting) else sample)
        before = footage.decode_report()
        reply = strategy.answer(sample, footage)
    except _ENDS_A_RUN:
        raise
    except Exception as problem:
        failure, error = problem, _error(problem)
        logger.warning("%s: %s: %s", sample.id, error["code"], error["message"])
        logger.debug("%s failed", sample.id, exc_info=True)
    elapsed = time.perf_counter() - started
    decoding = _decode_seconds(footage, before)
    if number < MAX_PICTURED:
        undecodable = isinstance(failure, DecodeError)  # not a second time: it may have taken until its deadline
        _picture(folder, sample, None if undecodable else footage, number)
    decode = _decode_report(footage)
    if "num_frames" in before:
        decode |= {"seconds": 0.0, "shared": True}  # decoded for an earlier question about the same video
    seconds = {
        "decode": round(_decode_seconds(footage, before), 3),
        "answer": round(max(0.0, elapsed - decoding), 3),
    }
    if failure is not None:
        footages.close()  # the next question about this video starts afresh
    return _row(sample, reply, decode, seconds, error)


def _row(
    sample: Sample[Any],
    reply: Reply,
    decode: Mapping[str, Any],
    seconds: Mapping[str, float],
    error: Mapping[str, str] | None,
) -> dict[str, Any]:
    row = {
        "id": sample.id,
        "reply": reply.text,
        "steps": [dataclasses.asdict(step) for step in reply.steps],
        "records": [record.to_json() for record in reply.records],
        "order": None if reply.order is None else list(reply.order),
        **_written(sample, reply),
        "spans": [[span.start, span.end, span.score] for span in reply.spans],
        "option": reply.option,
        "option_scores": list(reply.option_scores),
        "notes": list(reply.notes),
        "decode": dict(decode),
        "seconds": dict(seconds),
        "error": error,
    }
    return {key: plain(value) for key, value in row.items()}


def _written(sample: Sample[Any], reply: Reply) -> dict[str, Any]:
    """For an order: what the strict parser reads in the text, beside what was scored."""
    if sample.task != "order" or not isinstance(sample.target, (tuple, list)):
        return {}
    read = parse_order(reply.text, len(sample.target))
    return {"written_order": None if read is None else list(read)}


def _error(problem: Exception) -> dict[str, str]:
    text = " ".join(str(problem).split())
    if isinstance(problem, VidcausalError):
        return {"code": problem.code, "message": text}
    kind = type(problem).__name__
    code = "out_of_memory" if isinstance(problem, MemoryError) or kind == "OutOfMemoryError" else "unexpected"
    return {"code": code, "message": f"{kind}: {text}" if text else kind}


def _decode_report(footage: Footage | None) -> dict[str, Any]:
    return {} if footage is None else footage.decode_report()


def _decode_seconds(footage: Footage | None, before: Mapping[str, Any]) -> float:
    """Seconds of decoding since the footage reported ``before``."""
    return max(0.0, float(_decode_report(footage).get("seconds", 0.0)) - float(before.get("seconds", 0.0)))


def _picture(folder: RunFolder, sample: Sample[Any], footage: Footage | None, number: int) -> None:
    """Write ``media/<number>.json``: the question, the clips and thumbnails. A picture never fails a sample."""
    media: dict[str, Any] = {"id": sample.id, "sample": _question(sample), "duration": 0.0, "clips": [], "frames": []}
    if footage is not None:
        try:
            media["duration"] = footage.duration
            media["frames"] = [
                {"seconds": round(seconds, 3), "jpeg": base64.b64encode(jpeg).decode("ascii")}
                for seconds, jpeg in footage.thumbnails(_THUMBNAILS, _THUMBNAIL_HEIGHT)
            ]
            media["clips"] = [
                {"number": clip.number, "start": clip.span.start, "end": clip.span.end} for clip in footage.clips
            ]
        except Exception as problem:
            logger.debug("no pictures of %s: %s", sample.id, problem)
    write_json(folder.path / f"media/{number:03d}.json", plain(media))


def _question(sample: Sample[Any]) -> dict[str, Any]:
    return {
        "task": sample.task,
        "question": sample.question,
        "goal": sample.goal,
        "videos": list(sample.media.videos),
        "options": list(sample.options),
        "target": _target(sample.target),
        "captions": [r.caption for r in sample.meta.get("oracle_records", ())] if sample.task == "events" else [],
    }


def _target(target: Any) -> Any:
    """Spans as ``[start, end]``, everything else as it is."""
    if isinstance(target, Span):
        return [target.start, target.end]
    return [_target(item) for item in target] if isinstance(target, (tuple, list)) else target


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: tuples as lists, what is not finite as null, numpy's numbers as Python's."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


# ---- around the samples ---------------------------------------------------------------------------------------


def _seed(seed: int, sample_id: str) -> None:
    import torch

    drawn = seed_of(str(seed), sample_id)
    random.seed(drawn)
    torch.manual_seed(drawn)


def _bar(
    waiting: Sequence[tuple[int, Sample[Any]]], total: int, progress: bool | None
) -> Iterator[tuple[int, Sample[Any]]]:
    from tqdm import tqdm

    disable = None if progress is None else not progress
    with tqdm(total=total, initial=total - len(waiting), unit="sample", disable=disable, dynamic_ncols=True) as bar:
        for item in waiting:
            yield item
            bar.update()


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Everything the package logs while the run lasts, in the run's folder."""
    root = logging.getLogger("vidcausal")
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise OutputError.at(path, error, "choose another output_dir") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = root.level
    root.addHandler(handler)
    if root.getEffectiveLevel() > logging.INFO:
        root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()


@contextlib.contextmanager
def _interruptible(folder: RunFolder, samples: Sequence[Sample[Any]]) -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does, and both say how to continue it."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if in_main else None
    try:
        yield
    except KeyboardInterrupt as error:
        have = sum(sample.id in folder.done for sample in samples)
        raise RunInterrupted(
            f"stopped after {have} of {len(samples)} samples; continue with the same command and "
            f"output_dir={folder.path}"
        ) from error
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
