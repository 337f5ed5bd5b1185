"""A model on hand-annotated real clips: the questions and the moments of ``real_clips.jsonl``, beside chance.

python scripts/eval_real_clips.py --clips DATA/real_clips.jsonl [--model native-small] [--out runs/real_clips]

Every question (options, scored by likelihood and read from the reply) and every event's caption as a moment to be
found. The native model was trained on drawn worlds only, so its figures here are expected to be near chance.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import vidcausal as vc
from vidcausal.benchmarks.questions import UserQuestions
from vidcausal.cli import Done, guarded, own_process


def questions(clips: Path) -> list[dict[str, Any]]:
    """The clips' questions and events as questions of a user."""
    rows: list[dict[str, Any]] = []
    for line in clips.read_text(encoding="utf-8").splitlines():
        clip = json.loads(line)
        rows += [{"task": "ask", "video": clip["video"], **asked} for asked in map(_asked, clip["questions"])]
        for number, event in enumerate(clip["events"]):
            moment = {"id": f"{clip['id']}-event-{number}", "query": event["caption"]}
            answer = [[event["start"], event["end"]]]
            rows.append({"task": "ground", "video": clip["video"], **moment, "answer": answer})
    return rows


def _asked(question: dict[str, Any]) -> dict[str, Any]:
    return {"id": question["qid"], **{key: question[key] for key in ("question", "options", "answer")}}


def main(clips: Path, model: str, out: Path, strategy: str) -> str:
    """Answer everything and describe the scores."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "questions.json").write_text(json.dumps(questions(clips), indent=1), encoding="utf-8")
    benchmark = UserQuestions(annotations=str(out / "questions.json"), video_root=str(clips.parent))
    report = vc.evaluate(strategy, benchmark, output_dir=out / "run", model=model, frames="uniform-32", size=224)
    kept = ("strict", "scored", "chance", "intervals", "count", "unparsed")
    return json.dumps({key: report.scores.to_json()[key] for key in kept}, indent=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--model", default="native-small")
    parser.add_argument("--strategy", default="direct")
    parser.add_argument("--out", type=Path, default=Path("runs/real_clips"))
    args = parser.parse_args()
    with own_process(1):
        sys.exit(guarded(lambda: Done({}, main(args.clips, args.model, args.out, args.strategy))))
