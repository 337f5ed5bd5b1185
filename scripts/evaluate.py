"""Run a benchmark: ``python scripts/evaluate.py experiment=vcrbench_rrd limit=20``.

The arguments are Hydra overrides of ``configs/evaluate.yaml``; ``-m strategy=direct,rrd`` sweeps. The command
``vidcausal evaluate`` does the same without sweeps.
"""

from __future__ import annotations

import sys
from typing import Any

from vidcausal.cli import Done, guarded, own_process, run_evaluation
from vidcausal.config.compose import run_main


def job(config: dict[str, Any], overrides: list[str]) -> int:
    """Run one configuration, print its scores and return the exit code."""
    done = run_evaluation(config, overrides)
    print(done.text)
    return done.code


if __name__ == "__main__":
    with own_process(1):
        sys.exit(guarded(lambda: Done({}, "", run_main(job))))
