"""MLVU with three tasks: four published rules, the judge's sums, and the sane score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcausal.benchmarks.qa.mlvu import Mlvu
from vidcausal.benchmarks.score_file import score_file
from vidcausal.errors import DataError


def question(kind: str, number: int, options: list[str], answer: str) -> dict[str, Any]:
    return {
        "video": f"{kind}_{number}.mp4",
        "duration": 100,
        "question": f"What {number}?",
        "candidates": options,
        "answer": answer,
        "question_type": kind,
    }


FILES = {
    "4_count.json": [question("count", i, ["1", "2", "3", "4"], str(i + 1)) for i in range(3)],
    "2_needle.json": [question("findNeedle", 0, ["a", "b", "c", "d"], "none of them")],
    "1_plotQA.json": [question("plotQA", 0, ["Six", "Three", "Three", "Eight"], "Three")],
}
IDS = ("count/0", "count/1", "count/2", "needle/0", "plotQA/0")


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, value)) if path.suffix == ".jsonl" else json.dumps(value))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, rows in FILES.items():
        write(tmp_path / "mlvu" / name, rows)
    return tmp_path / "mlvu"


def ours(path: Path, *replies: str) -> Path:
    return write(path, [{"id": i, "reply": reply} for i, reply in zip(IDS, replies, strict=False)])


def official(folder: Path, path: Path, rule: str) -> dict[str, Any]:
    bench = Mlvu(folder, rule=rule)
    return bench.score(bench.predictions(bench.read_submission(path).rows)).official


def test_samples(folder: Path) -> None:
    samples = {s.id: s for s in Mlvu(folder).samples()}
    assert tuple(samples) == IDS
    assert samples["count/1"].target == 1
    assert samples["needle/0"].target is None
    assert samples["plotQA/0"].target == 2  # the last of equal options
    assert "Question: What 1?\nOptions:\n(A) 1\n(B) 2\n(C) 3\n(D) 4\nOnly give" in samples["count/1"].question
    assert samples["count/0"].media.videos[0].endswith("4_count/count_0.mp4")
    assert len(Mlvu(data_dir=folder.parent)) == 5
    assert len(Mlvu(folder / "4_count.json")) == 3


def test_rules(folder: Path, tmp_path: Path) -> None:
    path = ours(tmp_path / "p.jsonl", "A) 1", " B", "(C", "A", "(B) Three")
    assert official(folder, path, "mlvu") == {
        "rule": "mlvu",
        "count": pytest.approx(100 / 3),
        "needle": 0.0,
        "plotQA": 0.0,
        "M-Avg": pytest.approx(100 / 9),
        "overall by rule": {
            "lmms-eval": pytest.approx(100 / 7),
            "lmms-eval-older": pytest.approx((200 / 3) / 7),
            "mlvu": pytest.approx(100 / 9),
            "video-ccam": 60.0,
        },
    }
    scores = score_file("mlvu", path, folder)
    assert scores.official["rule"] == "lmms-eval"
    assert scores.official["count"] == 100.0
    assert scores.count == 4  # the question without a right option is not asked for
    assert scores.strict["accuracy"] == 100.0  # either of two equal options
    assert scores.strict["by task"] == {"count": 100.0, "plotQA": 100.0}
    assert any("1 questions have no published answer" in note for note in scores.notes)


def test_published_results_are_found_by_their_question(folder: Path, tmp_path: Path) -> None:
    said = {"count/0": "A)", "count/1": "B)", "count/2": "A)", "needle/0": "D)", "plotQA/0": "C)"}
    rows = []
    for sample in reversed(list(Mlvu(folder).samples())):
        text = sample.question.split("question.\n")[1].removesuffix("\nOnly give the best option.")
        rows.append(
            {
                "pred": said[sample.id],
                "gt": "(A) x",
                "question": text,
                "question_type": sample.id.split("/")[0],
                "video": f"/MLVU_all/video/x/{sample.meta['video']}",
            }
        )
    path = write(tmp_path / "test_all_choice.json", {"acc_dict": {}, "res_list": rows})
    assert official(folder, path, "mlvu") == {
        **official(folder, ours(tmp_path / "p.jsonl", *said.values()), "mlvu"),
    }
    ccam = {"count": [{"predict": said[f"count/{i}"]} for i in range(3)], "needle": [{"predict": "D)"}]}
    found = official(folder, write(tmp_path / "choice_results.json", ccam), "video-ccam")
    assert (found["count"], found["needle"], found["M-Avg"]) == (66.67, 0.0, 50.0)


def test_sums_of_the_judge(folder: Path, tmp_path: Path) -> None:
    told = "Well. {'score_accuracy': 4, 'score_relevance': 5, 'total_score': 9}"
    other = "{'score_completeness': 2, 'score_reliability': 3.5, 'total_score': 5.5}"
    lost = "I cannot say"
    judged = {
        "subPlot_1_0": [{"explain": told}, {"q": "", "a": "", "pred": "", "scoring_points": []}],
        "subPlot_2_0": [{"explain": lost}, {"q": "", "a": "", "pred": "", "scoring_points": []}],
        "217.mp4_0": [{"explain": other}, {"q": "", "a": "", "pred": ""}],
    }
    path = write(tmp_path / "judged.json", judged)
    assert score_file("mlvu", path, folder).official == {
        "subPlot": {"accuracy": 2.0, "relevance": 2.5, "total": 4.5},
        "summary": {"completeness": 2.0, "reliability": 3.5, "total": 5.5},
        "G-Avg": 5.0,
    }
    both = tmp_path / "both"
    write(both / "judged.json", judged)
    write(both / "choices.json", {"count": [{"predict": "A"}]})
    found = score_file("mlvu", both, folder)
    assert (found.official["count"], found.official["G-Avg"]) == (100.0, 5.0)
    assert found.strict["accuracy"] == 25.0
    judged["217.mp4_0"][0]["explain"] = "{'score_completeness': two, 'x'}"
    stopped = score_file("mlvu", write(tmp_path / "judged.json", judged), folder)
    assert stopped.official == {}
    assert any("ValueError" in note for note in stopped.notes)


def test_bad_files(folder: Path, tmp_path: Path) -> None:
    good = ours(tmp_path / "p.jsonl", "A")
    with pytest.raises(DataError, match="does not exist"):
        score_file("mlvu", tmp_path / "none.jsonl", folder)
    with pytest.raises(DataError, match="holds no prediction"):
        score_file("mlvu", ours(tmp_path / "e.jsonl"), folder)
    with pytest.raises(DataError, match="must be a JSON list"):
        score_file("mlvu", good, write(tmp_path / "x.json", "text"))
    with pytest.raises(DataError, match="judged by GPT-4"):
        score_file("mlvu", good, write(tmp_path / "9_summary.json", [{"question_type": "summary", "question": "?"}]))
    with pytest.raises(DataError, match="question_type must be text, got nan"):
        score_file("mlvu", good, write(tmp_path / "x.json", [{"question_type": float("nan")}]))
    server = [{"question_id": "AR_0", "question_type": "anomaly_reco", "option": "D"}]
    with pytest.raises(DataError, match="test server"):
        score_file("mlvu", write(tmp_path / "test_res.json", server), folder)


@pytest.mark.data
def test_the_published_questions(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "annotations/mlvu"
    samples = list(Mlvu(folder).samples())
    assert len(samples) == 2175
    assert [s.id for s in samples if s.target is None] == ["needle/34", "needle/338"]
    rows = [{"id": s.id, "reply": "ABCD"[s.target or 0]} for s in samples]
    scores = score_file("mlvu", write(tmp_path / "p.jsonl", rows), folder)
    assert scores.strict["accuracy"] == 100.0
    assert scores.official["needle"] == pytest.approx(100 * 353 / 355)
    assert scores.official["order"] == 100.0
