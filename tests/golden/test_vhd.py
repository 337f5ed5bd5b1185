"""TimeChat's highlights, scored by its own eval_vhd.py (TRACE's is the same)."""

from __future__ import annotations

import pytest

from vidcausal.benchmarks.score_file import score_file

pytestmark = [pytest.mark.golden, pytest.mark.data]


@pytest.mark.parametrize("benchmark_name", ["qvhighlights", "qvhighlights_vhd"])
def test_recorded_figures(benchmark_name, golden, annotations, shared_data, compared):
    recorded = golden("vhd")
    scores = score_file(
        benchmark_name,
        shared_data / "golden" / recorded["predictions"],
        annotations / "qvhighlights" / "highlight_val_release.jsonl",
    )
    assert scores.official["brief"] == recorded["recorded"]
    compared(benchmark_name if benchmark_name.endswith("vhd") else "qvhighlights", len(recorded["recorded"]))
    # 87 queries have no prediction: the published scorer leaves them out, strict counts them as 0.
    assert scores.coverage == pytest.approx(1463 / 1550)
    assert scores.strict["HL-min-Fair"]["HL-mAP"] < recorded["recorded"]["HL-min-Fair-mAP"]
