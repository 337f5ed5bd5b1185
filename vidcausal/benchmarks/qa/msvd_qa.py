"""MSVD-QA: 50,505 questions with one-word answers about 1,970 short YouTube clips (Xu et al., ACM MM 2017).

Official scorer: none that stands alone; xudejing/video-question-answering@061c8f29 run_gra.py compares the predicted
word with the answer, letter by letter, and divides by all test questions. Its models choose among the most frequent
answers of the training split, so that rarer answers cannot be right there; here any word may be written. Its
``prediction.json`` (``id``, ``answer``) is read.
"""

from __future__ import annotations

from vidcausal.benchmarks.qa._open_pairs import PairsBenchmark


class MSVDQA(PairsBenchmark):
    """``test_qa.json`` as published; videos are ``vidN`` (or the names in Video-ChatGPT's files)."""

    name = "msvd_qa"
    source = "github.com/xudejing/video-question-answering (MSVD-QA)"
    video_names = "vid{}"
