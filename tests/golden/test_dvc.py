"""Every recorded figure of the dense captioning scorers, through the way ``vidcausal score`` goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.dense import _dense
from vidcausal.benchmarks.score_file import score_file
from vidcausal.metrics.caption_tools import CaptionToolError, caption_tools, find_jars
from vidcausal.types import Scores

# Java does most of the work, which takes a minute alone and much longer beside other work.
pytestmark = [pytest.mark.golden, pytest.mark.data, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True, scope="module")
def _one_java() -> Iterator[None]:
    """All calls share one METEOR: it takes longer to start than to answer."""
    try:
        find_jars()
    except CaptionToolError as error:
        pytest.skip(f"recorded with METEOR and the PTB tokenizer: {error}")
    with caption_tools() as tools, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_dense, "caption_tools", lambda timeout: nullcontext(tools))
        yield


@pytest.fixture(scope="module")
def scored(shared_data: Path) -> Callable[..., Scores]:
    """Scores of a recorded submission; each is made once."""
    known: dict[tuple[str, ...], Scores] = {}

    def score(name: str, pred: str, *refs: str) -> Scores:
        call = (name, pred, *refs)
        if call not in known:
            annotations = ",".join(str(shared_data / ref) for ref in refs)
            known[call] = score_file(name, shared_data / "golden" / pred, annotations)
        return known[call]

    return score


def _case(golden: Callable[[str], Any], scorer: str, number: int = 0) -> dict[str, Any]:
    return [case for case in golden("dvc")["cases"] if case["scorer"].startswith(scorer)][number]


def test_every_recorded_soda_run(
    golden: Callable[[str], Any], scored: Callable[..., Scores], compared: Callable[..., None]
) -> None:
    runs = [case for case in golden("dvc")["cases"] if "SODA" in case["scorer"]]
    assert len(runs) == 8
    for case in runs:
        name = "youcook2" if "yc2" in case["pred"] else "activitynet_dense"
        found = scored(name, case["pred"], *(f"golden/{ref}" for ref in case["ref"]))
        assert found.official["SODA"][case["args"].split(" (")[0]] == case["recorded"], case["args"]
        compared("SODA", len(case["recorded"]))


def test_densevid_eval(
    golden: Callable[[str], Any], scored: Callable[..., Scores], compared: Callable[..., None]
) -> None:
    case = _case(golden, "ranjaykrishna/densevid_eval")
    found = scored("activitynet_dense", case["pred"], *(f"golden/{ref}" for ref in case["ref"])).official
    for threshold, recorded in case["recorded_by_tiou"].items():
        assert {key: found["by_tiou"][threshold][key] for key in recorded} == recorded, threshold
        compared("densevid_eval", len(recorded))
    assert {key: found[key] for key in case["average"]} == case["average"]
    compared("densevid_eval", len(case["average"]))


def test_timechat(golden: Callable[[str], Any], scored: Callable[..., Scores], compared: Callable[..., None]) -> None:
    case = _case(golden, "TimeChat")
    found = scored("youcook2", case["pred"].split(" (")[0], *(f"annotations/{ref}" for ref in case["ref"]))
    assert {key: found.official[key] for key in case["recorded"]} == case["recorded"]
    assert found.coverage == 1
    assert found.count == 415
    compared("TimeChat dense captioning", len(case["recorded"]))
