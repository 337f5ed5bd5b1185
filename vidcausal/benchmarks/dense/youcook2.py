"""YouCook2 dense captioning: find and tell the steps of a recipe (AAAI 2018).

Official scorer: RenShuhuai-Andy/TimeChat@c60b332 metrics/dvc/eval_dvc.py (TRACE uses the same file, but leaves videos
without a prediction out). Beside it: fujiso/SODA@9cb3e2c soda.py, by its arguments, and ranjaykrishna/
densevid_eval@9d4045a evaluate.py. Their quirks are named in :mod:`vidcausal.metrics.dense` and
:mod:`vidcausal.metrics.soda`.
"""

from __future__ import annotations

from vidcausal.benchmarks.dense._dense import DenseBenchmark


class YouCook2(DenseBenchmark):
    """The 415 videos of TimeChat's ``val.caption_coco_format.json``, or a file in ActivityNet's form.

    Args:
        annotations: ``val.caption_coco_format.json``, ``yc2_val.json`` or ``yc2_train.json``.
        data_dir: folder with one of them, or with ``youcook2/``.
        video_root: folder of the videos.
        timeout: seconds after which METEOR and the tokenizer (Java) are given up.
    """

    name = "youcook2"
    files = ("val.caption_coco_format.json", "yc2_val.json")
    sets = ("val.caption_coco_format.json",)
    scorers = ("TimeChat", "SODA", "densevid_eval")
    source = (
        "github.com/OpenGVLab/TimeSuite (dataset/TimeIT/dense_video_captioning/youcook2) or github.com/ttengwang/PDVC "
        "(data/yc2/captiondata)"
    )
