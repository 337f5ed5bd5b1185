"""Decoding measured: exact frames, speed against other readers, memory, and damaged files.

    python scripts/bench_decode.py --correctness [--adversarial DIR] [--backends pyav,decord]
    python scripts/bench_decode.py [--runs 3] [--json out.json] [--video CLIP]
    python scripts/bench_decode.py --fuzz 300 --seed 0

Exit status 1 when a frame is wrong, a bar is missed or a mutation hangs, crashes or raises an untyped error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _decode_readers import READERS

_HERE = Path(__file__).resolve().parent
_ADVERSARIAL = _HERE.parents[1] / "shared" / "data" / "adversarial"
_MINUTE = ("u32", "u128", "clips")
_BARS = (
    ("60 s u32: vidcausal / torchcodec", ("minute", "u32", "vidcausal"), ("minute", "u32", "torchcodec"), 1.2),
    (
        "60 s u32: vidcausal / PyAV sequential",
        ("minute", "u32", "vidcausal"),
        ("minute", "u32", "pyav-sequential"),
        1.2,
    ),
    ("60 s clips: vidcausal / torchcodec", ("minute", "clips", "vidcausal"), ("minute", "clips", "torchcodec"), 1.4),
    ("60 s clips: vidcausal / decord", ("minute", "clips", "vidcausal"), ("minute", "clips", "decord"), 0.6),
    ("10 min u32: vidcausal / PyAV sequential", ("long", "u32", "vidcausal"), ("long", "u32", "pyav-sequential"), 0.3),
    ("10 min nearest key frame / exact", ("long", "keyframes32", "vidcausal"), ("long", "u32", "vidcausal"), 0.2),
)
_INDEX_SECONDS = 0.3
_MEMORY_MB = 300.0

Results = dict[tuple[str, str, str], dict[str, Any]]


def main() -> int:
    """Parse the arguments and run the part that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--correctness", action="store_true", help="table of exact frames over --adversarial")
    parser.add_argument("--fuzz", type=int, metavar="N", help="read N mutated files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adversarial", type=Path, default=_ADVERSARIAL, metavar="DIR")
    parser.add_argument("--backends", default="pyav", help="comma-separated, for --correctness and --fuzz (the first)")
    parser.add_argument("--runs", type=int, default=3, help="repeat each measurement and keep the minimum")
    parser.add_argument("--threads", type=int, default=1, help="decoder threads of every reader")
    parser.add_argument("--video", type=Path, help="loop this clip instead of a synthetic one")
    parser.add_argument("--work-dir", type=Path, help="keep the generated videos here and reuse them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    args = parser.parse_args()
    sys.path.insert(0, str(_HERE.parent))
    if args.correctness or args.fuzz:
        if not args.adversarial.is_dir():
            parser.error(f"{args.adversarial} is not a folder; name it with --adversarial DIR")
        return correctness(args) if args.correctness else fuzz(args)
    return speed(args)


def correctness(args: argparse.Namespace) -> int:
    """Print the table; 1 when a row of PyAV fails."""
    from _decode_correctness import check

    backends = args.backends.split(",")
    rows = check(args.adversarial, backends)
    for row in rows:
        print(f"{'ok  ' if row.ok else 'FAIL'} {row.backend:10} {row.file:21} {row.expected:44} {row.got}")
    for backend in backends:
        mine = [row.ok for row in rows if row.backend == backend]
        print(f"{backend}: {sum(mine)} of {len(mine)} rows as expected")
    _write(args.json, [asdict(row) for row in rows])
    return int(not all(row.ok for row in rows if row.backend == backends[0]))


def fuzz(args: argparse.Namespace) -> int:
    """Print the counts; 1 on a hang, a crash or an untyped error."""
    from _decode_fuzz import fuzz as run

    outcome = run(args.adversarial, args.fuzz, args.seed, args.backends.split(",")[0])
    counts = {kind: outcome.counts[kind] for kind in ("ok", "typed", "untyped", "hang", "crash")}
    print(f"{args.fuzz} mutations, seed {args.seed}: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
    print("typed errors: " + ", ".join(f"{n} {code}" for code, n in sorted(outcome.codes.items())))
    print(f"slowest readable file {outcome.slowest:.2f} s")
    for line in outcome.failures:
        print("FAIL", line)
    _write(args.json, {**counts, "codes": dict(outcome.codes), "failures": outcome.failures})
    return int(bool(outcome.failures))


def speed(args: argparse.Namespace) -> int:
    """Measure every reader on every pattern; 1 when a bar is missed."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.work_dir or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        minute, long = _videos(folder, args.video)
        jobs = [("minute", minute, pattern, reader) for pattern in _MINUTE for reader in READERS]
        jobs += [("long", long, "u32", reader) for reader in READERS]
        jobs += [("long", long, pattern, "vidcausal") for pattern in ("keyframes32", "index")]
        results: Results = {}
        for name, path, pattern, reader in jobs:
            results[name, pattern, reader] = _best(reader, path, pattern, "full", args.threads, args.runs)
            _print_row(name, pattern, reader, results[name, pattern, reader])
        memory = _best("vidcausal", minute, "u128", "384x384", args.threads, 1)
        results["minute", "u128 to 384x384", "vidcausal"] = memory
        _print_row("minute", "u128 to 384x384", "vidcausal", memory)
    bars = _bars(results)
    for label, value, bar, ok in bars:
        print(f"{'ok  ' if ok else 'MISS'} {label:58} {value:8.3f}  (bar {bar})")
    rows = [{"video": v, "pattern": p, "reader": r, **value} for (v, p, r), value in results.items()]
    _write(args.json, {"results": rows, "bars": [{"name": n, "value": v, "bar": b, "ok": ok} for n, v, b, ok in bars]})
    return int(not all(ok for *_, ok in bars))


def _bars(results: Results) -> list[tuple[str, float, float, bool]]:
    bars = []
    for label, ours, theirs, bar in _BARS:
        if "cpu" in results[ours] and "cpu" in results[theirs]:
            ratio = results[ours]["cpu"] / results[theirs]["cpu"]
            bars.append((label, ratio, bar, ratio <= bar))
    index = results["long", "index", "vidcausal"]
    bars.append(
        (f"index of {index['frames']:,} packets, CPU-s", index["cpu"], _INDEX_SECONDS, index["cpu"] <= _INDEX_SECONDS)
    )
    memory = results["minute", "u128 to 384x384", "vidcausal"]
    beside = memory["peak_mb"] - memory["base_mb"]
    label = f"128 frames to 384x384, MB beside torch ({memory['peak_mb']:.0f} in all)"
    return [*bars, (label, beside, _MEMORY_MB, beside <= _MEMORY_MB)]


def _print_row(video: str, pattern: str, reader: str, value: dict[str, Any]) -> None:
    if "absent" in value:
        print(f"{video:7} {pattern:16} {reader:16} skipped: {value['absent']}")
        return
    memory = f"peak {value['peak_mb']:6.0f} MB, {value['peak_mb'] - value['base_mb']:6.0f} MB over its imports"
    print(
        f"{video:7} {pattern:16} {reader:16} {value['cpu']:7.3f} CPU-s  {value['frames']:6} frames  {memory}",
        flush=True,
    )


def _best(reader: str, path: Path, pattern: str, size: str, threads: int, runs: int) -> dict[str, Any]:
    """The run that took the least CPU time, each in its own process."""
    command = [sys.executable, str(_HERE / "_decode_readers.py"), reader, str(path), pattern, size, str(threads)]
    root = str(_HERE.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    values = []
    for _ in range(runs):
        child = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False, env=environment)
        if child.returncode != 0:
            return {"absent": f"failed: {child.stderr.strip().splitlines()[-1][:160]}"}
        values.append(json.loads(child.stdout.strip().splitlines()[-1]))
        if "absent" in values[-1]:
            return dict(values[-1])
    return dict(min(values, key=lambda value: value["cpu"]))


def _videos(folder: Path, clip: Path | None) -> tuple[Path, Path]:
    """720p, 30 fps, H.264 with 3 B-frames and a key frame every 250: a minute, and that minute ten times."""
    minute, long = folder / "minute.mp4", folder / "ten_minutes.mp4"
    from vidcausal.video import ffmpeg

    program = ffmpeg.executable("libx264")
    if not minute.exists():
        source = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30:duration=60,noise=alls=3:allf=t"]
        if clip is not None:
            source = ["-stream_loop", "-1", "-t", "60", "-i", str(clip)]
            source += ["-vf", "scale=1280:720,fps=30,noise=alls=3:allf=t"]
        encode = ["-an", "-c:v", "libx264", "-preset", "fast", "-crf", "23", "-g", "250", "-bf", "3"]
        encode += ["-pix_fmt", "yuv420p"]
        subprocess.run([program, "-v", "error", "-y", *source, *encode, str(minute)], check=True)
    if not long.exists():
        loop = ["-stream_loop", "9", "-i", str(minute), "-c", "copy", str(long)]
        subprocess.run([program, "-v", "error", "-y", *loop], check=True)
    return minute, long


def _write(path: Path | None, value: object) -> None:
    if path is not None:
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
