"""How far the words alone go: questions without their videos, and text-only benchmarks, to a small language model.

python scripts/eval_text.py --out runs/text_only --data DATA [--n 150] [--model qwen2.5-coder-0.5b-instruct]

Stopped, the same command goes on. ``vidcausal.evaluation.text_report`` says what the columns are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vidcausal.cli import Done, guarded, own_process
from vidcausal.evaluation.build import DTYPES
from vidcausal.evaluation.text_report import BENCHMARKS, Setup, text_report

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/text_only"))
    parser.add_argument("--data", type=Path, default=Setup.data, help="folder with a folder for each benchmark")
    parser.add_argument("--benchmarks", nargs="+", default=BENCHMARKS, help="names, or NAME=N for N questions of one")
    parser.add_argument("--dtype", choices=DTYPES, default=Setup.dtype)
    numbers = [(name, int) for name in ("n", "seed", "max_new_tokens", "order_tokens")]
    for name, kind in (("model", str), ("device", str), *numbers):
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Setup, name))
    args = {key: tuple(value) if isinstance(value, list) else value for key, value in vars(parser.parse_args()).items()}
    with own_process(1):
        sys.exit(guarded(lambda: Done({}, text_report(Setup(**args)).text)))
