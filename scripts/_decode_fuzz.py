"""Seeded mutations of video files, each read in a child process that can be killed."""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from vidcausal.errors import VidcausalError
from vidcausal.video.decode import open_video
from vidcausal.video.sampling import NearestKeyframe, Uniform

SOURCES = ("fast.mp4", "cfr.mkv", "cfr.ts", "frag.mp4", "vp9.webm", "opengop.mp4")
_LIMIT_SECONDS = 60.0


@dataclass
class Outcome:
    """Counts over all mutations."""

    counts: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def mutate(data: bytes, seed: int) -> bytes:
    """``data`` with one kind of damage, chosen by ``seed``: flipped bits, zeroed or random runs, cuts, moves."""
    rng = random.Random(seed)
    raw = bytearray(data)
    size = len(raw)
    kind = rng.choice(("flip", "flip", "head", "zero", "noise", "cut", "drop", "swap", "repeat"))
    at, length = rng.randrange(size), rng.randrange(1, max(2, size // 8))
    if kind in ("flip", "head"):
        reach = min(size, 4096) if kind == "head" else size
        for _ in range(rng.choice((1, 8, 64, 512))):
            raw[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    elif kind == "zero":
        raw[at : at + length] = bytes(len(raw[at : at + length]))
    elif kind == "noise":
        raw[at : at + length] = rng.randbytes(len(raw[at : at + length]))
    elif kind == "cut":
        del raw[at:]
    elif kind == "drop":
        del raw[at : at + length]
    elif kind == "swap":
        other = rng.randrange(size)
        a, b = bytes(raw[at : at + length]), bytes(raw[other : other + length])
        raw[other : other + len(a)] = a
        raw[at : at + len(b)] = b
    else:
        raw[at:at] = raw[at : at + length]
    return bytes(raw)


def fuzz(folder: Path, mutations: int, seed: int, backend: str = "pyav") -> Outcome:
    """Read ``mutations`` mutated files and count what happened to each."""
    outcome = Outcome()
    sources = [(folder / name).read_bytes() for name in SOURCES]
    with tempfile.TemporaryDirectory() as scratch:
        for n in range(mutations):
            name = SOURCES[n % len(SOURCES)]
            path = Path(scratch) / f"{n}-{name}"
            path.write_bytes(mutate(sources[n % len(SOURCES)], seed * 1_000_003 + n))
            _one(path, backend, f"mutation {n} of {name}, seed {seed}", outcome)
            path.unlink()
    return outcome


def _one(path: Path, backend: str, label: str, outcome: Outcome) -> None:
    answers, answer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_child, args=(str(path), backend, answer))
    child.start()
    answer.close()
    line = ""
    try:
        if not answers.poll(_LIMIT_SECONDS):
            outcome.counts["hang"] += 1
            outcome.failures.append(f"{label}: no answer within {_LIMIT_SECONDS:.0f} s")
            return
        line = answers.recv()
    except EOFError:
        line = ""
    finally:
        child.kill()
        child.join()
        answers.close()
    kind, _, rest = line.partition(" ")
    if not kind:
        outcome.counts["crash"] += 1
        outcome.failures.append(f"{label}: the process died with status {child.exitcode}")
        return
    outcome.counts[kind] += 1
    if kind == "typed":
        outcome.codes[rest] += 1
    elif kind == "untyped":
        outcome.failures.append(f"{label}: {rest}")
    else:
        outcome.slowest = max(outcome.slowest, float(rest.split()[1]))


def _child(path: str, backend: str, answer: Connection) -> None:
    answer.send(read_one(path, backend))


def read_one(path: str, backend: str) -> str:
    """Open, index, sample 8 frames and 4 key frames: ``ok FRAMES SECONDS``, ``typed CODE`` or ``untyped CLASS``."""
    started = time.monotonic()
    try:
        video = open_video(path, backend=backend)
        frames = len(video.sample(Uniform(8), size=(48, 64))) + len(video.sample(NearestKeyframe(Uniform(4)), size=48))
    except VidcausalError as error:
        return f"typed {error.code}"
    except Exception as error:
        return f"untyped {type(error).__name__}: {error}"
    return f"ok {frames} {time.monotonic() - started:.3f}"
