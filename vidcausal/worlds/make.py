"""A world as a folder: videos with sound, annotations, and the official formats of benchmarks.

::

    DIR/world.json           settings, "in progress" or "complete", and what was counted
    DIR/annotations.jsonl    a line a sample, in the order of the seeds; see vidcausal.worlds.annotations
    DIR/videos/{id}.mp4      H.264 (4:2:0) and AAC
    DIR/formats/{name}/      see vidcausal.worlds.formats

A making that is stopped goes on where it was when it is started again, and ends with the same bytes of annotation.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from vidcausal.cache import write_atomic
from vidcausal.errors import ConfigError, OutputError, RunFolderError, UnknownNameError
from vidcausal.worlds import _pool
from vidcausal.worlds._folder import FIRST_SEEDS, WorldFolder, story_seeds
from vidcausal.worlds.annotations import SAMPLINGS, Annotation, annotate, to_line, video_path
from vidcausal.worlds.formats import FORMATS, frame_count, load_format, vcrbench
from vidcausal.worlds.registry import create_world
from vidcausal.worlds.sound import RATE, waveform
from vidcausal.worlds.story import SPLITS

if TYPE_CHECKING:
    from vidcausal.worlds.world import World

logger = logging.getLogger(__name__)

SIZES = (32, 720)
RATES = (1.0, 30.0)
_QUALITY = 20
_DEADLINE = 900.0
"""Seconds for one video, which takes a fraction of one: a machine with much else to do is no reason to give up."""
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class MakingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; the message says how to go on."""


