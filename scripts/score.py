"""Score predictions again, without a model: ``python scripts/score.py vcrbench runs/…/predictions.jsonl``.

The same as ``vidcausal score``; see ``--help`` for annotations and policy.
"""

from __future__ import annotations

import sys

from vidcausal.cli import main

if __name__ == "__main__":
    sys.exit(main(["score", *sys.argv[1:]]))
