"""ActivityNet Captions, dense captioning: find and tell the events of a video (ICCV 2017).

Official scorer: ranjaykrishna/densevid_eval@9d4045a evaluate.py (Python 2; here with every metric, as ``-v`` prints
them), and fujiso/SODA@9cb3e2c soda.py by its arguments. Their quirks are named in :mod:`vidcausal.metrics.dense` and
:mod:`vidcausal.metrics.soda`. densevid_eval takes the event count of another video where a video was predicted without
events; precision is 0 there whichever it takes.
"""

from __future__ import annotations

from vidcausal.benchmarks.dense._dense import DenseBenchmark


class ActivityNetDense(DenseBenchmark):
    """The 4,917 validation videos, with one or both sets of annotations.

    Args:
        annotations: ``val_1.json``, ``val_2.json``, both (``val_1.json,val_2.json``, or their folder), or a file in
            TimeChat's form.
        data_dir: folder with them, or with ``activitynet_captions/``.
        video_root: folder of the videos.
        timeout: seconds after which METEOR and the tokenizer (Java) are given up.
    """

    name = "activitynet_dense"
    files = ("val_1.json", "activitynet_captions/val_1.json")
    sets = ("val_1.json", "val_2.json")
    scorers = ("densevid_eval", "SODA")
    source = "github.com/ttengwang/PDVC (data/anet/captiondata)"
