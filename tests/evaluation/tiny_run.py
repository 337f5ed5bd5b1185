"""A benchmark of sixty questions about one tiny video, a strategy without a model, and a driver that kills its runs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcausal.evaluation.runner import RunResult, run
from vidcausal.types import Media, Prediction, Reply, Sample, Scores, Step
from vidcausal.video.footage import Footage
from vidcausal.video.sampling import Uniform


def write_video(path: Path, seconds: int = 1) -> Path:
    """A video of ten frames a second whose brightness rises."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(10 * seconds):
            picture = np.full((48, 64, 3), 20 + 20 * (n % 10), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


class Questions:
    """Which of three options? The right one is ``n % 3``."""

    name = "tiny"

    def __init__(self, video: Path, count: int = 60, missing: Sequence[int] = ()) -> None:
        self.video, self.count, self.missing = video, count, frozenset(missing)

    def samples(self) -> Iterator[Sample[int]]:
        for n in range(self.count):
            path = self.video.with_name("absent.mp4") if n in self.missing else self.video
            yield Sample(f"q{n}", "ask", f"Question {n}?", Media((str(path),)), target=n % 3, options=("a", "b", "c"))

    def predictions(self, rows: Iterable[Mapping[str, Any]]) -> list[Prediction[int]]:
        samples = {sample.id: sample for sample in self.samples()}
        return [Prediction(samples[row["id"]], row["reply"], (row.get("error") or {}).get("code")) for row in rows]

    def score(self, predictions: Sequence[Prediction[int]], *, expected: int | None = None) -> Scores:
        wanted = len(predictions) if expected is None else expected
        answered = [p for p in predictions if p.error is None]
        read = [p for p in answered if p.reply[:1] in tuple("abc")]
        right = sum("abc".index(p.reply[0]) == p.sample.target for p in read)
        accuracy = {"accuracy": 100 * right / max(wanted, 1)}
        unparsed = 1 - len(read) / len(answered) if answered else 0.0
        return Scores("tiny", accuracy, accuracy, wanted, len(answered) / max(wanted, 1), unparsed, {"accuracy": 33.3})


class Draws:
    """Draws an option at random: only the runner's seeding makes two runs equal."""

    name = "draws"

    def __init__(self, pause: float = 0.0, fail_on: str = "") -> None:
        self.pause, self.fail_on = pause, fail_on

    def answer(self, sample: Sample[Any], footage: Footage) -> Reply:
        import torch

        if sample.id == self.fail_on:
            raise RuntimeError("the model\nfell over")
        time.sleep(self.pause)
        option = int(torch.randint(0, 3, ()))
        text = f"{sample.options[option]} {footage.frames.data.float().mean():.2f}"
        return Reply(text, (Step("choose", sample.question, text, self.pause),), option=option, spans=())


def tiny_run(video: Path, folder: Path, *, count: int = 60, pause: float = 0.0, **settings: Any) -> RunResult:
    benchmark = Questions(video, count, settings.pop("missing", ()))
    strategy = settings.pop("strategy", None) or Draws(pause)
    identity = settings.pop("identity", {"strategy": "draws", "frames": {"num_frames": 3}})
    policy = Uniform(3)
    return run(strategy, benchmark, policy=policy, output_dir=folder, identity=identity, progress=False, **settings)


def lines_in(folder: Path) -> int:
    file = folder / "predictions.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def main() -> None:
    """``VIDEO FOLDER POINT...``: start a run and kill it -9 once it has POINT rows, for each point; then finish it."""
    video, folder, points = Path(sys.argv[1]), Path(sys.argv[2]), [int(point) for point in sys.argv[3:]]
    for point in points:
        child = os.fork()
        if child == 0:
            tiny_run(video, folder, pause=0.01)
            os._exit(0)
        deadline = time.monotonic() + 60
        while lines_in(folder) < point and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.exit(f"the run was over before it could be killed at {point} rows")
        sys.stdout.write(f"{lines_in(folder)} ")
    tiny_run(video, folder)


if __name__ == "__main__":
    main()