@dataclass(frozen=True)
class MadeWorld:
    """What is in the folder now."""

    folder: Path
    settings: dict[str, Any]
    counts: dict[str, Any]
    made_now: int
    """Videos that this call wrote; the others were there."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "folder": str(self.folder),
            **self.settings,
            "counts": self.counts,
            "made_now": self.made_now,
            "seconds": round(self.seconds, 2),
        }


def make_world(
    world: str,
    n: int,
    out: str | Path,
    *,
    seed: int = 0,
    split: str = "test",
    size: int = 224,
    fps: float = 8,
    sampling: str = "uniform",
    formats: Sequence[str] | None = None,
    jobs: int | None = None,
    force: bool = False,
    progress: bool | None = None,
) -> MadeWorld:
    """Make ``n`` samples of a world into the folder ``out``, or what is missing of them.

    The same arguments give the same annotations to the byte and the same frames, however many processes there are.

    Args:
        world: its name.
        n: how many samples, at most a million.
        out: the folder.
        seed: samples are told from the story seeds ``seed * 10**6`` onward, so different seeds share no sample.
        split: train, validation, test or composition.
        size: side of the videos in pixels, even.
        fps: frames a second.
        sampling: how clips are shuffled: ``uniform``, or ``vcrbench``: neither in the true order nor in its reversal.
        formats: names of official formats; None writes all.
        jobs: processes; None takes all cores.
        force: remove what an earlier making wrote into ``out`` and begin anew.
        progress: a bar on stderr; None shows it on a terminal only.

    Raises:
        UnknownNameError: no such world, split, sampling or format.
        ConfigError: a number that cannot be.
        RunFolderError: the folder holds another world or other settings, or is in use.
        OutputError: the folder cannot be written, is full, or holds files of others. What is finished stays.
        MakingInterrupted: Ctrl-C or SIGTERM. What is finished stays.
    """
    started = time.perf_counter()
    settings = _settings(world, n, seed, split, size, fps, sampling, formats)
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be 1 or more, got {jobs}; leave it out for all cores")
    maker = _Maker(create_world(world), Path(out), settings)
    folder = WorldFolder(out, settings, force=force)
    try:
        with _interruptible(folder), _full_disk(folder.path):
            work = _Work(jobs or len(os.sched_getaffinity(0)), progress)
            made, counts = _make(maker, folder, work)
    finally:
        folder.close()
    return MadeWorld(folder.path, settings, counts, made, time.perf_counter() - started)


def _settings(
    world: str, n: int, seed: int, split: str, size: int, fps: float, sampling: str, formats: Sequence[str] | None
) -> dict[str, Any]:
    for kind, name, allowed in (("split", split, SPLITS), ("sampling", sampling, SAMPLINGS)):
        if name not in allowed:
            raise UnknownNameError(kind, name, allowed)
    for name in formats or ():
        load_format(name)
    if not 1 <= n <= FIRST_SEEDS:
        more = "; make the others with another seed" if n > 0 else ""
        raise ConfigError(f"n must be 1 to {FIRST_SEEDS} samples, got {n}{more}")
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}")
    if not SIZES[0] <= size <= SIZES[1] or size % 2:
        raise ConfigError(f"size must be an even number of pixels from {SIZES[0]} to {SIZES[1]}, got {size}")
    if not RATES[0] <= fps <= RATES[1]:
        raise ConfigError(f"fps must be {RATES[0]:g} to {RATES[1]:g} frames a second, got {fps:g}")
    return {
        "world": world,
        "split": split,
        "seed": seed,
        "n": n,
        "size": size,
        "fps": int(fps) if float(fps).is_integer() else float(fps),
        "sampling": sampling,
        "formats": [name for name in FORMATS if formats is None or name in formats],
    }


# ---- one sample -------------------------------------------------------------------------------------------------


class _Maker:
    """Makes one sample; lives in every process."""

    def __init__(self, world: World, folder: Path, settings: dict[str, Any]) -> None:
        self.world, self.folder, self.settings = world, folder, settings

    def line(self, seed: int) -> bytes:
        """The annotation of a story seed."""
        return self._told(seed)[1]

    def sample(self, seed: int) -> tuple[bytes, bool]:
        """Its annotation, and whether its video had to be made."""
        story, line = self._told(seed)
        annotation = json.loads(line)
        path = self.folder / annotation["video"]
        if _finished(path):
            return line, False
        count = frame_count(annotation)
        fps, size = self.settings["fps"], self.settings["size"]
        frames = self.world.render(story, [number / fps for number in range(count)], size)
        sound = waveform(self.world.sounds(story), count / fps)
        self._write(path, frames, sound)
        return line, True

    def clips(self, question: vcrbench.Question) -> bool:
        """The video of an ordering question; whether it had to be made."""
        folder = self.folder / "formats" / "vcrbench"
        path = folder / "videos" / question.video_file
        if _finished(path):
            return False
        with _full_disk(path):
            vcrbench.write_video(question, self.folder, folder)
        return True

    def _told(self, seed: int) -> tuple[Any, bytes]:
        story = self.world.tell(seed, self.settings["split"])
        given = {key: self.settings[key] for key in ("size", "fps", "sampling")}
        return story, to_line(annotate(self.world, story, **given))

    def _write(self, path: Path, frames: Any, sound: Any) -> None:
        from vidcausal.video.edit import write_frames

        with _full_disk(path):
            # One thread: with another number x264 would write other bytes, and all cores are busy with other samples.
            write_frames(
                frames.transpose(0, 3, 1, 2),
                path,
                self.settings["fps"],
                sound=(sound, RATE),
                quality=_QUALITY,
                threads=1,
                deadline=_DEADLINE,
            )


def _finished(path: Path) -> bool:
    """Videos are renamed into place when they are whole, so one that is there is finished."""
    return path.is_file() and path.stat().st_size > 0


# ---- all samples ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    """How much is done at once, and whether a bar shows it."""

    jobs: int
    progress: bool | None

    def over(
        self, function: Callable[[_Task], _Result], tasks: Sequence[_Task], total: int, unit: str
    ) -> Iterator[tuple[_Task, _Result]]:
        """Tasks with their results, in the order in which they are done; a bar counts up to ``total``."""
        from tqdm import tqdm

        hidden = None if self.progress is None else not self.progress
        with contextlib.closing(_pool.run(function, tasks, self.jobs)) as results:
            # The bar begins after the processes: it starts a thread, and forked processes should not inherit one.
            done = next(results, None)
            with tqdm(total=total, initial=total - len(tasks), unit=unit, disable=hidden, dynamic_ncols=True) as bar:
                while done is not None:
                    bar.update()
                    yield done
                    done = next(results, None)


def _make(maker: _Maker, folder: WorldFolder, work: _Work) -> tuple[int, dict[str, Any]]:
    import vidcausal.video.edit  # noqa: F401  imported once here rather than in every process

    made = _write_samples(maker, folder, work)
    annotations = [json.loads(line) for line in folder.annotations.read_bytes().splitlines()]
    counts: dict[str, Any] = _counts(annotations)
    names = folder.settings["formats"]
    if "vcrbench" in names:
        questions = vcrbench.questions(annotations)
        for _ in work.over(maker.clips, questions, len(questions), "ordering"):
            pass
    counts["formats"] = {name: load_format(name).write(annotations, folder.path / "formats" / name) for name in names}
    folder.write_manifest("complete", counts=counts)
    return made, counts


def _write_samples(maker: _Maker, folder: WorldFolder, work: _Work) -> int:
    """Videos, and annotations in the order of the seeds; returns how many videos were made."""
    seeds = story_seeds(folder.settings)
    have = _recover(maker, folder, seeds)
    made = 0
    early: dict[int, bytes] = {}
    following = iter(seeds[have:])
    due = next(following, None)
    with _appending(folder.annotations) as append:
        for seed, (line, new) in work.over(maker.sample, seeds[have:], len(seeds), "video"):
            made += new
            early[seed] = line
            while due in early:
                append(early.pop(due))
                due = next(following, None)
    return made


def _recover(maker: _Maker, folder: WorldFolder, seeds: Sequence[int]) -> int:
    """How many samples an earlier making finished; what comes after them in the annotations is cut off.

    Raises:
        RunFolderError: the first annotation is not what this version of the world tells.
    """
    if not folder.annotations.exists():
        return 0
    lines = folder.annotations.read_bytes().splitlines(keepends=True)
    keep = 0
    for seed, line in zip(seeds, lines, strict=False):
        identity = f"{folder.settings['world']}-{folder.settings['split']}-{seed:06d}"
        whole = line.startswith(b'{"id":"' + identity.encode() + b'"') and line.endswith(b"}\n")
        if not whole or not _finished(folder.path / video_path(identity)):
            break
        keep += 1
    if keep and maker.line(seeds[0]) != lines[0]:
        raise RunFolderError(
            f"{folder.annotations} was written by another version of the world; choose another --out, or --force to "
            "remove what was made there and begin anew"
        )
    if keep < len(lines):
        write_atomic(folder.annotations, b"".join(lines[:keep]))
    return keep


@contextlib.contextmanager
def _appending(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Add lines to a file; what could not be written whole is taken back."""
    with path.open("ab", buffering=0) as file:

        def append(line: bytes) -> None:
            before = file.tell()
            try:
                written = 0
                with _full_disk(path):
                    while written < len(line):
                        written += file.write(line[written:])
            except BaseException:
                file.truncate(before)
                raise

        yield append
        os.fsync(file.fileno())


