"""The native model on held-out worlds, in one go: make them, answer everything in every mode, write one table.

Modes: ``rrd`` recognizes first and reasons over the records (answers scored by likelihood where the model can);
``direct`` answers from the frames at once; ``blind`` is ``direct`` with gray frames. Everything is a run folder or a
made folder, so the same command goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidcausal.benchmarks.worlds import Worlds
from vidcausal.cache import DiskCache, write_atomic, write_json
from vidcausal.errors import UnknownNameError
from vidcausal.evaluation import build, results, runner
from vidcausal.evaluation._native_table import Key, Row, markdown, table
from vidcausal.evaluation.machine import command, machine, versions
from vidcausal.protocols import Grounder, Strategy
from vidcausal.types import TASKS, Reply, Sample, Task
from vidcausal.video.footage import Footage
from vidcausal.worlds.make import make_world
from vidcausal.worlds.registry import WORLDS
from vidcausal.worlds.story import Question, Split

logger = logging.getLogger(__name__)

MODES = ("rrd", "direct", "blind")
OTHER_MODES = ("rrd-video", "rrd-ask-video")
UNSEEN_SEED = 202
"""Seed of the held-out data; training draws from the split ``train``, which shares no story with the others."""
GRAY = 128
Answerer = Callable[[Sequence[Question]], Sequence[int]]
"""Answers questions (0-based options) from their words alone."""


@dataclass(frozen=True)
class Setup:
    """What is made and run.

    Attributes:
        out: folder for data, runs and the table.
        model: a model or its name.
        worlds: names of worlds.
        splits: of each world.
        n: samples a world and split.
        seed: of the data.
        modes: some of :data:`MODES` and of :data:`OTHER_MODES`.
        frames: preset of ``configs/frames``.
        size: side of the frames that the model is shown, in pixels.
        video_size: side of the made videos, in pixels.
        ground_per_video: moments that are looked for in each video.
        ask_per_video: questions asked about each video; None asks all.
        device: for the model.
        jobs: processes that make videos; None takes all cores.
        cache: keep records between runs here.
        trained_blind: learns from the words of a world's training questions and returns who answers from words alone.
        progress: bars on stderr; None shows them on a terminal only.
    """

    out: Path
    model: Any = "native-small"
    worlds: tuple[str, ...] = tuple(WORLDS)
    splits: tuple[Split, ...] = ("test", "composition")
    n: int = 500
    seed: int = UNSEEN_SEED
    modes: tuple[str, ...] = MODES
    frames: str = "middles-16"
    size: int = 64
    video_size: int = 128
    ground_per_video: int | None = 2
    ask_per_video: int | None = None
    device: str = "cpu"
    jobs: int | None = None
    cache: DiskCache | None = field(default_factory=DiskCache)
    trained_blind: Callable[[str], Answerer] | None = None
    progress: bool | None = None


@dataclass(frozen=True)
class NativeReport:
    """The table and where it was written."""

    rows: tuple[Row, ...]
    text: str
    path: Path
    """The table as Markdown; beside it stands the same as JSON."""


def native_report(setup: Setup) -> NativeReport:
    """Make the worlds, run every mode on them, and write ``native_worlds.md`` and ``native_worlds.json``.

    Raises:
        UnknownNameError: no such world, split, mode or model.
        RunFolderError: ``out`` holds data or runs with other settings.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on.
    """
    for mode in setup.modes:
        if mode not in (*MODES, *OTHER_MODES):
            raise UnknownNameError("mode", mode, (*MODES, *OTHER_MODES))
    started = time.perf_counter()
    model = build.create_model(setup.model, device=setup.device) if isinstance(setup.model, str) else setup.model
    folders = made(setup)
    blind = {key: blind_hits(setup, key, folder) for key, folder in folders.items() if setup.trained_blind}
    modes: dict[str, dict[Key, Any]] = {}
    seconds: dict[str, float] = {}
    for mode in setup.modes:
        begun = time.perf_counter()
        modes[mode] = {key: _run(setup, model, mode, key, folder) for key, folder in folders.items()}
        seconds[mode] = round(time.perf_counter() - begun, 1)
    rows = tuple(table(_filled(modes), blind))
    text = _heading(setup, model) + markdown(rows, setup.modes)
    path = setup.out / "native_worlds.md"
    write_atomic(path, text.encode())
    content = {
        "model": build.describe(model),
        "caveat": str(getattr(model, "caveat", "")),
        "settings": _settings(setup),
        "rows": [row.to_json() for row in rows],
        "seconds": {**seconds, "all": round(time.perf_counter() - started, 1)},
        "command": command(),
        "versions": versions(),
        "machine": machine(),
    }
    write_json(path.with_suffix(".json"), runner.plain(content), indent=1)
    return NativeReport(rows, text, path)


def made(setup: Setup) -> dict[Key, Path]:
    """The folder of each world and split, made where it is not there yet."""
    folders: dict[Key, Path] = {}
    for world in setup.worlds:
        for split in setup.splits:
            folders[world, split] = setup.out / "data" / f"{world}-{split}"
            make_world(
                world,
                setup.n,
                folders[world, split],
                seed=setup.seed,
                split=split,
                size=setup.video_size,
                formats=(),
                jobs=setup.jobs,
                progress=setup.progress,
            )
    return folders


def _settings(setup: Setup) -> dict[str, Any]:
    kept = ("worlds", "splits", "n", "seed", "modes", "frames", "size", "video_size")
    return {name: getattr(setup, name) for name in (*kept, "ground_per_video", "ask_per_video", "device")}


def _heading(setup: Setup, model: Any) -> str:
    caveat = str(getattr(model, "caveat", ""))
    return (
        f"# {getattr(model, 'name', 'model')} on held-out worlds\n\n"
        f"{setup.n} samples a world and split, seed {setup.seed}, {setup.frames} frames of {setup.size} px. Percent, "
        "with 95 % intervals (bootstrap over videos). `rrd` recognizes first and reasons over the records, `direct` "
        "answers from the frames at once, `blind` sees gray frames; orders, options and moments are the scored ones "
        "where the model scores them, else those written in the reply. `composition` holds color-shape pairs, goals "
        "and chain lengths that were never seen in training. The constant window is the best there is for each figure, "
        f"chosen with the answers known.{' ' + caveat if caveat else ''}\n\n"
    )


# ---- runs -------------------------------------------------------------------------------------------------------


def _tasks(model: Any, mode: str) -> tuple[Task, ...]:
    """Tasks to run. A model that grounds by itself does so in every strategy alike: once is enough."""
    return tuple(task for task in TASKS if not (task == "ground" and mode.startswith("rrd") and _grounds(model)))


def _grounds(model: Any) -> bool:
    return isinstance(model, Grounder)


def _strategy(setup: Setup, model: Any, mode: str) -> Strategy:
    if mode != "blind":
        return build.create_strategy(mode, model=model, cache=setup.cache)
    return Blindfolded(build.create_strategy("direct", model=model))


def _run(setup: Setup, model: Any, mode: str, key: Key, folder: Path) -> dict[Task, Any]:
    strategy = _strategy(setup, model, mode)
    tasks = _tasks(model, mode)
    benchmark = Worlds(folder, tasks=tasks, ground_per_video=setup.ground_per_video, ask_per_video=setup.ask_per_video)
    policy = build.create_policy(setup.frames)
    identity = {
        "mode": mode,
        "strategy": build.describe(strategy),
        "model": build.describe(model),
        "data": {"world": key[0], "split": key[1], "n": setup.n, "seed": setup.seed, "size": setup.video_size},
        "questions": {"tasks": tasks, "ground": setup.ground_per_video, "ask": setup.ask_per_video},
        "frames": policy.key,
        "size": setup.size,
    }
    done = runner.run(
        strategy,
        benchmark,
        policy=policy,
        output_dir=setup.out / "runs" / mode / f"{key[0]}-{key[1]}",
        identity=runner.plain(identity),
        size=setup.size,
        device=build.chosen_device(setup.device),
        cache=setup.cache,
        progress=setup.progress,
    )
    names = {"title": f"{mode}: {key[0]} {key[1]}", "benchmark": benchmark.name, "model": build.name_of(strategy)}
    results.write(done, benchmark, names={**names, "strategy": mode, "frames": setup.frames}, config=identity)
    logger.info("%s on %s %s: %.1f s", mode, *key, done.seconds)
    return dict(benchmark.by_group(done.predictions)[key])


def _filled(modes: Mapping[str, Mapping[Key, dict[Task, Any]]]) -> dict[str, dict[Key, dict[Task, Any]]]:
    """Where a task was left out of a mode because ``direct`` does the same, the result of ``direct``."""
    direct = modes.get("direct", {})
    return {
        mode: {key: {**({} if mode == "blind" else direct.get(key, {})), **tasks} for key, tasks in groups.items()}
        for mode, groups in modes.items()
    }


# ---- without looking --------------------------------------------------------------------------------------------


class Blindfolded:
    """A strategy that is shown gray frames: same times, same size, same clips, nothing to see.

    Args:
        strategy: what answers.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self.name = f"blind-{strategy.name}"

    def answer(self, sample: Sample[Any], footage: Footage) -> Reply:
        """Answer one sample without seeing it."""
        return self._strategy.answer(sample, gray(footage))


