"""MSRVTT-QA: 243,680 questions with one-word answers about 10,000 clips of MSR-VTT (Xu et al., ACM MM 2017).

Official scorer and its quirks: as in :mod:`vidcausal.benchmarks.qa.msvd_qa`, xudejing/video-question-answering@061c8f29
run_gra.py.
"""

from __future__ import annotations

from vidcausal.benchmarks.qa._open_pairs import PairsBenchmark


class MSRVTTQA(PairsBenchmark):
    """``test_qa.json`` as published; videos are ``videoN``."""

    name = "msrvtt_qa"
    source = "github.com/xudejing/video-question-answering (MSRVTT-QA)"
    video_names = "video{}"