def _counts(annotations: Sequence[Annotation]) -> dict[str, Any]:
    types = Counter(question["type"] for sample in annotations for question in sample["questions"])
    return {
        "samples": len(annotations),
        "seconds": round(sum(sample["duration"] for sample in annotations), 3),
        "events": sum(len(sample["events"]) for sample in annotations),
        "with_clips": sum(bool(sample["clips"]) for sample in annotations),
        "questions": dict(sorted(types.items())),
    }


# ---- when it ends early -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _full_disk(path: Path) -> Iterator[None]:
    """A full or vanished disk as an error of ours that names the path."""
    try:
        yield
    except OutputError as error:
        known = str(path) in str(error)
        raise error if known else OutputError(f"{path}: {error}") from error
    except OSError as error:
        advice = "free some space or choose another --out; what is finished is kept, the same command goes on"
        raise OutputError.at(path, error, advice) from error


@contextlib.contextmanager
def _interruptible(folder: WorldFolder) -> Iterator[None]:
    """SIGTERM ends a making as Ctrl-C does, and both say how to go on."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if in_main else None
    try:
        yield
    except KeyboardInterrupt as error:
        have = sum(1 for _ in (folder.path / "videos").glob("[!.]*.mp4"))
        raise MakingInterrupted(
            f"stopped with {have} of {folder.settings['n']} videos in {folder.path}; the same command goes on"
        ) from error
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
