"""How well the embedded model matches events to words and finds where events end, on hand-annotated clips.

``--clips FILE`` (JSON lines with ``video`` and ``events``): every event, with its true span, picks among the captions
of its clip; accuracy, averaged over clips, with a 95 % bootstrap interval over clips and events, and chance. Also the
F1 of event boundaries. ``--videos INDEX`` (JSON list with ``file`` and ``content``): which description belongs to which
video, over the videos that are not in ``--clips``.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from vidcausal.api import open_video
from vidcausal.models.boundaries import Segmenter
from vidcausal.models.clip_onnx import unit
from vidcausal.models.embedded import EmbeddedModel, embedded, event_vectors
from vidcausal.models.matching import best_each, even_out, one_to_one
from vidcausal.types import Span

SIDE = 288
TOLERANCE = 1.0


def look(model: EmbeddedModel, path: Path, seconds: list[float]) -> tuple[Any, Any]:
    """Picture vectors and times of the frames nearest to ``seconds``."""
    with open_video(str(path)) as video:
        frames = video.read(sorted(set(seconds)), size=SIDE)
    return model.images.embed(frames), frames.pts_seconds.numpy()


def matching(model: EmbeddedModel, clip: dict[str, Any], vectors: Any, pts: Any) -> dict[str, np.ndarray]:
    """Right or wrong for each event, under each way of matching."""
    captions = [event["caption"] for event in clip["events"]]
    texts = list(dict.fromkeys(captions))
    events = event_vectors(vectors, pts, [Span(e["start"], e["end"] + 1e-3) for e in clip["events"]])
    pictures = model.bridge.pictures(events, events.mean(0))
    mapped = pictures @ model.words.embed(texts, drawn=False).T
    both = pictures @ model.words.embed(texts).T
    own = model.candidate_scores(events, texts)
    columns = [texts.index(caption) for caption in captions]
    jointly = [columns[match.text] for match in one_to_one(own[:, columns])]

    def right(chosen: list[int]) -> np.ndarray:
        return np.array([texts[i] == caption for i, caption in zip(chosen, captions, strict=True)], float)

    return {
        "embedded (map + drawn text, evened out)": right([m.text for m in best_each(own)]),
        "  without evening out": right([m.text for m in best_each(both)]),
        "  map alone": right([m.text for m in best_each(mapped)]),
        "  map alone, evened out": right([m.text for m in best_each(even_out(mapped))]),
        "  one-to-one (joint; true number of each)": right(jointly),
        "chance": np.full(len(captions), 1 / len(texts)),
    }


def interval(clips: list[np.ndarray], rng: np.random.Generator, times: int = 10000) -> tuple[float, float]:
    """95 % of the means over clips when clips, and events inside clips, are drawn with replacement."""
    means = np.empty(times)
    for k in range(times):
        drawn = rng.integers(0, len(clips), len(clips))
        means[k] = np.mean([rng.choice(clips[i], len(clips[i])).mean() for i in drawn])
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def boundary_f1(found: list[float], true: list[float]) -> float:
    """F1 of boundaries matched one to one within a second."""
    left, hits = sorted(found), 0
    for boundary in sorted(true):
        near = [b for b in left if abs(b - boundary) <= TOLERANCE]
        if near:
            left.remove(min(near, key=lambda b: abs(b - boundary)))
            hits += 1
    return 2 * hits / max(len(found) + len(true), 1)


def boundaries(segmenter: Segmenter, clip: dict[str, Any], vectors: Any, pts: Any) -> tuple[float, float, int]:
    """F1 of the segmenter, F1 of as many evenly spaced boundaries, number of boundaries found."""
    true = [event["start"] for event in clip["events"][1:]]
    found = [span.start for span in segmenter.segment(vectors, pts, clip["duration"])[1:]]
    even = list(np.linspace(0, clip["duration"], len(found) + 2)[1:-1])
    return boundary_f1(found, true), boundary_f1(even, true), len(found)


def evaluate_clips(model: EmbeddedModel, path: Path) -> set[str]:
    """Print both tables; returns the video files that were used."""
    clips = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    outcomes: dict[str, list[np.ndarray]] = {}
    cuts = []
    for clip in clips:
        video = path.parent / clip["video"]
        grid = list(np.arange(0, clip["duration"], 0.5))
        inside = [s for e in clip["events"] for s in np.linspace(e["start"], e["end"], 8)[1:-1]]
        for name, right in matching(model, clip, *look(model, video, [float(s) for s in grid + inside])).items():
            outcomes.setdefault(name, []).append(right)
        cuts.append(boundaries(model.segmenter, clip, *look(model, video, [float(s) for s in grid])))
        print(f"{clip['id']:20s} {np.mean(next(iter(outcomes.values()))[-1]):.2f}", flush=True)
    for name, rows in outcomes.items():
        low, high = interval(rows, np.random.default_rng(0))
        print(f"{name:42s} {np.mean([row.mean() for row in rows]):.3f}  [{low:.3f}, {high:.3f}]")
    found, even, number = np.mean(cuts, axis=0)
    print(
        f"boundary F1 at {TOLERANCE:.0f} s: {found:.3f} (evenly spaced, same number: {even:.3f}; {number:.1f} a clip)"
    )
    return {Path(clip["video"]).name for clip in clips}


def evaluate_videos(model: EmbeddedModel, index: Path, used: set[str]) -> None:
    """Print recall of descriptions by video and of videos by description."""
    rows = [r for r in json.loads(index.read_text()) if r["file"] not in used and "reverse" not in r["file"]]
    vectors = []
    for row in rows:
        with open_video(str(index.parent / row["file"])) as video:
            times = video.info.pts_seconds[np.linspace(0, video.info.num_frames - 1, 10).astype(int)[1:-1]]
            vectors.append(model.images.embed(video.read([float(t) for t in times], size=SIDE)).mean(0))
    points = np.stack(vectors)
    texts = [re.sub(r"^[^:]{0,40}: |\([^)]*\)", "", row["content"]).strip() for row in rows]
    scores = model.bridge.pictures(unit(points), points.mean(0)) @ model.words.embed(texts).T
    own = np.diag(scores)
    for name, ranks in (("text of video", (scores > own[:, None]).sum(1)), ("video of text", (scores > own).sum(0))):
        print(f"{name}: R@1 {np.mean(ranks < 1):.2f}  MRR {np.mean(1 / (1 + ranks)):.3f}  of {len(rows)}")


def main() -> None:
    """Parse, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--videos", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    model = embedded(language=None, threads=args.threads)
    used = evaluate_clips(model, args.clips)
    if args.videos is not None:
        evaluate_videos(model, args.videos, used)


if __name__ == "__main__":
    main()
