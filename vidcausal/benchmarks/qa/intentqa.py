"""IntentQA: the intents behind actions, on videos of NExT-QA, five options (ICCV 2023).

Official scorer: JoseponLee/IntentQA@cee9eaae eval_intentqa.py, NExT-QA's with two changes: headings without a question
are left out (the set has no ``TC`` and no ``D*`` questions), and questions of an unknown type are not counted at all.
The rest is as in :mod:`vidcausal.benchmarks.qa.nextqa`: the answer of the result file counts, every question must be
there, ``TP`` counts as ``TN``.
"""

from __future__ import annotations

from typing import ClassVar

from vidcausal.benchmarks.qa.nextqa import NextQA


class IntentQA(NextQA):
    """IntentQA from its ``val.csv`` or ``test.csv``."""

    name = "intentqa"
    files = ("val.csv", "test.csv")
    source = "github.com/JoseponLee/IntentQA, datasets/IntentQA; the videos are those of NExT-QA"
    video_column: ClassVar[str] = "video_id"
    in_lmms_eval: ClassVar[bool] = False
    skips_empty_types: ClassVar[bool] = True
