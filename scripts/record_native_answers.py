"""Record what the native model says about 20 fixed stories, for tests/models/test_shipped_native.py.

python scripts/record_native_answers.py [--model native-small] [--out tests/assets/native_answers.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vidcausal.evaluation.native_answers import answers
from vidcausal.models.native import native

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="native-small")
    parser.add_argument("--out", type=Path, default=Path("tests/assets/native_answers.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(answers(native(args.model)), indent=1) + "\n", encoding="utf-8")
    print(f"{args.out}: 20 stories")
