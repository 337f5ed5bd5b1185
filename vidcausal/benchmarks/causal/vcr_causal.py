"""VCR-Causal: as VQA-Causal, with 3,511 pairs of sentences about pictures of VCR, which are scenes of films.

Official scorer and quirks: see :mod:`vidcausal.benchmarks.causal.vqa_causal`; limenlp/CausalVLM@8bd20d06
causaltest/vcr_test/causaltest_clip_family_vcr.py. Pictures are named by their path below ``vcr1images``.
"""

from __future__ import annotations

from typing import ClassVar

from vidcausal.benchmarks.causal.vqa_causal import VQACausal


class VCRCausal(VQACausal):
    """Samples of ``vcr_causal.csv`` (``movie, image_id, sentence, reverse_sentence``)."""

    name = "vcr_causal"
    files: ClassVar[tuple[str, ...]] = ("vcr_causal.csv",)
    source = "github.com/limenlp/CausalVLM, folder datasets/benchmarks; pictures: visualcommonsense.com (vcr1images)"

    def picture_name(self, image_id: str, where: str) -> str:
        """The path below ``vcr1images``."""
        return image_id
