"""How fast worlds make training samples on one core: story, 16 frames of 64 pixels, and questions.

    python scripts/bench_worlds.py [--world NAME] [--samples 300] [--frames 16] [--size 64] [--json out.json]

Every round times all ways one after the other, and the fastest round of each counts; compare ratios of one run, not
numbers of two. The peer draws the same frames of the same stories with Pillow alone, everything anew for each frame
(drawn at the final size, without the smooth edges). Exit status 1 when a world tells and renders fewer than --floor
samples a second.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from vidcausal.errors import VidcausalError
from vidcausal.worlds import WORLDS, create_world
from vidcausal.worlds.canvas import GRAY
from vidcausal.worlds.story import COLORS, Story, Thing
from vidcausal.worlds.world import World

Way = Callable[[int], object]


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", action="append", choices=list(WORLDS), help="may be repeated; all by default")
    parser.add_argument("--samples", type=int, default=300, help="stories a round")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="the fastest counts")
    parser.add_argument("--floor", type=float, default=300.0, help="samples a second that are asked for")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    args = parser.parse_args()
    if min(args.samples, args.frames, args.size, args.rounds) < 1:
        parser.error("--samples, --frames, --size and --rounds must be 1 or more")
    rows = {}
    try:
        for name in args.world or list(WORLDS):
            rows[name] = measure(create_world(name), args)
    except (VidcausalError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(rows, args)
    if args.json:
        args.json.write_text(json.dumps({"machine": platform.machine(), **rows}, indent=1) + "\n", encoding="utf-8")
    return int(any(row["per_second"]["tell and render"] < args.floor for row in rows.values()))


def measure(world: World, args: argparse.Namespace) -> dict[str, Any]:
    """Samples a second of each way."""

    def times(story: Story) -> Sequence[float]:
        return [story.duration * (k + 0.5) / args.frames for k in range(args.frames)]

    def rendered(seed: int) -> tuple[Story, object]:
        story = world.tell(seed, "train")
        return story, world.render(story, times(story), args.size)

    def peer(seed: int) -> object:
        story = world.tell(seed, "train")
        return with_pillow(world, story, times(story), args.size)

    ways: dict[str, Way] = {
        "tell": lambda seed: world.tell(seed, "train"),
        "tell and render": rendered,
        "with questions": lambda seed: world.questions(rendered(seed)[0]),
        "peer: Pillow": peer,
    }
    start = time.perf_counter()
    for seed in range(args.samples):
        rendered(seed)  # draws the sprites
    first = time.perf_counter() - start
    seconds = {
        name: min(_timed(way, args.samples, round_) for round_ in range(args.rounds)) for name, way in ways.items()
    }
    fast = {name: round(args.samples / value, 1) for name, value in seconds.items()}
    return {
        "per_second": fast,
        "first_round": round(args.samples / first, 1),
        "ratio_to_peer": round(fast["tell and render"] / fast["peer: Pillow"], 2),
    }


def with_pillow(world: World, story: Story, times: Sequence[float], size: int) -> object:
    """The frames of ``story`` with nothing kept from one to the next."""
    from PIL import Image

    color, static = world.stage(story)
    frames = []
    for moment in times:
        image = Image.new("RGB", (size, size), color)
        for thing in (*static, *world.scene(story, moment)):
            _draw(world, image, thing)
        frames.append(np.asarray(image))
    return np.stack(frames)


def _draw(world: World, image: Any, thing: Thing) -> None:
    from PIL import Image, ImageDraw

    size = image.width
    wide, high = max(1, round(thing.width * size)), max(1, round(thing.height * size))
    sprite = Image.new("RGBA", (wide, high), (0, 0, 0, 0))
    rgb = GRAY if thing.color is None else COLORS[thing.color]
    box = (0.0, 0.0, max(wide - 1.0, 0.5), max(high - 1.0, 0.5))
    world.sprites[thing.kind](ImageDraw.Draw(sprite), box, rgb, thing.state, thing.variant)
    image.paste(sprite, (round(thing.x * size - wide / 2), round(thing.y * size - high / 2)), sprite)


def _timed(way: Way, samples: int, round_: int) -> float:
    """CPU seconds of one round; every round has its own seeds, so that nothing is remembered."""
    begin = time.process_time()
    for seed in range(samples * round_, samples * (round_ + 1)):
        way(seed)
    return time.process_time() - begin


def show(rows: dict[str, dict[str, Any]], args: argparse.Namespace) -> None:
    """A table of samples a second of CPU time."""
    ways = list(next(iter(rows.values()))["per_second"])
    print(f"samples a second on one core, {args.frames} frames of {args.size} px, {platform.machine()}")
    print("world       " + "  ".join(f"{way:>15s}" for way in ways) + "  ratio to peer   first round")
    for name, row in rows.items():
        cells = "  ".join(f"{row['per_second'][way]:15.0f}" for way in ways)
        print(f"{name:12s}{cells}  {row['ratio_to_peer']:12.1f}x  {row['first_round']:12.0f}")
    slow = [name for name, row in rows.items() if row["per_second"]["tell and render"] < args.floor]
    print(
        f"floor of {args.floor:g} for tell and render: " + (f"MISSED by {', '.join(slow)}" if slow else "kept by all")
    )


if __name__ == "__main__":
    sys.exit(main())
