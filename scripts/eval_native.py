"""The native model on held-out worlds: makes them, answers in every mode, writes one table (Markdown and JSON).

python scripts/eval_native.py --out runs/native_worlds [--n 500] [--model native-small] [--device cpu]

Stopped, the same command goes on. ``vidcausal.evaluation.native_report`` says what the modes and columns are.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from vidcausal.cli import Done, guarded, own_process
from vidcausal.evaluation.native_report import MODES, OTHER_MODES, Answerer, Setup, native_report
from vidcausal.worlds import WORLDS, create_world
from vidcausal.worlds.story import SPLITS


@functools.cache
def learn(world: str, stories: int = 20_000) -> Answerer:
    """A blind model that has read the questions of a world's training stories."""
    from vidcausal.training.blind import train_blind

    told = create_world(world)
    return train_blind(q for seed in range(stories) for q in told.questions(told.tell(seed, "train"))).answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/native_worlds"))
    numbers = [(name, int) for name in ("n", "seed", "jobs", "ground_per_video", "ask_per_video")]
    for name, kind in (("model", str), ("device", str), *numbers):
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Setup, name))
    for name, known in (("worlds", tuple(WORLDS)), ("splits", SPLITS), ("modes", (*MODES, *OTHER_MODES))):
        parser.add_argument(f"--{name}", nargs="+", choices=known, default=getattr(Setup, name))
    args = {key: tuple(value) if isinstance(value, list) else value for key, value in vars(parser.parse_args()).items()}
    with own_process(1):
        sys.exit(guarded(lambda: Done({}, native_report(Setup(**args, trained_blind=learn)).text)))