def gray(footage: Footage) -> Footage:
    """Footage with the same times, clips and length, whose frames are all gray."""
    frames = footage.frames
    # Without the key of the real frames, so that no cache takes the one for the other.
    blank = dataclasses.replace(frames, data=frames.data.new_full(frames.data.shape, GRAY), key=None)
    return Footage.from_frames(blank, clips=footage.clips, duration=footage.duration)


def blind_hits(setup: Setup, key: Key, folder: Path) -> dict[str, tuple[int, int]]:
    """What a blind model that was trained on the world's questions gets right: ``(right, questions)`` by type."""
    if setup.trained_blind is None:
        return {}
    samples = list(Worlds(folder, tasks=("ask",), ask_per_video=setup.ask_per_video).samples())
    known = setup.out / "blind" / f"{key[0]}-{key[1]}.json"
    answers = _known_answers(known, [sample.id for sample in samples])
    if answers is None:
        answers = list(setup.trained_blind(key[0])([_as_question(sample) for sample in samples]))
        write_json(known, {sample.id: answer for sample, answer in zip(samples, answers, strict=True)})
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for sample, answer in zip(samples, answers, strict=True):
        for kind in ("", str(sample.meta["type"])):
            hits[kind].append(answer == sample.target)
    return {kind: (sum(right), len(right)) for kind, right in hits.items()}


def _known_answers(path: Path, ids: Sequence[str]) -> list[int] | None:
    """Answers that an earlier call left, if they are to the same questions."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return [int(known[identity]) for identity in ids] if list(known) == list(ids) else None


def _as_question(sample: Sample[Any]) -> Question:
    return Question(str(sample.meta["type"]), sample.question, sample.options, int(sample.target or 0))
